-- The versions of each stream's shared topic, and the number of partitions that each was created with.
create table topic_version (
    stream smallint not null,
    version integer not null check (version > 0),
    partitions integer not null check (partitions > 0),
    create_time timestamptz not null default clock_timestamp(),
    primary key (stream, version)
);

-- The version that the lane's relay publishes to. Only that relay changes it.
alter table relay_cursor add column version integer not null default 1;

-- The target: the version that all lanes should publish to. Lanes move to it one at a time.
create table topic_target (
    stream smallint primary key,
    version integer not null,
    paused boolean not null default false,
    change_time timestamptz not null default clock_timestamp()
);
insert into topic_target (stream, version) values (0, 1), (1, 1);
