#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes the OpenAPI description of the services from proto/, for proxies that transcode JSON:
#
#   tools/openapi.sh [FOLDER]    writes openapi.yaml (default: docs/reference)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=${1:-$root/docs/reference}
version=$(sed -n 's/^project(couponsd VERSION \([0-9.]*\).*/\1/p' "$root/CMakeLists.txt")
[[ $version ]] || { echo "tools/openapi.sh: CMakeLists.txt has no version" >&2; exit 1; }
plugin=$("$root/tools/go.sh" tool github.com/google/gnostic/cmd/protoc-gen-openapi@v0.7.1)
cd "$root/proto"
protoc -I. -I/usr/include --plugin="protoc-gen-openapi=$plugin" --openapi_out="$out" \
  --openapi_opt="title=couponsd,version=$version,enum_type=string,fq_schema_naming=false,default_response=true" \
  --openapi_opt="description=couponsd serves gRPC; a proxy serves this as JSON (docs/how-to/http-json.md)." \
  coupon/v1/*_service.proto
sed -i '1i # SPDX-License-Identifier: Apache-2.0' "$out/openapi.yaml"
