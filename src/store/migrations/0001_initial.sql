-- Other programs may read publish_request and user_coupon. All other tables are private to couponsd.

create table setting (
    key text primary key,
    value text not null
);

-- Each administrative change raises version, from which the versions of the flags in Redis are derived.
create table coupon (
    id bigint primary key check (id > 0),
    name text not null,
    quantity bigint not null check (quantity > 0),
    status smallint not null check (status between 1 and 3),
    frozen boolean not null default false,
    discount_rate double precision not null check (discount_rate between 0 and 100),
    open_time timestamptz,
    expire_time timestamptz check (expire_time > open_time),
    version bigint not null default 1,
    create_time timestamptz not null
);
create sequence coupon_id_seq;

-- The counters are in tables of their own, so that admit and issue do not wait for each other's row locks.
create table admission (
    coupon_id bigint primary key references coupon,
    quantity bigint not null,
    accepted bigint not null default 0,
    check (accepted between 0 and quantity)
) with (fillfactor = 50);
create table issuance (
    coupon_id bigint primary key references coupon,
    quantity bigint not null,
    issued bigint not null default 0 check (issued >= 0),
    rejected bigint not null default 0 check (rejected >= 0),
    check (issued <= quantity)
) with (fillfactor = 50);

-- The ledger: the ticket that each user got. Rows are only inserted.
create table publish_request (
    coupon_id bigint not null,
    user_id bigint not null,
    ticket bigint not null check (ticket > 0),
    request_id text not null,
    accept_time timestamptz not null,
    primary key (coupon_id, user_id)
);

create table user_coupon (
    coupon_id bigint not null,
    user_id bigint not null,
    ticket bigint not null check (ticket > 0),
    issue_time timestamptz not null,
    primary key (coupon_id, ticket),
    unique (user_id, coupon_id)
);

-- reason: coupon.v1.RejectReason
create table rejection (
    coupon_id bigint not null,
    ticket bigint not null,
    reason smallint not null,
    reject_time timestamptz not null,
    primary key (coupon_id, ticket)
);

-- The ids of administrative requests, by which a repeated request is recognized.
create table admin_request (
    request_id text primary key,
    kind text not null,
    coupon_id bigint not null,
    quantity bigint not null,
    create_time timestamptz not null
);

-- The outbox: a log for each stream and lane, without gaps in its ids. Each stream has two segments. While new rows go
-- to one, the relay drains the other, which is then truncated; then they swap.
create table outbox_requested_0 (
    lane integer not null,
    id bigint not null,
    coupon_id bigint not null,
    ticket bigint not null,
    append_time timestamptz not null,
    traceparent text,
    payload bytea not null,
    primary key (lane, id)
) with (autovacuum_enabled = off);
create table outbox_requested_1 (like outbox_requested_0 including all) with (autovacuum_enabled = off);
create table outbox_published_0 (like outbox_requested_0 including all) with (autovacuum_enabled = off);
create table outbox_published_1 (like outbox_requested_0 including all) with (autovacuum_enabled = off);

create table outbox_segment (
    stream smallint primary key,
    current smallint not null check (current in (0, 1)),
    rotate_time timestamptz not null
);
-- Each lane's last id, which its writer moves, and the last id that Kafka has acknowledged, which its relay moves.
create table outbox_head (
    stream smallint not null,
    lane integer not null,
    last_id bigint not null,
    primary key (stream, lane)
) with (fillfactor = 20);
create table relay_cursor (
    stream smallint not null,
    lane integer not null,
    last_id bigint not null,
    primary key (stream, lane)
) with (fillfactor = 20);

create table consumer_offset (
    topic text not null,
    partition integer not null,
    next_offset bigint not null,
    primary key (topic, partition)
) with (fillfactor = 20);

create table dead_letter (
    id bigint generated always as identity primary key,
    topic text not null,
    partition integer not null,
    message_offset bigint not null,
    key bytea,
    value bytea,
    reason text not null,
    create_time timestamptz not null,
    unique (topic, partition, message_offset)
);
