# SPDX-License-Identifier: Apache-2.0
# Finds out what this system's gRPC core has. Versions differ, and src/rpc/core.c handles that.
#
#   CORE_DEFINITIONS   compile definitions for that file
include(CheckSymbolExists)
set(CORE_DEFINITIONS)

set(CMAKE_REQUIRED_LIBRARIES PkgConfig::GRPC)
check_symbol_exists(gpr_set_log_function grpc/support/log.h CORE_LOGS_BY_FUNCTION)
unset(CMAKE_REQUIRED_LIBRARIES)
if(CORE_LOGS_BY_FUNCTION)
  list(APPEND CORE_DEFINITIONS CORE_LOGS_BY_FUNCTION)
endif()

# Adds DEFINITION="SYMBOL" where the Abseil library NAME has a symbol that matches PATTERN. Abseil's namespace contains its
# version: absl::lts_20230802 upstream, absl::debian3 in Debian. The link option lets dlsym find the function in programs
# that have Abseil linked in.
function(find_absl_function definition name pattern)
  find_library(ABSL_LIBRARY_${name} absl_${name})
  if(NOT ABSL_LIBRARY_${name} OR NOT CMAKE_NM)
    return()
  endif()
  execute_process(COMMAND ${CMAKE_NM} -D --defined-only ${ABSL_LIBRARY_${name}} OUTPUT_VARIABLE symbols ERROR_QUIET)
  if(ABSL_LIBRARY_${name} MATCHES "[.]a$")
    execute_process(COMMAND ${CMAKE_NM} --defined-only ${ABSL_LIBRARY_${name}} OUTPUT_VARIABLE symbols ERROR_QUIET)
  endif()
  if(symbols MATCHES "[ \n](${pattern})[@\n]")
    set(CORE_DEFINITIONS ${CORE_DEFINITIONS} ${definition}="${CMAKE_MATCH_1}" PARENT_SCOPE)
    target_link_options(couponsd_grpc_core INTERFACE -Wl,--export-dynamic-symbol=${CMAKE_MATCH_1})
  endif()
endfunction()
find_absl_function(ABSL_SET_DEADLOCK_DETECTION synchronization
                   "_ZN4absl[0-9a-z_]*29SetMutexDeadlockDetectionModeENS0_15OnDeadlockCycleE")
find_absl_function(ABSL_SET_LOG_LEVEL log_globals "_ZN4absl[0-9a-z_]*14SetMinLogLevelENS0_18LogSeverityAtLeastE")
