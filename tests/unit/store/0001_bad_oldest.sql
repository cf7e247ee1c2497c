-- oldest: the one before
select 1;
