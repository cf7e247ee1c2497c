#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Writes the descriptor set of the interop service and of the bridge's own services as C.
#   embed.sh OUT INTEROP_PROTO_DIR PROTO_DIR
set -euo pipefail
out=$1
protoc -I"$2" -I"$3" --include_imports -o "$out/interop.pb" grpc/testing/test.proto grpc/health/v1/health.proto \
  grpc/reflection/v1/reflection.proto grpc/reflection/v1alpha/reflection.proto
{
  echo '#include "interop_descriptor_set.h"'
  echo 'const unsigned char interop_descriptor_set[] = {'
  od -An -v -tu1 "$out/interop.pb" | sed 's/  */,/g; s/^,//; s/$/,/'
  echo '};'
  echo 'const unsigned long interop_descriptor_set_size = sizeof interop_descriptor_set;'
} >"$out/interop_descriptor_set.c"
cat >"$out/interop_descriptor_set.h" <<'HEADER'
#pragma once
extern const unsigned char interop_descriptor_set[];
extern const unsigned long interop_descriptor_set_size;
HEADER
