-- Dead letters that an administrator can list, replay and drop. Long keys and values are cut.
--
--   value_size   the length of the whole value in bytes; 0: the value is complete
--   coupon_id    the coupon of the event, or else of its key; null if neither can be read
alter table dead_letter add column value_size bigint not null default 0;
alter table dead_letter add column coupon_id bigint;
alter table dead_letter add column replay_time timestamptz;
create index on dead_letter (coupon_id, id);

-- The key includes the value, since a topic that was deleted and created again has other messages at the same offsets.
alter table dead_letter drop constraint dead_letter_topic_partition_message_offset_key;
create unique index dead_letter_once on dead_letter (topic, partition, message_offset, sha256(coalesce(value, '')));
