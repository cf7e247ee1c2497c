# SPDX-License-Identifier: Apache-2.0
# header_check: each header of src compiles alone. The build compiles one generated source per header, which includes
# nothing but that header, twice. A header that lacks an include or a guard fails the build.
file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/src/*.h)
set(sources)
foreach(header ${headers})
  set(source ${CMAKE_CURRENT_BINARY_DIR}/header_check/${header}.c)
  file(CONFIGURE OUTPUT ${source} CONTENT "#include \"${header}\"
#include \"${header}\" /* the guard holds */
extern int header_check; /* a translation unit is not empty */
")
  list(APPEND sources ${source})
endforeach()
add_library(header_check OBJECT ${sources})
target_link_libraries(header_check PRIVATE couponsd_strict couponsd_server couponsd_grpc_core PkgConfig::OPENSSL
                      PkgConfig::LIBPQ PkgConfig::RDKAFKA PkgConfig::HIREDIS PkgConfig::INIH)
