# Build options and the compiler flags that hold for the whole tree.
option(KATA_STATIC "Link kata-agent and kata-shim fully static, the host programs against libc only" OFF)
option(KATA_FUZZ "Build the libFuzzer targets (clang only)" OFF)
set(KATA_SANITIZE "" CACHE STRING "Value for -fsanitize, e.g. address,undefined or thread")
if(KATA_STATIC AND KATA_SANITIZE)
  message(FATAL_ERROR "KATA_STATIC and KATA_SANITIZE exclude each other: the sanitizers need the dynamic runtime")
endif()

find_program(KATA_CCACHE ccache)
if(KATA_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Paths relative to the checkout: a clone elsewhere on the machine finds what this one has compiled.
  set(launcher ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=true ${KATA_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
endif()

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
# Small: the agent lives in the memory of every guest, the server in that of every sandbox, and none computes much.
set(CMAKE_CXX_FLAGS_RELEASE "-Os -g1 -DNDEBUG")
# As written: a debugger finds every variable, and GCC's warnings are those that do not guess at what was inlined.
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g")

add_compile_options(-Wall -Wextra -Werror -Wno-missing-field-initializers -ffunction-sections -fdata-sections
  -fstack-protector-strong -fno-strict-aliasing)
add_compile_definitions(_GNU_SOURCE _FILE_OFFSET_BITS=64 ASIO_STANDALONE ASIO_NO_DEPRECATED)
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_options(-fstack-clash-protection -fcf-protection)
  add_compile_definitions(_FORTIFY_SOURCE=2 _GLIBCXX_ASSERTIONS)
endif()
add_link_options(-Wl,--gc-sections -Wl,-z,relro,-z,now)

if(KATA_SANITIZE)
  # Reports need lines only.
  set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g1")
  add_compile_options(-fsanitize=${KATA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND KATA_SANITIZE MATCHES undefined)
    # A check at each access through a pointer doubles the code. A null pointer is a crash that AddressSanitizer reports too,
    # and what parses foreign bytes is checked for all of these by the fuzz targets.
    add_compile_options(-fno-sanitize=null,alignment,vptr)
  endif()
  add_link_options(-fsanitize=${KATA_SANITIZE})
endif()
if(KATA_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

execute_process(COMMAND git -C ${CMAKE_SOURCE_DIR} describe --always --dirty --abbrev=40
  OUTPUT_VARIABLE KATA_COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT KATA_COMMIT)
  set(KATA_COMMIT unknown)
endif()
# Only this file sees the commit, so that a new one recompiles nothing else.
set_source_files_properties(src/base/version.cc PROPERTIES
  COMPILE_DEFINITIONS "KATA_VERSION=\"${PROJECT_VERSION}\";KATA_COMMIT=\"${KATA_COMMIT}\"")
