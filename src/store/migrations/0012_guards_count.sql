-- oldest: 0007
-- The guards of the ledger and of what is issued now count: they move the counters of admission and issuance themselves,
-- in the statement that checks. That saves a look at each coupon to lock it and another one to update it, and a program
-- that forgets to count no longer exists. Older couponsd processes set the same numbers afterwards, which changes
-- nothing. To repair rows with the guards disabled, set the counters and issuance.highest as well.
--
-- Each guard first tries what a correct program needs, with one look at each coupon. What that leaves over, it locks,
-- checks row by row, and counts. Rows of counters are found as in src/store/newest.h.

create or replace function within_quantity() returns trigger language plpgsql
    set search_path = pg_catalog as $$
declare
    left_over bigint;
    wrong record;
begin
    perform set_config('search_path', quote_ident(tg_table_schema) || ', pg_temp', true);
    with a as materialized (
        select coupon_id, max(ticket) as ticket from added group by coupon_id order by coupon_id
    ), moved as (
        update admission m set accepted = a.ticket from a
        where m.ctid = (select ctid from admission n where n.coupon_id >= a.coupon_id and n.coupon_id <= a.coupon_id
                        order by n.coupon_id desc limit 1)
          and m.accepted < a.ticket and m.quantity >= a.ticket
        returning 1
    )
    select (select count(*) from a) - (select count(*) from moved) into left_over;
    if left_over = 0 then
        return null;
    end if;
    perform 1 from (select distinct coupon_id from added order by coupon_id) a cross join lateral (
        select 1 from admission m where m.coupon_id >= a.coupon_id and m.coupon_id <= a.coupon_id
        order by m.coupon_id desc limit 1 for no key update) m;
    select a.* into wrong from (select coupon_id, max(ticket) as ticket from added group by coupon_id) a
    where ((select m.quantity from admission m where m.coupon_id >= a.coupon_id and m.coupon_id <= a.coupon_id
            order by m.coupon_id desc limit 1) >= a.ticket) is not true
    limit 1;
    if found then
        raise exception 'there is no ticket % of coupon %', wrong.ticket, wrong.coupon_id
            using errcode = 'check_violation';
    end if;
    update admission m set accepted = a.ticket
    from (select coupon_id, max(ticket) as ticket from added group by coupon_id) a
    where m.ctid = (select ctid from admission n where n.coupon_id >= a.coupon_id and n.coupon_id <= a.coupon_id
                    order by n.coupon_id desc limit 1)
      and m.accepted < a.ticket;
    return null;
end $$;

-- A correct program issues one range of a coupon at a time, above all tickets that were decided before. The guards keep
-- `highest` at or above those, so such a range cannot overlap an earlier one or a rejected ticket.
update issuance s set highest = d.highest
from (select coupon_id, greatest(
          (select last_ticket from issued i where i.coupon_id = k.coupon_id order by first_ticket desc limit 1),
          (select ticket from rejection r where r.coupon_id = k.coupon_id order by ticket desc limit 1)) as highest
      from issuance k) d
where s.coupon_id = d.coupon_id and s.highest < d.highest;

create or replace function issued_once() returns trigger language plpgsql
    set search_path = pg_catalog as $$
declare
    done bigint[];
    coupons bigint;
    counted bigint;
    wrong record;
begin
    perform set_config('search_path', quote_ident(tg_table_schema) || ', pg_temp', true);
    with a as materialized (
        select coupon_id, min(first_ticket) as first_ticket, max(last_ticket) as last_ticket, count(*) as ranges
        from added group by coupon_id order by coupon_id
    ), moved as (
        update issuance s set issued = s.issued + a.last_ticket - a.first_ticket + 1, highest = a.last_ticket from a
        where s.ctid = (select ctid from issuance n where n.coupon_id >= a.coupon_id and n.coupon_id <= a.coupon_id
                        order by n.coupon_id desc limit 1)
          and s.highest < a.first_ticket and a.ranges = 1
          and (select p.ticket from publish_request p where p.coupon_id = a.coupon_id and p.ticket = a.last_ticket
               limit 1) is not null
          and (a.first_ticket = a.last_ticket
               or (select p.ticket from publish_request p where p.coupon_id = a.coupon_id and p.ticket = a.first_ticket
                   limit 1) is not null)
        returning s.coupon_id
    )
    select (select array_agg(coupon_id) from moved), (select count(*) from a) into done, coupons;
    done = coalesce(done, '{}');
    if cardinality(done) = coupons then
        return null;
    end if;
    perform 1 from (select distinct coupon_id from added where coupon_id <> all (done) order by coupon_id) a
    cross join lateral (
        select 1 from issuance s where s.coupon_id >= a.coupon_id and s.coupon_id <= a.coupon_id
        order by s.coupon_id desc limit 1 for no key update) s;
    select a.* into wrong from added a
    where a.coupon_id <> all (done) and (
          (select i.last_ticket from issued i where i.coupon_id = a.coupon_id and i.first_ticket <= a.last_ticket
           order by i.first_ticket desc limit 1 offset 1) >= a.first_ticket
       or (select r.ticket from rejection r where r.coupon_id = a.coupon_id and r.ticket >= a.first_ticket
           order by r.ticket limit 1) <= a.last_ticket
       or (select p.ticket from publish_request p where p.coupon_id = a.coupon_id and p.ticket = a.last_ticket
           limit 1) is null
       or a.first_ticket < a.last_ticket
          and (select p.ticket from publish_request p where p.coupon_id = a.coupon_id and p.ticket = a.first_ticket
               limit 1) is null)
    limit 1;
    if found then
        raise exception 'tickets % to % of coupon % are not all in the ledger and undecided', wrong.first_ticket,
            wrong.last_ticket, wrong.coupon_id using errcode = 'check_violation';
    end if;
    update issuance s set issued = s.issued + a.n, highest = greatest(s.highest, a.last_ticket)
    from (select coupon_id, sum(last_ticket - first_ticket + 1)::bigint as n, max(last_ticket) as last_ticket from added
          where coupon_id <> all (done) group by coupon_id) a
    where s.ctid = (select ctid from issuance n where n.coupon_id >= a.coupon_id and n.coupon_id <= a.coupon_id
                    order by n.coupon_id desc limit 1);
    get diagnostics counted = row_count;
    if counted < (select count(distinct coupon_id) from added where coupon_id <> all (done)) then
        raise exception 'a coupon has no counters' using errcode = 'check_violation';
    end if;
    return null;
end $$;

create or replace function rejected_once() returns trigger language plpgsql
    set search_path = pg_catalog as $$
declare
    counted bigint;
    wrong record;
begin
    perform set_config('search_path', quote_ident(tg_table_schema) || ', pg_temp', true);
    perform 1 from (select distinct coupon_id from added order by coupon_id) a cross join lateral (
        select 1 from issuance s where s.coupon_id >= a.coupon_id and s.coupon_id <= a.coupon_id
        order by s.coupon_id desc limit 1 for no key update) s;
    select a.* into wrong from added a
    where (select i.last_ticket from issued i where i.coupon_id = a.coupon_id and i.first_ticket <= a.ticket
           order by i.first_ticket desc limit 1) >= a.ticket
       or (select p.ticket from publish_request p where p.coupon_id = a.coupon_id and p.ticket = a.ticket
           limit 1) is null
    limit 1;
    if found then
        raise exception 'ticket % of coupon % is not in the ledger, or was issued', wrong.ticket, wrong.coupon_id
            using errcode = 'check_violation';
    end if;
    update issuance s set rejected = s.rejected + a.n, highest = greatest(s.highest, a.ticket)
    from (select coupon_id, count(*) as n, max(ticket) as ticket from added group by coupon_id) a
    where s.ctid = (select ctid from issuance n where n.coupon_id >= a.coupon_id and n.coupon_id <= a.coupon_id
                    order by n.coupon_id desc limit 1);
    get diagnostics counted = row_count;
    if counted < (select count(distinct coupon_id) from added) then
        raise exception 'a coupon has no counters' using errcode = 'check_violation';
    end if;
    return null;
end $$;
