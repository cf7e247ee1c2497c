-- The versions of each stream's shared topic, with the number of partitions that each was created with.
create table topic_version (
    stream smallint not null,
    version integer not null check (version > 0),
    partitions integer not null check (partitions > 0),
    create_time timestamptz not null default clock_timestamp(),
    primary key (stream, version)
);

-- Which version a lane's relay publishes to. Moved by the lane's relay alone.
alter table relay_cursor add column version integer not null default 1;

-- Which version all lanes shall publish to in the end; they move one after the other.
create table topic_target (
    stream smallint primary key,
    version integer not null,
    paused boolean not null default false,
    change_time timestamptz not null default clock_timestamp()
);
insert into topic_target (stream, version) values (0, 1), (1, 1);
