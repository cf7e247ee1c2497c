# SPDX-License-Identifier: Apache-2.0
# grpc_core: gRPC's core and what it needs. Programs get it static where there are archives of it (and no sanitizer, whose
# suppressions go by the name of the shared library); shared libraries, programs with the property GRPC_SHARED, and
# programs otherwise, get it shared. TLS and zlib are shared in any case, so that their updates count.
add_library(couponsd_grpc_core INTERFACE)
find_library(GRPC_ARCHIVE libgrpc.a)
if(STATIC_GRPC AND GRPC_ARCHIVE AND NOT SANITIZE_ADDRESS AND NOT SANITIZE_THREAD)
  set(archives)
  set(shared)
  list(REMOVE_DUPLICATES GRPC_STATIC_LIBRARIES)
  foreach(name ${GRPC_STATIC_LIBRARIES})
    find_library(ARCHIVE_OF_${name} lib${name}.a)
    if(name MATCHES "^(ssl|crypto|z|dl|rt|m|pthread|atomic)$" OR NOT ARCHIVE_OF_${name})
      list(APPEND shared ${name})
    else()
      list(APPEND archives ${ARCHIVE_OF_${name}})
    endif()
  endforeach()
  list(REMOVE_ITEM shared atomic)
  target_include_directories(couponsd_grpc_core SYSTEM INTERFACE ${GRPC_INCLUDE_DIRS})
  set(is_shared $<OR:$<STREQUAL:$<TARGET_PROPERTY:TYPE>,SHARED_LIBRARY>,$<BOOL:$<TARGET_PROPERTY:GRPC_SHARED>>>)
  target_link_libraries(couponsd_grpc_core INTERFACE
    $<${is_shared}:PkgConfig::GRPC> $<${is_shared}:PkgConfig::GPR>
    "$<$<NOT:${is_shared}>:-Wl,--start-group;${archives};-Wl,--end-group;${shared};stdc++;m>")
else()
  target_link_libraries(couponsd_grpc_core INTERFACE PkgConfig::GRPC PkgConfig::GPR)
endif()
