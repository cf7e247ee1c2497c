# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # root is the sourcing script's
# Private servers for development and tests: Postgres, Redis and Kafka on loopback, all below one folder.
#
#   servers_up DIR       starts those that do not run and waits until they answer; writes DIR/env (for the shell) and
#                        DIR/couponsd.ini (for couponsd); on failure shows why, undoes it and dies
#   servers_undo DIR     stops those that this shell's servers_up has started, and no others; also when interrupted
#   servers_running DIR  succeeds where all three run
#   servers_down DIR     stops all three; data stays
#   servers_remove DIR   removes the folder and the data, once they are down
#
# DIR/NAME.pid says which processes are ours; a pid counts only while that process works in its server's folder.
# Ports are kept in DIR/NAME.port and chosen anew where something else has taken one meanwhile; DEV_PG_PORT,
# DEV_REDIS_PORT and DEV_KAFKA_PORT fix them.
#
# DEV_POSTGRES_BIN (a folder), DEV_REDIS_SERVER (a program) and DEV_KAFKA_VERSION choose other servers than the installed
# ones; matrix.sh fetches some.
#
# Ctrl-C at the terminal is for ./dev alone, which lets a start that has begun come to its end and then stops the
# servers in order; hence setsid for all that would listen to it.
#
# Needs $root (the repository), die() and note() from the script that sources it.

postgres_bin=${DEV_POSTGRES_BIN:-} # the default is the newest that is installed
redis_server=${DEV_REDIS_SERVER:-redis-server}
kafka_version=${DEV_KAFKA_VERSION:-} # the default is the pom's
kafka_java_options=() # more of them
kafka_settings=''     # more of the broker's; they win over those below
kafka_cluster_id=''   # what all brokers of a cluster are formatted with; '': a new one
redis_options=(--appendonly no)
starting=() # the shells that are starting a server
started=()  # the servers that servers_up has started here

# --- processes ---

cluster() { # args: DIR; prints the folder with Postgres' data, fails where there is none
  local data
  data=$(cat "$1/postgres.dir" 2>/dev/null) || return 1
  [[ $data == /* ]] || data=$1/$data # so the whole may be moved
  [[ -d $data ]] && echo "$data"
}

running() { # args: DIR, postgres|redis|kafka; prints the server's pid, fails where it does not run
  local home=$1 pid
  [[ $2 != postgres ]] || home=$(cluster "$1") || return 1
  read -r pid 2>/dev/null <"$1/$2.pid" || return 1
  [[ $pid && $(readlink "/proc/$pid/cwd") == "$home" ]] || return 1
  echo "$pid"
}

servers_running() {
  local dir
  dir=$(realpath -m "$1")
  running "$dir" postgres && running "$dir" redis && running "$dir" kafka
} >/dev/null

comes_up() { # args: seconds, pid, condition...; fails when the process has ended, or the time is up
  local end=$((SECONDS + $1)) pid=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ! kill -0 "$pid" 2>/dev/null || ((SECONDS >= end)); then return 1; fi
    sleep 0.1
  done
}

did_not_start() { # args: name, log
  tail -n 20 "$2" >&2 || true
  die "$1 did not start; its log is $2"
}

stop() { # args: DIR, postgres|redis|kafka, signal, signal if it does not end in time
  local pid end=$((SECONDS + 30))
  if pid=$(running "$1" "$2"); then
    kill "-$3" "$pid"
    while running "$1" "$2" >/dev/null; do
      ((SECONDS < end)) || { kill "-$4" "$pid" && break; }
      sleep 0.05
    done
  fi 2>/dev/null
  rm -f "$1/$2.pid"
}

# --- ports ---

choose_ports() { # args: PREFERRED:WANTED... (either may be empty); prints a port for each
  # Outside the kernel's range for outgoing connections, so that none of these takes a port before its server does.
  python3 - "$@" <<'EOF'
import random, socket, sys

held = []

def take(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        s.bind(("127.0.0.1", port))
    except OSError:
        return False
    held.append(s)
    return True

for preferred, wanted in (arg.split(":") for arg in sys.argv[1:]):
    if wanted and not take(int(wanted)):
        sys.exit(f"port {wanted} is taken")
    port = int(wanted or preferred or 0)
    while not wanted and not (port and take(port)):
        port = random.randrange(15000, 32000)
    print(port)
EOF
}

# --- Postgres ---

as_postgres() { # Postgres refuses to run as root; then the package's own user runs it
  if ((EUID == 0)); then
    (cd / && exec setpriv --reuid=postgres --regid=postgres --init-groups setsid --wait "$@")
  else
    setsid --wait "$@"
  fi
}

make_cluster() { # args: DIR; writes DIR/postgres.dir
  local dir=$1 data=$1/postgres initdb=$postgres_bin/initdb
  [[ $postgres_bin ]] || initdb=$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n 1)
  rm -rf "$data"
  mkdir -m 700 "$data"
  if ((EUID == 0)); then
    chown postgres: "$data"
    if ! as_postgres test -w "$data"; then # a folder above it is closed to that user
      rmdir "$data"
      data=$(mktemp -d /var/tmp/couponsd-postgres.XXXXXX)
      chown postgres: "$data"
    fi
  fi
  as_postgres "$initdb" -D "$data" -A trust -U postgres -E UTF8 --locale=C.UTF-8 --no-sync \
    --no-instructions >"$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log" >&2; die "initdb failed"; }
  # Members of with_password need a password. couponsd is its admin, and with that a member, but is trusted as all others.
  local rules='host all couponsd 127.0.0.1/32 trust\nhost all +with_password 127.0.0.1/32 scram-sha-256'
  as_postgres sed -i "1i $rules" "$data/pg_hba.conf"
  if [[ $data == "$dir/postgres" ]]; then echo postgres; else echo "$data"; fi >"$dir/postgres.dir"
}

start_postgres() { # args: DIR
  local dir=$1 port data version bin
  port=$(cat "$dir/postgres.port")
  cluster "$dir" >/dev/null || make_cluster "$dir"
  data=$(cluster "$dir")
  version=$(as_postgres cat "$data/PG_VERSION")
  bin=${postgres_bin:-/usr/lib/postgresql/$version/bin}
  [[ -x $bin/pg_ctl ]] || die "$data is data of Postgres $version, which is not installed: install it, or delete the data"
  local settings="-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories=''
    -c max_connections=300 -c shared_buffers=512MB -c max_wal_size=4GB"
  as_postgres truncate -s 0 "$data/server.log"
  as_postgres "$bin/pg_ctl" -D "$data" -l "$data/server.log" -o "${settings//$'\n'/}" -s -w -t 60 start \
    >/dev/null 2>&1 || { tail -n 20 "$data/server.log" >&2; die "Postgres did not start; its log is $data/server.log"; }
  as_postgres head -n 1 "$data/postmaster.pid" >"$dir/postgres.pid"
  local psql=(setsid --wait psql -X -q -At -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$port" -U postgres
    postgres)
  if [[ -z $("${psql[@]}" -c "select 1 from pg_database where datname = 'couponsd'") ]]; then
    "${psql[@]}" -c 'set client_min_messages = warning' -c 'drop role if exists couponsd' \
      -c 'create role couponsd login createrole' -c 'create role with_password admin couponsd' \
      -c 'create database couponsd owner couponsd'
  fi
  # For tests that want a slow disk.
  "${psql[@]}" -c 'grant set on parameter commit_delay, commit_siblings to couponsd'
  note "Postgres is up on port $port"
}

# --- Redis ---

start_redis() { # args: DIR
  local port log=$1/redis.log
  port=$(cat "$1/redis.port")
  cd "$1" || exit
  # Databases: tests take one each.
  setsid "$redis_server" --bind 127.0.0.1 --port "$port" --save '' --databases 1024 "${redis_options[@]}" \
    >"$log" 2>&1 </dev/null &
  echo $! >"$1/redis.pid"
  comes_up 60 $! grep -q 'Ready to accept connections' "$log" || did_not_start Redis "$log"
  note "Redis is up on port $port"
}

# --- Kafka ---

# Shared by all. A folder for each version of the pom, so that none changes under a broker that runs.
kafka_pom=$root/tools/servers/kafka/pom.xml
kafka_libs=$root/.dev/kafka-libs/$(cksum <"$kafka_pom" | cut -d ' ' -f 1)${kafka_version:+-$kafka_version}

fetch_kafka() {
  mkdir -p "$root/.dev/kafka-libs"
  (
    flock 9
    [[ ! -d $kafka_libs ]] || exit 0
    note "fetching the Kafka broker (once)"
    rm -rf "$kafka_libs.new"
    mvn -q -B -Dstyle.color=never -f "$kafka_pom" dependency:copy-dependencies -DincludeScope=runtime \
      -DoutputDirectory="$kafka_libs.new" ${kafka_version:+"-Dkafka.version=$kafka_version"} >"$kafka_libs.log" 2>&1 ||
      { tail -n 20 "$kafka_libs.log" >&2; die "Maven could not fetch the Kafka broker"; }
    mv "$kafka_libs.new" "$kafka_libs"
  ) 9>"$root/.dev/kafka-libs/lock"
}

make_certificate() { # args: DIR; its key and itself in cert.pem, and itself in ca.pem
  [[ -e $1/ca.pem ]] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
    -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -keyout "$1/key.pem" -out "$1/ca.pem" 2>"$1/openssl.log" ||
    { cat "$1/openssl.log" >&2; die "openssl could not make a certificate"; }
  cat "$1/key.pem" "$1/ca.pem" >"$1/cert.pem"
}

start_kafka() { # args: DIR
  local dir=$1/kafka port controller secure try
  port=$(cat "$1/kafka.port")
  controller=$(cat "$1/controller.port")
  secure=$(cat "$1/kafka_secure.port")
  mkdir -p "$dir"
  make_certificate "$dir"
  cat >"$dir/server.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,SECURE://127.0.0.1:$secure,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port,SECURE://127.0.0.1:$secure
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT
listener.name.secure.sasl.enabled.mechanisms=PLAIN
listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  user_couponsd="open sesame";
listener.name.secure.ssl.keystore.type=PEM
listener.name.secure.ssl.keystore.location=$dir/cert.pem
log.dirs=$dir/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
group.initial.rebalance.delay.ms=0
$kafka_settings
EOF
  cat >"$dir/log4j.properties" <<EOF
log4j.rootLogger=WARN, file
log4j.logger.kafka.server.KafkaRaftServer=INFO
log4j.appender.file=org.apache.log4j.FileAppender
log4j.appender.file.File=$dir/server.log
log4j.appender.file.Append=false
log4j.appender.file.layout=org.apache.log4j.PatternLayout
log4j.appender.file.layout.ConversionPattern=%d %p %c %m%n
EOF
  cd "$1" || exit
  local java=(java -Xmx512m "${kafka_java_options[@]}" "-Dlog4j.configuration=file:kafka/log4j.properties"
    -cp "$kafka_libs/*")
  if [[ ! -e $dir/data/meta.properties ]]; then
    local id=$kafka_cluster_id
    [[ $id ]] || id=$(head -c 16 /dev/urandom | base64 | tr '+/' 'ab' | cut -c1-22)
    setsid --wait "${java[@]}" kafka.tools.StorageTool format -t "$id" -c "$dir/server.properties" \
      >"$dir/format.log" 2>&1 ||
      { tail -n 20 "$dir/format.log" >&2; die "formatting Kafka's storage failed"; }
  fi
  # Once in a while a broker meets its own controller half made (ControllerServer.raftManager() is null) and hangs.
  for try in 1 2 3; do
    rm -f "$dir/server.log"
    setsid "${java[@]}" kafka.Kafka "$dir/server.properties" >"$dir/out.log" 2>&1 </dev/null &
    echo $! >"$1/kafka.pid"
    if comes_up $((30 + 10 * try)) $! grep -q 'Kafka Server started' "$dir/server.log"; then
      note "Kafka is up on port $port"
      return
    fi
    stop "$1" kafka TERM KILL
    wait $! 2>/dev/null || true
    cat "$dir/out.log" "$dir/server.log" >"$dir/failed-$try.log" 2>/dev/null || true
    note "Kafka did not start; its log is $dir/failed-$try.log"
  done
  did_not_start Kafka "$dir/failed-3.log"
}

# --- all of them ---

servers_up() { # args: DIR
  local dir name pid ports down=() choose=() wishes=() failed=''
  local -A fixed=([postgres]=${DEV_PG_PORT-} [redis]=${DEV_REDIS_PORT-} [kafka]=${DEV_KAFKA_PORT-})
  mkdir -p "$1"
  dir=$(realpath "$1")
  exec 8>"$dir/lock" # one at a time; the servers themselves must not hold it
  flock 8
  fetch_kafka
  for name in postgres redis kafka; do
    running "$dir" "$name" >/dev/null || down+=("$name")
  done
  ((${#down[@]})) || { exec 8>&- && return 0; }
  choose=("${down[@]}")
  [[ " ${down[*]} " != *' kafka '* ]] || choose+=(controller kafka_secure)
  for name in "${choose[@]}"; do
    wishes+=("$(cat "$dir/$name.port" 2>/dev/null || true):${fixed[$name]-}")
  done
  ports=$(choose_ports "${wishes[@]}") || die "DEV_PG_PORT, DEV_REDIS_PORT and DEV_KAFKA_PORT must name free ports"
  for name in "${choose[@]}"; do
    read -r pid && echo "$pid" >"$dir/$name.port"
  done <<<"$ports"
  note "starting ${down[*]} in $dir"
  for name in "${down[@]}"; do
    started+=("$name")
    { trap '' INT && "start_$name" "$dir"; } 8>&- &
    starting+=($!)
  done
  for pid in "${starting[@]}"; do
    wait "$pid" || failed=1
  done
  starting=()
  [[ -z $failed ]] || { servers_undo "$dir"; die "not all servers came up"; }
  write_addresses "$dir"
  exec 8>&-
}

write_addresses() { # args: DIR
  local postgres redis kafka
  postgres=$(cat "$1/postgres.port") redis=$(cat "$1/redis.port") kafka=$(cat "$1/kafka.port")
  cat >"$1/env" <<EOF
export POSTGRES_URL=postgresql://couponsd@127.0.0.1:$postgres/couponsd
export REDIS_URL=redis://127.0.0.1:$redis/0
export KAFKA_BROKERS=127.0.0.1:$kafka
# The same with SASL (PLAIN, couponsd, "open sesame") and TLS by a certificate of its own.
export KAFKA_SECURE_BROKERS=127.0.0.1:$(cat "$1/kafka_secure.port") KAFKA_CA=$1/kafka/ca.pem
export SERVERS_DIR=$(printf %q "$1") # with NAME.pid of each
export PGHOST=127.0.0.1 PGPORT=$postgres PGUSER=couponsd PGDATABASE=couponsd
EOF
  cat >"$1/couponsd.ini" <<EOF
[postgres]
url = postgresql://couponsd@127.0.0.1:$postgres/couponsd

[redis]
url = redis://127.0.0.1:$redis/0

[kafka]
brokers = 127.0.0.1:$kafka
EOF
}

stop_these() { # args: DIR, names
  local dir pid name stopping=()
  dir=$(realpath -m "$1")
  shift
  # Interrupted while they start: a server can be stopped once its pid is written.
  for pid in "${starting[@]}"; do
    wait "$pid" || true
  done
  starting=()
  for name in "$@"; do
    case $name in
    postgres) stop "$dir" postgres INT QUIT ;; # its fast shutdown, and its immediate one
    *) stop "$dir" "$name" TERM KILL ;;
    esac &
    stopping+=($!)
  done
  for pid in "${stopping[@]}"; do
    wait "$pid"
  done
}

servers_undo() { # args: DIR
  stop_these "$1" "${started[@]}"
  started=()
}

servers_down() { # args: DIR
  stop_these "$1" kafka redis postgres
}

servers_remove() { # args: DIR
  local data
  data=$(cluster "$1") && rm -rf "$data"
  rm -rf "$1"
}
