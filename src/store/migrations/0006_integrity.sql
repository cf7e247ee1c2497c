-- Constraints that hold for every program that writes here: no user gets a coupon twice, and no more coupons are issued
-- than exist. The owner of each coupon follows from the ledger and from `issued` (user_coupon is a view of both), so
-- the constraints guard these tables.
--
--   quantity   the same in coupon, admission and issuance; never falls
--   counters   at most the quantity (0001); never fall
--   ledger     each user and each ticket once per coupon (0004), no ticket above the quantity; insert only
--   issued     ranges whose ends are in the ledger, without tickets that were issued or rejected before; insert only
--   rejection  tickets of the ledger that were not issued; insert only
--
-- The triggers check all rows of a statement at once, since the ledger takes tens of thousands of rows per second. To
-- repair rows by hand or to load old rows, the tables' owner can use: alter table ... disable trigger user.

alter table coupon add unique (id, quantity);
-- Deferred, since adding to the quantity changes three rows. An update of a counter alone does not check these keys.
alter table admission add foreign key (coupon_id, quantity) references coupon (id, quantity)
    deferrable initially deferred;
alter table issuance add foreign key (coupon_id, quantity) references coupon (id, quantity)
    deferrable initially deferred;

create function never_falls() returns trigger language plpgsql as $$
begin
    raise exception 'quantity and counters of coupon % never fall', old.coupon_id using errcode = 'restrict_violation';
end $$;
create trigger never_falls before update on admission for each row
    when (new.coupon_id <> old.coupon_id or new.quantity < old.quantity or new.accepted < old.accepted)
    execute function never_falls();
create trigger never_falls before update on issuance for each row
    when (new.coupon_id <> old.coupon_id or new.quantity < old.quantity or new.issued < old.issued
          or new.rejected < old.rejected or new.highest < old.highest)
    execute function never_falls();

create function only_added_to() returns trigger language plpgsql as $$
begin
    raise exception '% is only added to', tg_table_name using errcode = 'restrict_violation';
end $$;
create trigger only_added_to before update or delete or truncate on publish_request
    for each statement execute function only_added_to();
create trigger only_added_to before update or delete or truncate on issued
    for each statement execute function only_added_to();
create trigger only_added_to before update or delete or truncate on rejection
    for each statement execute function only_added_to();
create trigger only_added_to before delete or truncate on admission
    for each statement execute function only_added_to();
create trigger only_added_to before delete or truncate on issuance
    for each statement execute function only_added_to();

-- The rule of admission. Since tickets are unique, it limits the number of tickets to the quantity. Most statements add
-- rows of one coupon, for which a fast check compares each row; for several coupons, it compares the highest ticket of
-- each.
create function within_quantity() returns trigger language plpgsql as $$
declare
    wrong record;
begin
    if exists (select from (select coupon_id from added limit 1) f join admission m on m.coupon_id = f.coupon_id
               where not exists (select from added a where a.coupon_id <> f.coupon_id or a.ticket > m.quantity)) then
        return null;
    end if;
    select a.* into wrong from (select coupon_id, max(ticket) as ticket from added group by coupon_id) a
    where not exists (select from admission m where m.coupon_id = a.coupon_id and m.quantity >= a.ticket) limit 1;
    if found then
        raise exception 'there is no ticket % of coupon %', wrong.ticket, wrong.coupon_id
            using errcode = 'check_violation';
    end if;
    return null;
end $$;
create trigger within_quantity after insert on publish_request referencing new table as added
    for each statement execute function within_quantity();

-- issued_once and rejected_once first lock the coupon's row in issuance, which issue updates too. So of two concurrent
-- transactions, the second one sees the rows of the first. The queries see the earlier rows as well as those of
-- `added`.
create function issued_once() returns trigger language plpgsql as $$
declare
    wrong record;
begin
    perform 1 from (select distinct coupon_id from added) a join issuance s using (coupon_id)
    order by coupon_id for no key update of s;
    select a.* into wrong from added a
    where (select i.last_ticket from issued i where i.coupon_id = a.coupon_id and i.first_ticket < a.first_ticket
           order by i.first_ticket desc limit 1) >= a.first_ticket
       or (select i.first_ticket from issued i where i.coupon_id = a.coupon_id and i.first_ticket > a.first_ticket
           order by i.first_ticket limit 1) <= a.last_ticket
       or exists (select from rejection r
                  where r.coupon_id = a.coupon_id and r.ticket between a.first_ticket and a.last_ticket)
       or not exists (select from publish_request p where p.coupon_id = a.coupon_id and p.ticket = a.first_ticket)
       or not exists (select from publish_request p where p.coupon_id = a.coupon_id and p.ticket = a.last_ticket)
    limit 1;
    if found then
        raise exception 'tickets % to % of coupon % are not all in the ledger and undecided', wrong.first_ticket,
            wrong.last_ticket, wrong.coupon_id using errcode = 'check_violation';
    end if;
    return null;
end $$;
create trigger issued_once after insert on issued referencing new table as added
    for each statement execute function issued_once();

create function rejected_once() returns trigger language plpgsql as $$
declare
    wrong record;
begin
    perform 1 from (select distinct coupon_id from added) a join issuance s using (coupon_id)
    order by coupon_id for no key update of s;
    select a.* into wrong from added a
    where (select i.last_ticket from issued i where i.coupon_id = a.coupon_id and i.first_ticket <= a.ticket
           order by i.first_ticket desc limit 1) >= a.ticket
       or not exists (select from publish_request p where p.coupon_id = a.coupon_id and p.ticket = a.ticket)
    limit 1;
    if found then
        raise exception 'ticket % of coupon % is not in the ledger, or was issued', wrong.ticket, wrong.coupon_id
            using errcode = 'check_violation';
    end if;
    return null;
end $$;
create trigger rejected_once after insert on rejection referencing new table as added
    for each statement execute function rejected_once();
