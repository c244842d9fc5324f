# Third-party libraries, all from Debian's packages (docs/decisions/0001-libraries.md).
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(tl-expected REQUIRED)
find_package(CLI11 REQUIRED)
find_package(Protobuf REQUIRED)
find_package(GTest REQUIRED)

# kata_system_library(NAME): target NAME::NAME, the static archive where static programs are linked.
function(kata_system_library name)
  if(KATA_STATIC)
    find_library(KATA_${name}_A ${name}.a REQUIRED)
    add_library(${name}::${name} STATIC IMPORTED GLOBAL)
    set_target_properties(${name}::${name} PROPERTIES IMPORTED_LOCATION ${KATA_${name}_A})
  else()
    pkg_check_modules(${name} REQUIRED IMPORTED_TARGET GLOBAL ${name})
    add_library(${name}::${name} ALIAS PkgConfig::${name})
  endif()
endfunction()
kata_system_library(libseccomp)
kata_system_library(libcap)

# toml++ is used header-only and without exceptions, so Debian's shared library does not fit.
add_library(tomlplusplus INTERFACE)
target_compile_definitions(tomlplusplus INTERFACE TOML_EXCEPTIONS=0 TOML_HEADER_ONLY=1)
add_library(tomlplusplus::tomlplusplus ALIAS tomlplusplus)

# Debian's Asio is headers without a CMake or pkg-config file.
find_path(ASIO_INCLUDE_DIR asio.hpp REQUIRED)
add_library(asio INTERFACE)
target_include_directories(asio SYSTEM INTERFACE ${ASIO_INCLUDE_DIR})
target_link_libraries(asio INTERFACE Threads::Threads)
# Asio asks for a macro of libstdc++ that is there only after the first standard header: files that include Asio first
# would free with operator delete what others took with aligned_alloc.
target_compile_definitions(asio INTERFACE ASIO_DISABLE_STD_ALIGNED_ALLOC)
if(KATA_SANITIZE MATCHES thread)
  # g++ refuses fences under the thread sanitizer; Asio's own locks order what its handlers touch.
  target_compile_definitions(asio INTERFACE ASIO_DISABLE_FENCED_BLOCK)
endif()
add_library(asio::asio ALIAS asio)
