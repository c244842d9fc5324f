# What a virtual machine boots: the guest kernel, kept outside of the build tree because it takes minutes, and the initrd
# with the agent. Only where the agent is static: an initrd has no libraries.
if(NOT KATA_STATIC)
  return()
endif()
set(guest ${CMAKE_BINARY_DIR}/guest)
file(MAKE_DIRECTORY ${guest})

file(GLOB kernel_inputs CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/guest/kernel/*)
# The stamp, as the link's own time is that of the kernel in the cache.
add_custom_command(OUTPUT ${guest}/vmlinux.stamp
  COMMAND bash -c "kernel=$(${CMAKE_SOURCE_DIR}/guest/kernel/build) && ln -sfn \"$kernel\" ${guest}/vmlinux"
  COMMAND ${CMAKE_COMMAND} -E touch ${guest}/vmlinux.stamp
  DEPENDS ${kernel_inputs} USES_TERMINAL VERBATIM
  COMMENT "guest kernel")

# kata_initrd(FILE PROGRAM): an initrd that holds the program and nothing else.
function(kata_initrd file program)
  add_custom_command(OUTPUT ${guest}/${file}
    COMMAND ${CMAKE_SOURCE_DIR}/guest/initrd/build $<TARGET_FILE:${program}> ${guest}/${file}
    DEPENDS ${program} ${CMAKE_SOURCE_DIR}/guest/initrd/build VERBATIM
    COMMENT "${file}")
endfunction()
kata_initrd(initrd.img kata-agent)
kata_initrd(poweroff.img poweroff-init)

add_custom_target(guest ALL DEPENDS ${guest}/vmlinux.stamp ${guest}/initrd.img ${guest}/poweroff.img)
