-- A coupon's owner follows from the ledger and the ticket. So `issued` stores ranges of tickets, about one row per
-- coupon and batch, and user_coupon becomes a view: the ledger's rows whose tickets are in a range. The view has each
-- of these rows once, even if ranges overlap.
create table issued (
    coupon_id bigint not null,
    first_ticket bigint not null check (first_ticket > 0),
    last_ticket bigint not null check (last_ticket >= first_ticket),
    issue_time timestamptz not null,
    primary key (coupon_id, first_ticket)
);
insert into issued (coupon_id, first_ticket, last_ticket, issue_time)
    select coupon_id, min(ticket), max(ticket), issue_time
    from (select coupon_id, ticket, issue_time,
              ticket - row_number() over (partition by coupon_id, issue_time order by ticket) as run
          from user_coupon) u
    group by coupon_id, issue_time, run;
drop table user_coupon;

-- One index finds repeated requests and a user's coupons, the other the ledger rows of a range of tickets.
alter table publish_request drop constraint publish_request_pkey;
alter table publish_request add primary key (user_id, coupon_id);
alter table publish_request add unique (coupon_id, ticket);

-- A subquery rather than a lateral join, whose results Postgres would memoize by ticket, although no two tickets are
-- equal.
create view user_coupon as
    select * from (
        select coupon_id, user_id, ticket, (
            select case when last_ticket >= p.ticket then issue_time end
            from issued i where i.coupon_id = p.coupon_id and first_ticket <= p.ticket
            order by first_ticket desc limit 1) as issue_time
        from publish_request p) u
    where issue_time is not null;
