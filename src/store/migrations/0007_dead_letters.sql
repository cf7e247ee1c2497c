-- Dead letters that people list, replay and drop. A key or a value too long to be ours is kept in part: value_size says
-- how long it was (0: what is kept is all). coupon_id: of the event, or else of its key, where either could be read.
alter table dead_letter add column value_size bigint not null default 0;
alter table dead_letter add column coupon_id bigint;
alter table dead_letter add column replay_time timestamptz;
create index on dead_letter (coupon_id, id);

-- A topic that was deleted and made anew has other messages at the same offsets.
alter table dead_letter drop constraint dead_letter_topic_partition_message_offset_key;
create unique index dead_letter_once on dead_letter (topic, partition, message_offset, sha256(coalesce(value, '')));
