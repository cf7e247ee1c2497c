-- Who is issued a coupon follows from the ledger and the ticket alone. So what is issued is written by ranges of tickets, a
-- row for each coupon of a batch, and user_coupon is what follows: the ledger's rows within such a range. Each of them is
-- there once, whatever ranges are written.
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

-- By user, and by ticket: one order finds who comes again and what somebody holds, the other what a range holds.
alter table publish_request drop constraint publish_request_pkey;
alter table publish_request add primary key (user_id, coupon_id);
alter table publish_request add unique (coupon_id, ticket);

-- A subquery and not a join: Postgres would keep the results of a join by ticket, of which no two are the same.
create view user_coupon as
    select * from (
        select coupon_id, user_id, ticket, (
            select case when last_ticket >= p.ticket then issue_time end
            from issued i where i.coupon_id = p.coupon_id and first_ticket <= p.ticket
            order by first_ticket desc limit 1) as issue_time
        from publish_request p) u
    where issue_time is not null;
