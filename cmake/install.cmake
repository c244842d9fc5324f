# `cmake --install`: host programs, guest kernel and initrd, shipped configuration.
include(GNUInstallDirs)

install(TARGETS kata-runtime containerd-shim-kata-v2 RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS kata-shim RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/kata-containers)
# Where kata-runtime looks for it: the prefix may be another at installation.
file(RELATIVE_PATH libexec_from_bin "${CMAKE_INSTALL_FULL_BINDIR}" "${CMAKE_INSTALL_FULL_LIBEXECDIR}/kata-containers")
set_source_files_properties(src/cli/launch.cc PROPERTIES
  COMPILE_DEFINITIONS "KATA_LIBEXEC_FROM_BIN=\"${libexec_from_bin}\"")

# The kernel may be a link into a cache: what is installed is the file itself.
install(CODE "
  foreach(pair vmlinux:vmlinux.container initrd.img:kata-containers-initrd.img)
    string(REPLACE \":\" \";\" pair \"\${pair}\")
    list(POP_FRONT pair built installed)
    if(EXISTS \"${CMAKE_BINARY_DIR}/guest/\${built}\")
      file(REAL_PATH \"${CMAKE_BINARY_DIR}/guest/\${built}\" file)
      file(INSTALL DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}/kata-containers\" TYPE FILE
        RENAME \${installed} FILES \"\${file}\")
    else()
      message(WARNING \"This build has no guest/\${built} (preset release makes it): no container starts before \"
        \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}/kata-containers/\${installed} is there\")
    endif()
  endforeach()
")

# Written at installation, because only then the prefix is known (cmake --install --prefix).
install(CODE "
  set(KATA_SHARE_DIR \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}/kata-containers\")
  set(defaults \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}/defaults/kata-containers\")
  message(STATUS \"Installing: \${defaults}/configuration-qemu.toml\")
  file(MAKE_DIRECTORY \"\${defaults}\")
  configure_file(\"${CMAKE_SOURCE_DIR}/share/configuration-qemu.toml.in\" \"\${defaults}/configuration-qemu.toml\" @ONLY)
  file(CREATE_LINK configuration-qemu.toml \"\${defaults}/configuration.toml\" SYMBOLIC)
")
