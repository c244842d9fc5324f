# How a folder of src/ becomes a library, a test and a program.

# kata_proto_library(NAME file.proto...): lite runtime code, generated into the build tree only.
function(kata_proto_library name)
  set(out ${CMAKE_BINARY_DIR}/generated/proto)
  file(MAKE_DIRECTORY ${out})
  set(sources)
  foreach(file ${ARGN})
    get_filename_component(stem ${file} NAME_WE)
    add_custom_command(
      OUTPUT ${out}/${stem}.pb.cc ${out}/${stem}.pb.h
      COMMAND protobuf::protoc --cpp_out=lite:${CMAKE_BINARY_DIR}/generated -I ${CMAKE_SOURCE_DIR} ${file}
      WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
      DEPENDS ${CMAKE_SOURCE_DIR}/${file}
      COMMENT "protoc ${file}")
    list(APPEND sources ${out}/${stem}.pb.cc)
  endforeach()
  add_library(${name} STATIC ${sources})
  target_include_directories(${name} SYSTEM PUBLIC ${CMAKE_BINARY_DIR}/generated)
  target_compile_options(${name} PRIVATE -w)
  if(KATA_STATIC)
    find_library(KATA_PROTOBUF_LITE_A libprotobuf-lite.a REQUIRED)
    target_link_libraries(${name} PUBLIC ${KATA_PROTOBUF_LITE_A} Threads::Threads)
  else()
    target_link_libraries(${name} PUBLIC protobuf::libprotobuf-lite Threads::Threads)
  endif()
endfunction()

# kata_library(FOLDER DEPS ...): libkata_FOLDER.a from src/FOLDER (without *_test.cc and *_main.cc) and,
# where there are *_test.cc, the test program FOLDER_test.
function(kata_library folder)
  cmake_parse_arguments(arg "" "" "DEPS" ${ARGN})
  file(GLOB_RECURSE all CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${folder}/*.cc)
  set(tests ${all})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  set(sources ${all})
  list(FILTER sources EXCLUDE REGEX "_(test|main)\\.cc$")
  if(sources)
    add_library(kata_${folder} STATIC ${sources})
    set(scope PUBLIC)
  else()
    add_library(kata_${folder} INTERFACE)
    set(scope INTERFACE)
  endif()
  # Only for #include "...": src/linux/ must not hide the kernel's <linux/...>.
  target_compile_options(kata_${folder} ${scope} "SHELL:-iquote ${CMAKE_SOURCE_DIR}/src")
  target_include_directories(kata_${folder} ${scope} ${CMAKE_BINARY_DIR}/generated)
  target_link_libraries(kata_${folder} ${scope} ${arg_DEPS})
  if(tests AND NOT KATA_FUZZ)
    add_executable(${folder}_test ${tests})
    target_link_libraries(${folder}_test PRIVATE kata_${folder} kata_test_support GTest::gmock GTest::gtest_main)
    gtest_discover_tests(${folder}_test TEST_PREFIX "${folder}." DISCOVERY_TIMEOUT 120
      PROPERTIES LABELS unit TIMEOUT 300)
  endif()
endfunction()

# kata_program(NAME SOURCE main.cc DEPS ... [STATIC]): an executable in bin/. With KATA_STATIC,
# STATIC programs are static-pie and the others need nothing but libc at run time.
function(kata_program name)
  cmake_parse_arguments(arg "STATIC" "SOURCE" "DEPS" ${ARGN})
  add_executable(${name} ${arg_SOURCE})
  target_compile_options(${name} PRIVATE "SHELL:-iquote ${CMAKE_SOURCE_DIR}/src")
  target_include_directories(${name} PRIVATE ${CMAKE_BINARY_DIR}/generated)
  target_link_libraries(${name} PRIVATE ${arg_DEPS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  if(KATA_STATIC AND arg_STATIC)
    # Relocations, of which a vtable has one for each function, take 24 bytes each in the usual form.
    target_link_options(${name} PRIVATE -static-pie -Wl,--fatal-warnings -Wl,-z,pack-relative-relocs)
  elseif(KATA_STATIC)
    target_link_options(${name} PRIVATE -pie -static-libstdc++ -static-libgcc)
  endif()
endfunction()
include(GoogleTest)
