#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds and tests the Java client; tests/clients runs it against a couponsd.
#
#   smoke.sh build            builds stubs, package, example and smoke program with their jars into $CLIENT_BUILD_DIR
#   smoke.sh run HOST:PORT    runs src/test/java/Smoke.java, which explains itself
#   smoke.sh probe ARGUMENT…  runs src/test/java/Probe.java, which explains itself
#   smoke.sh package          lays jar, sources, javadoc and pom.xml with their sums out for Maven Central, in
#                             $CLIENT_BUILD_DIR/repository
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${CLIENT_BUILD_DIR:-$root/build/clients/java}

note() { printf '%s\n' "$*"; }
die() { printf 'clients/java/smoke.sh: %s\n' "$*" >&2; exit 1; }

prepare() {
  # shellcheck source=tools/servers/packages.sh
  source "$root/tools/servers/packages.sh"
  # A JDK or a Maven that is not Debian's is fine.
  command -v javac >/dev/null || need default-jdk-headless
  command -v mvn >/dev/null || need maven
  mkdir -p "$build"
  build=$(cd "$build" && pwd)
  # Otherwise Java would also load jars and classes that an older pom.xml left there.
  if ! cmp -s "$here/pom.xml" "$build/pom.xml"; then
    rm -rf "${build:?}/lib" "$build/classes" "$build/test-classes"
  fi
}

run_maven() {
  mvn -q -B -Dstyle.color=never -f "$here/pom.xml" -Dclient.build.directory="$build" "$@"
  cp "$here/pom.xml" "$build/pom.xml"
}

build() {
  prepare
  run_maven test-compile dependency:copy-dependencies
}

package() {
  prepare
  rm -rf "$build/repository"
  run_maven -DaltDeploymentRepository="package::file://$build/repository" deploy
}

case ${1-} in
build) build ;;
package) package ;;
run | probe)
  [[ -d $build/lib ]] || die "nothing is built in $build; build it with: clients/java/smoke.sh build"
  program=Smoke
  [[ $1 == run ]] || program=Probe
  exec java -cp "$build/classes:$build/test-classes:$build/lib/*" "$program" "${@:2}"
  ;;
*) die "usage: smoke.sh build | run HOST:PORT | probe ARGUMENT… | package" ;;
esac
