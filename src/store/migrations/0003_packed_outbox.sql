-- The packed outbox: events that are appended to a lane together share rows of up to a page, instead of a row and an
-- index entry for each event. `id` is the id of the row's last event, `first_id` that of its first event. Each event in
-- `events`:
--
--   coupon_id (8 bytes), ticket (8), length of the traceparent (2), length of the payload (2), in network byte order
--   traceparent
--   payload
--
-- Storage is plain, since a row fits in a page: it needs neither compression nor TOAST.
alter table outbox_requested_0 rename to old_requested_0;
alter table outbox_requested_1 rename to old_requested_1;
alter table outbox_published_0 rename to old_published_0;
alter table outbox_published_1 rename to old_published_1;
alter index outbox_requested_0_pkey rename to old_requested_0_pkey;
alter index outbox_requested_1_pkey rename to old_requested_1_pkey;
alter index outbox_published_0_pkey rename to old_published_0_pkey;
alter index outbox_published_1_pkey rename to old_published_1_pkey;

create table outbox_requested_0 (
    lane integer not null,
    id bigint not null,
    first_id bigint not null check (first_id <= id),
    append_time timestamptz not null,
    events bytea not null,
    primary key (lane, id)
) with (autovacuum_enabled = off);
alter table outbox_requested_0 alter column events set storage plain;
create table outbox_requested_1 (like outbox_requested_0 including all) with (autovacuum_enabled = off);
create table outbox_published_0 (like outbox_requested_0 including all) with (autovacuum_enabled = off);
create table outbox_published_1 (like outbox_requested_0 including all) with (autovacuum_enabled = off);

-- Converts the old rows, which hold one event each.
create function pack_event(coupon_id bigint, ticket bigint, traceparent text, payload bytea) returns bytea
    language sql immutable as $$
    select int8send(coupon_id) || int8send(ticket)
        || int2send(coalesce(octet_length(convert_to(traceparent, 'UTF8')), 0)::smallint)
        || int2send(octet_length(payload)::smallint)
        || coalesce(convert_to(traceparent, 'UTF8'), '') || payload
$$;
insert into outbox_requested_0
    select lane, id, id, append_time, pack_event(coupon_id, ticket, traceparent, payload) from old_requested_0;
insert into outbox_requested_1
    select lane, id, id, append_time, pack_event(coupon_id, ticket, traceparent, payload) from old_requested_1;
insert into outbox_published_0
    select lane, id, id, append_time, pack_event(coupon_id, ticket, traceparent, payload) from old_published_0;
insert into outbox_published_1
    select lane, id, id, append_time, pack_event(coupon_id, ticket, traceparent, payload) from old_published_1;
drop function pack_event(bigint, bigint, text, bytea);
drop table old_requested_0, old_requested_1, old_published_0, old_published_1;

-- The highest ticket that was issued or rejected.
alter table issuance add column highest bigint not null default 0 check (highest >= 0);
update issuance s set highest = greatest(
    (select coalesce(max(ticket), 0) from user_coupon u where u.coupon_id = s.coupon_id),
    (select coalesce(max(ticket), 0) from rejection r where r.coupon_id = s.coupon_id));
