-- oldest: 0007
-- The couponsd processes, for the console. Each tells every few seconds that it runs; nothing depends on it.
create table instance (
    id text primary key,
    host text not null,
    grpc_address text not null,
    http_address text not null,
    version text not null,
    start_time timestamptz not null,
    seen_time timestamptz not null
) with (fillfactor = 50);
