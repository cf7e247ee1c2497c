-- oldest: 0007
-- locks: coupon
-- The coupons that the reconciler looks at in every sweep: those that may still give or issue tickets. A coupon enters the
-- list with each change of its row. The reconciler removes it once it has ended; `changes` tells it whether the row has
-- changed meanwhile. So a sweep costs as much as there are live coupons, however many have ended before.
create table live_coupon (
    coupon_id bigint primary key references coupon on delete cascade,
    changes bigint not null default 0
);

create function coupon_lives() returns trigger language plpgsql
    set search_path = pg_catalog as $$
begin
    perform set_config('search_path', quote_ident(tg_table_schema) || ', pg_temp', true);
    insert into live_coupon (coupon_id) values (new.id)
    on conflict (coupon_id) do update set changes = live_coupon.changes + 1;
    return null;
end $$;
create trigger coupon_lives after insert or update on coupon for each row execute function coupon_lives();

insert into live_coupon (coupon_id)
    select c.id from coupon c join admission a on a.coupon_id = c.id join issuance s on s.coupon_id = c.id
    where a.accepted <> s.issued + s.rejected
       or c.status <> 3 and coalesce(c.expire_time > now(), true) and a.accepted < a.quantity;
