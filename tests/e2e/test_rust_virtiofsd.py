"""The virtiofsd in Rust, of Debian 13: what of the other files' tests depends on the daemon. Debian 12 has the one in C."""

import os
import shutil
import subprocess
import tempfile
import unittest

import harness
import test_failures
import test_mounts
import test_run
from debian_tree import debian_tree

TESTS = {
    test_run.Run: ["test_exit_code_and_both_outputs", "test_large_output_arrives_whole", "test_read_only_root"],
    test_mounts.Mounts: ["test_directory_is_shared_both_ways", "test_single_file_and_read_only",
                         "test_mounts_below_a_volume_are_seen", "test_attributes_of_the_source",
                         "test_owners_through_ids_of_the_mount",
                         "test_owners_through_the_containers_user_namespace"],
    test_failures.Failures: ["test_virtiofsd_killed_mid_run", "test_virtiofsd_that_dies_at_start",
                             "test_vmm_killed_mid_run"],
}
# With the C library that it was built for.
WRAPPER = """#!/bin/bash
exec -a virtiofsd {tree}/usr/lib64/ld-linux-x86-64.so.2 --library-path {tree}/usr/lib/x86_64-linux-gnu \\
  {tree}/usr/libexec/virtiofsd "$@"
"""


def load_tests(_loader, _tests, _pattern):
    return unittest.TestSuite(case(name) for case, names in TESTS.items() for name in names)


def setUpModule():
    try:
        tree = debian_tree(["virtiofsd", "base-passwd"], "trixie")
    except (RuntimeError, subprocess.SubprocessError) as error:
        raise unittest.SkipTest(f"Debian 13's virtiofsd cannot be had: {error}") from error
    directory = tempfile.mkdtemp(prefix="kata-virtiofsd-")
    unittest.addModuleCleanup(shutil.rmtree, directory)
    harness.VIRTIOFSD = os.path.join(directory, "virtiofsd")
    with open(harness.VIRTIOFSD, "w", encoding="utf-8") as f:
        f.write(WRAPPER.format(tree=tree))
    os.chmod(harness.VIRTIOFSD, 0o755)
    version = subprocess.run([harness.VIRTIOFSD, "--version"], capture_output=True, text=True, check=True).stdout
    assert version.startswith("virtiofsd 1."), version


if __name__ == "__main__":
    harness.main()
