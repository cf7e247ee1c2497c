#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the C stubs and the embedded descriptor set from proto/ in the folder given (default: generated/).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/../generated}
mkdir -p "$out"
cd "$here"
protos=$(find coupon google grpc -name '*.proto' | LC_ALL=C sort)
traces=$(find opentelemetry -name '*.proto' | LC_ALL=C sort) # couponsd sends them, but serves no such RPC
known='google/protobuf/any.proto google/protobuf/timestamp.proto google/protobuf/duration.proto google/protobuf/descriptor.proto'
# shellcheck disable=SC2086 # lists of names without spaces
protoc -I. -I/usr/include --c_out="$out" $protos $traces $known
set_file=$(mktemp)
trap 'rm -f "$set_file"' EXIT
# shellcheck disable=SC2086
protoc -I. -I/usr/include --include_imports -o "$set_file" $protos
{
  echo '/* Made by proto/generate.sh: the FileDescriptorSet of proto/, which reflection serves. */'
  echo '#include "descriptor_set.h"'
  echo 'const unsigned char descriptor_set[] = {'
  od -An -v -tu1 "$set_file" | sed 's/  */,/g; s/^,//; s/$/,/'
  echo '};'
  echo 'const unsigned long descriptor_set_size = sizeof descriptor_set;'
} >"$out/descriptor_set.c"
{
  echo '/* Made by proto/generate.sh: the serialized FileDescriptorSet of proto/. */'
  echo '#pragma once'
  echo 'extern const unsigned char descriptor_set[];'
  echo 'extern const unsigned long descriptor_set_size;'
} >"$out/descriptor_set.h"
