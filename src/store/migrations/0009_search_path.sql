-- oldest: 0007
-- The functions of the triggers, which now find the tables beside the one that was changed, whatever the search path of
-- the session is. Programs that restore or repair rows often have an empty search path, and another schema of the path
-- may have tables of the same names. The schema may be renamed, so each function takes its name from the trigger. With
-- the option "set search_path", the setting ends with the function.

create or replace function coupon_changed() returns trigger language plpgsql
    set search_path = pg_catalog as $$
begin
    perform set_config('search_path', quote_ident(tg_table_schema) || ', pg_temp', true);
    perform 1 from outbox_head order by stream, lane for update;
    update outbox_head set epoch = epoch + 1;
    return null;
end $$;

create or replace function issued_once() returns trigger language plpgsql
    set search_path = pg_catalog as $$
declare
    wrong record;
begin
    perform set_config('search_path', quote_ident(tg_table_schema) || ', pg_temp', true);
    perform 1 from (select distinct coupon_id from added order by coupon_id) a cross join lateral (
        select 1 from issuance s where s.coupon_id = a.coupon_id for no key update) s;
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
        select 1 from issuance s where s.coupon_id = a.coupon_id for no key update) s;
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

create or replace function within_quantity() returns trigger language plpgsql
    set search_path = pg_catalog as $$
declare
    wrong record;
begin
    perform set_config('search_path', quote_ident(tg_table_schema) || ', pg_temp', true);
    if exists (select from (select coupon_id from added limit 1) f cross join lateral
                   (select quantity from admission m where m.coupon_id = f.coupon_id limit 1) m
               where not exists (select from added a where a.coupon_id <> f.coupon_id or a.ticket > m.quantity)) then
        return null;
    end if;
    select a.* into wrong from (select coupon_id, max(ticket) as ticket from added group by coupon_id) a
    where ((select m.quantity from admission m where m.coupon_id = a.coupon_id limit 1) >= a.ticket) is not true
    limit 1;
    if found then
        raise exception 'there is no ticket % of coupon %', wrong.ticket, wrong.coupon_id
            using errcode = 'check_violation';
    end if;
    return null;
end $$;
