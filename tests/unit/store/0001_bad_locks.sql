-- locks: coupon
-- locks: issued
select 1;
