-- A worker remembers coupons between its batches as long as nobody else has touched their lane. What is appended to a lane
-- moves its head; whatever else changes a coupon raises the epoch of all lanes. Administration is rare.
alter table outbox_head add column epoch bigint not null default 0;

create function coupon_changed() returns trigger language plpgsql as $$
begin
    perform 1 from outbox_head order by stream, lane for update;
    update outbox_head set epoch = epoch + 1;
    return null;
end $$;
create trigger coupon_changed after insert or update or delete or truncate on coupon
    for each statement execute function coupon_changed();
