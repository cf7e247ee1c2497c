-- Only for tests/migration: does to each table in constant use what a migration may do while couponsd processes of the
-- last release still run (docs/how-to/migrations.md).
-- oldest: 0001
-- locks: outbox_head, coupon, admission, publish_request, outbox_requested_0, outbox_requested_1, issuance, issued, outbox_published_0, outbox_published_1, relay_cursor, consumer_offset
create table campaign (
    id bigint primary key,
    note text not null
);
alter table coupon add column campaign_id bigint references campaign;
alter table admission add column note text;
alter table issuance add column note text;
alter table publish_request add column channel text;
alter table issued add column note text;
alter table outbox_head add column note text;
alter table relay_cursor add column note text;
alter table consumer_offset add column note text;
alter table outbox_requested_0 add column note text;
alter table outbox_requested_1 add column note text;
alter table outbox_published_0 add column note text;
alter table outbox_published_1 add column note text;
create index publish_request_accept_time on publish_request (accept_time);

create table issued_count (
    n bigint not null
);
insert into issued_count values (0);
create function count_issued() returns trigger language plpgsql as $$
begin
    update issued_count set n = n + (select coalesce(sum(last_ticket - first_ticket + 1), 0) from fresh);
    return null;
end $$;
create trigger count_issued after insert on issued referencing new table as fresh
    for each statement execute function count_issued();
