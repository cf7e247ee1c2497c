# SPDX-License-Identifier: Apache-2.0
# couponsd_grpc_core: gRPC's core and the libraries that it needs.
# - Programs get it static where its archives link. A test link at configuration finds out: a release whose packages do
#   not fit together gets the shared library.
# - Shared libraries, programs with the property GRPC_SHARED, and builds with a sanitizer get it shared: the sanitizers'
#   suppressions go by the name of the shared library.
# - TLS and zlib are always shared, so that their security updates reach the programs without a new build.
add_library(couponsd_grpc_core INTERFACE)
set(GRPC_LINKED_ARCHIVES) # none unless static
find_library(GRPC_ARCHIVE libgrpc.a)

set(why_shared)
if(NOT COUPONSD_STATIC_GRPC)
  set(why_shared "COUPONSD_STATIC_GRPC is OFF")
elseif(COUPONSD_SANITIZE_ADDRESS OR COUPONSD_SANITIZE_THREAD)
  set(why_shared "for the sanitizer")
elseif(NOT GRPC_ARCHIVE)
  set(why_shared "there is no libgrpc.a")
else()
  set(names ${GRPC_STATIC_LIBRARIES})
  list(REMOVE_DUPLICATES names)
  # zstd is a library of libcrypto's; atomic is named for other processors.
  list(REMOVE_ITEM names atomic zstd)
  set(archives)
  set(shared)
  foreach(name ${names})
    find_library(ARCHIVE_OF_${name} lib${name}.a)
    if(name MATCHES "^(ssl|crypto|z|dl|rt|m|pthread)$" OR NOT ARCHIVE_OF_${name})
      list(APPEND shared ${name})
    else()
      list(APPEND archives ${ARCHIVE_OF_${name}})
    endif()
  endforeach()
  # grpc.pc names re2, but not what re2 needs: on Debian 13 that is more of Abseil. The linker takes what is used.
  cmake_path(GET GRPC_ARCHIVE PARENT_PATH folder)
  file(GLOB abseil ${folder}/libabsl_*.a)
  list(APPEND archives ${abseil})
  list(REMOVE_DUPLICATES archives)
  set(grpc_archives -Wl,--start-group ${archives} -Wl,--end-group ${shared} stdc++ m)

  include(CheckCSourceCompiles)
  set(CMAKE_REQUIRED_INCLUDES ${GRPC_INCLUDE_DIRS})
  set(CMAKE_REQUIRED_LIBRARIES ${grpc_archives} Threads::Threads)
  set(CMAKE_REQUIRED_QUIET ON)
  unset(GRPC_ARCHIVES_LINK CACHE) # the packages may have changed since
  check_c_source_compiles("
    #include <grpc/grpc.h>
    #include <grpc/grpc_security.h>
    #if __has_include(<grpc/credentials.h>)
    #include <grpc/credentials.h>
    #endif
    int main(void) {
      grpc_init();
      grpc_server_credentials *server = grpc_ssl_server_credentials_create_ex(
          0, 0, 0, GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE, 0);
      grpc_channel *channel = grpc_channel_create(\"\", grpc_ssl_credentials_create(0, 0, 0, 0), 0);
      return server && channel && grpc_server_create(0, 0) ? 0 : 1;
    }" GRPC_ARCHIVES_LINK)
  unset(CMAKE_REQUIRED_INCLUDES)
  unset(CMAKE_REQUIRED_LIBRARIES)
  unset(CMAKE_REQUIRED_QUIET)
  if(NOT GRPC_ARCHIVES_LINK)
    set(why_shared "libgrpc.a does not link with this system's libraries")
  endif()
endif()

if(why_shared)
  message(STATUS "gRPC core ${GRPC_VERSION}: shared, ${why_shared}")
  target_link_libraries(couponsd_grpc_core INTERFACE PkgConfig::GRPC)
else()
  message(STATUS "gRPC core ${GRPC_VERSION}: static")
  set(GRPC_LINKED_ARCHIVES ${archives}) # for the bill of materials
  target_include_directories(couponsd_grpc_core SYSTEM INTERFACE ${GRPC_INCLUDE_DIRS})
  set(is_shared $<OR:$<STREQUAL:$<TARGET_PROPERTY:TYPE>,SHARED_LIBRARY>,$<BOOL:$<TARGET_PROPERTY:GRPC_SHARED>>>)
  target_link_libraries(couponsd_grpc_core INTERFACE
    $<${is_shared}:PkgConfig::GRPC> "$<$<NOT:${is_shared}>:${grpc_archives}>")
endif()
