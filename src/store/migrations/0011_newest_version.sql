-- oldest: 0007
-- The triggers of the ledger and of what is issued find the counters' rows as in src/store/newest.h, and lock them: the
-- newest version first, of many that Postgres keeps while somebody holds an old snapshot.
create or replace function within_quantity() returns trigger language plpgsql
    set search_path = pg_catalog as $$
declare
    first record;
    wrong record;
begin
    perform set_config('search_path', quote_ident(tg_table_schema) || ', pg_temp', true);
    select f.coupon_id, m.quantity into first from (select coupon_id from added limit 1) f cross join lateral (
        select quantity from admission m where m.coupon_id >= f.coupon_id and m.coupon_id <= f.coupon_id
        order by m.coupon_id desc limit 1 for no key update) m;
    if found and not exists (select from added a where a.coupon_id <> first.coupon_id or a.ticket > first.quantity) then
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
    return null;
end $$;

create or replace function issued_once() returns trigger language plpgsql
    set search_path = pg_catalog as $$
declare
    wrong record;
begin
    perform set_config('search_path', quote_ident(tg_table_schema) || ', pg_temp', true);
    perform 1 from (select distinct coupon_id from added order by coupon_id) a cross join lateral (
        select 1 from issuance s where s.coupon_id >= a.coupon_id and s.coupon_id <= a.coupon_id
        order by s.coupon_id desc limit 1 for no key update) s;
    select a.* into wrong from added a
    where (select i.last_ticket from issued i where i.coupon_id = a.coupon_id and i.first_ticket <= a.last_ticket
           order by i.first_ticket desc limit 1 offset 1) >= a.first_ticket
       or (select r.ticket from rejection r where r.coupon_id = a.coupon_id and r.ticket >= a.first_ticket
           order by r.ticket limit 1) <= a.last_ticket
       or (select p.ticket from publish_request p where p.coupon_id = a.coupon_id and p.ticket = a.last_ticket
           limit 1) is null
       or a.first_ticket < a.last_ticket
          and (select p.ticket from publish_request p where p.coupon_id = a.coupon_id and p.ticket = a.first_ticket
               limit 1) is null
    limit 1;
    if found then
        raise exception 'tickets % to % of coupon % are not all in the ledger and undecided', wrong.first_ticket,
            wrong.last_ticket, wrong.coupon_id using errcode = 'check_violation';
    end if;
    return null;
end $$;

create or replace function rejected_once() returns trigger language plpgsql
    set search_path = pg_catalog as $$
declare
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
    return null;
end $$;
