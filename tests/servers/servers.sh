# shellcheck shell=bash disable=SC2154
# Private servers for development and tests: Postgres, Redis and Kafka on free loopback ports, all below one folder.
#
#   servers_up DIR     starts what is not running, waits until it answers, writes DIR/env and DIR/couponsd.ini
#   servers_down DIR   stops what servers_up started in DIR, by the pids it wrote down
#
# Needs $root (the repository) and die(), note() from the script that sources it.

postgres_bin=/usr/lib/postgresql/15/bin

free_ports() { # args: how many; prints them on one line
  python3 - "$1" <<'EOF'
import socket, sys
held = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in held:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in held))
EOF
}

answers() { # args: a port on loopback
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

is_ours() { # args: a pid file, a word of the command line
  local pid
  pid=$(head -n 1 "$1" 2>/dev/null) && [[ $pid ]] && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q -- "$2"
}

wait_for() { # args: what, a log to show on failure, seconds, a command that succeeds once it is up
  local what=$1 log=$2 end=$((SECONDS + $3))
  shift 3
  until "$@"; do
    if ((SECONDS >= end)); then
      tail -n 20 "$log" >&2 || true
      die "$what did not start; its log is $log"
    fi
    sleep 0.1
  done
  note "$what is up"
}

# Postgres refuses to run as root; then the package's own user runs it.
as_postgres() {
  if ((EUID == 0)); then
    (cd / && runuser -u postgres -- "$@")
  else
    "$@"
  fi
}

start_postgres() { # args: folder, port
  local dir=$1 port=$2 data
  data=$(cat "$dir/postgres.dir" 2>/dev/null) || {
    data=$dir/postgres
    mkdir -p "$data"
    if ((EUID == 0)); then
      chown postgres "$data"
      # The way to it may be closed to that user.
      if ! as_postgres test -w "$data" 2>/dev/null; then
        rmdir "$data"
        data=$(mktemp -d /var/tmp/couponsd-postgres.XXXXXX)
        chown postgres "$data"
      fi
    fi
    as_postgres "$postgres_bin/initdb" -D "$data" -A trust -U postgres -E UTF8 --locale=C.UTF-8 >"$dir/initdb.log" 2>&1 ||
      { cat "$dir/initdb.log" >&2; die "initdb failed"; }
    echo "$data" >"$dir/postgres.dir"
  }
  cat >"$dir/postgres.conf" <<EOF
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = ''
max_connections = 300
shared_buffers = 256MB
max_wal_size = 4GB
log_min_messages = warning
EOF
  cp "$dir/postgres.conf" "$data/postgresql.auto.conf.new" && mv "$data/postgresql.auto.conf.new" "$data/postgresql.auto.conf"
  if ((EUID == 0)); then
    chown postgres "$data/postgresql.auto.conf"
    install -o postgres -m 644 /dev/null "$data/server.log"
  fi
  as_postgres "$postgres_bin/pg_ctl" -D "$data" -l "$data/server.log" -s -w -t 60 start >"$dir/pg_ctl.log" 2>&1 || {
    tail -n 20 "$data/server.log" >&2 || true
    die "Postgres did not start; its log is $data/server.log"
  }
  head -n 1 "$data/postmaster.pid" >"$dir/postgres.pid"
  local sql="select 1 from pg_roles where rolname = 'couponsd'"
  if [[ -z $("$postgres_bin/psql" -h 127.0.0.1 -p "$port" -U postgres -Atc "$sql") ]]; then
    "$postgres_bin/psql" -h 127.0.0.1 -p "$port" -U postgres -q -c "create role couponsd login createrole" \
      -c "create database couponsd owner couponsd"
  fi
  note "Postgres is up"
}

start_redis() { # args: folder, port
  # A session of their own: Ctrl-C at the terminal is for ./dev, which then stops them in order.
  (cd "$1" && exec setsid redis-server --bind 127.0.0.1 --port "$2" --save '' --appendonly no --daemonize no \
    --pidfile "$1/redis.own.pid" >"$1/redis.log" 2>&1 </dev/null) &
  echo $! >"$1/redis.pid"
  wait_for Redis "$1/redis.log" 20 answers "$2"
}

fetch_kafka() { # prints the folder with the broker's jars, fetched once
  local libs=$root/.dev/kafka-libs
  if [[ ! -e $libs/.complete ]]; then
    note "fetching the Kafka broker (once)" >&2
    mkdir -p "$libs"
    mvn -q -B -Dstyle.color=never -f "$root/tests/servers/kafka/pom.xml" dependency:copy-dependencies -DoutputDirectory="$libs" >&2 ||
      die "fetching the Kafka broker failed"
    touch "$libs/.complete"
  fi
  echo "$libs"
}

start_kafka() { # args: folder, port, controller's port
  local dir=$1 libs
  libs=$(fetch_kafka)
  mkdir -p "$dir/kafka"
  cat >"$dir/kafka/server.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$3
listeners=PLAINTEXT://127.0.0.1:$2,CONTROLLER://127.0.0.1:$3
advertised.listeners=PLAINTEXT://127.0.0.1:$2
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$dir/kafka/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
EOF
  cat >"$dir/kafka/log4j.properties" <<EOF
log4j.rootLogger=WARN, file
log4j.appender.file=org.apache.log4j.FileAppender
log4j.appender.file.File=$dir/kafka/server.log
log4j.appender.file.layout=org.apache.log4j.PatternLayout
log4j.appender.file.layout.ConversionPattern=%d %p %c %m%n
EOF
  local java=(java -Xmx512m "-Dlog4j.configuration=file:$dir/kafka/log4j.properties" -cp "$libs/*")
  if [[ ! -e $dir/kafka/data/meta.properties ]]; then
    "${java[@]}" kafka.tools.StorageTool format -t "$(head -c 16 /dev/urandom | base64 | tr '+/' 'ab' | cut -c1-22)" \
      -c "$dir/kafka/server.properties" >"$dir/kafka/format.log" 2>&1 ||
      { tail -n 20 "$dir/kafka/format.log" >&2; die "formatting Kafka's storage failed"; }
  fi
  setsid "${java[@]}" kafka.Kafka "$dir/kafka/server.properties" >"$dir/kafka/out.log" 2>&1 </dev/null &
  echo $! >"$dir/kafka.pid"
  wait_for Kafka "$dir/kafka/server.log" 60 answers "$2"
}

servers_up() {
  local dir=$1 ports
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd)
  if [[ -e $dir/ports ]]; then
    read -r -a ports <"$dir/ports"
  else
    read -r -a ports <<<"$(free_ports 4)"
    echo "${ports[*]}" >"$dir/ports"
  fi
  local pids=()
  fetch_kafka >/dev/null
  # Side by side; what Kafka and Redis start stays when these shells end.
  is_ours "$dir/postgres.pid" postgres || { start_postgres "$dir" "${ports[0]}" & pids+=($!); }
  is_ours "$dir/redis.pid" redis-server || { start_redis "$dir" "${ports[1]}" & pids+=($!); }
  is_ours "$dir/kafka.pid" kafka.Kafka || { start_kafka "$dir" "${ports[2]}" "${ports[3]}" & pids+=($!); }
  local pid failed=
  for pid in "${pids[@]}"; do
    wait "$pid" || failed=1
  done
  [[ -z $failed ]] || { servers_down "$dir"; die "not all servers came up"; }
  cat >"$dir/env" <<EOF
export POSTGRES_URL=postgresql://couponsd@127.0.0.1:${ports[0]}/couponsd
export REDIS_URL=redis://127.0.0.1:${ports[1]}/0
export KAFKA_BROKERS=127.0.0.1:${ports[2]}
EOF
  cat >"$dir/couponsd.ini" <<EOF
[postgres]
url = postgresql://couponsd@127.0.0.1:${ports[0]}/couponsd

[redis]
url = redis://127.0.0.1:${ports[1]}/0

[kafka]
brokers = 127.0.0.1:${ports[2]}
EOF
}

stop_pid() { # args: pid file, a word of the command line, signal
  local pid
  is_ours "$1" "$2" || { rm -f "$1"; return 0; }
  pid=$(head -n 1 "$1")
  kill "-$3" "$pid" 2>/dev/null || true
  local end=$((SECONDS + 20))
  while [[ -e /proc/$pid ]] && ! grep -q '^State:[[:space:]]*Z' "/proc/$pid/status" 2>/dev/null; do
    ((SECONDS < end)) || { kill -KILL "$pid" 2>/dev/null || true; break; }
    sleep 0.1
  done
  rm -f "$1"
}

servers_down() {
  local dir=$1
  [[ -d $dir ]] || return 0
  dir=$(cd "$dir" && pwd)
  stop_pid "$dir/kafka.pid" kafka.Kafka TERM &
  stop_pid "$dir/redis.pid" redis-server TERM &
  # INT is Postgres' fast shutdown.
  stop_pid "$dir/postgres.pid" postgres INT &
  wait
}

servers_remove() { # after servers_down: with all data
  local data
  data=$(cat "$1/postgres.dir" 2>/dev/null) && [[ $data == /var/tmp/couponsd-postgres.* ]] && rm -rf "$data"
  rm -rf "$1"
}
