-- A worker caches coupons between its batches while no other process changes their lane. An append to a lane moves the
-- lane's head. Every other change of a coupon raises the epochs of all lanes; such changes are rare.
alter table outbox_head add column epoch bigint not null default 0;

create function coupon_changed() returns trigger language plpgsql as $$
begin
    perform 1 from outbox_head order by stream, lane for update;
    update outbox_head set epoch = epoch + 1;
    return null;
end $$;
create trigger coupon_changed after insert or update or delete or truncate on coupon
    for each statement execute function coupon_changed();
