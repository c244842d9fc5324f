"""What `cmake --install` makes is a runtime that needs no further setting."""

import os
import subprocess
import unittest

import harness
from harness import KataTest

SYSTEM_CONFIGURATIONS = ("/etc/kata-containers/configuration.toml", "/usr/share/defaults/kata-containers/configuration.toml")


class Install(KataTest):
    def install(self, *options, **environment):
        subprocess.run(["cmake", "--install", harness.BUILD_DIR, *options], env=dict(self.environment, **environment),
                       stdout=subprocess.DEVNULL, check=True, timeout=harness.COMMAND_TIMEOUT_S)

    @unittest.skipIf(any(map(os.path.exists, SYSTEM_CONFIGURATIONS)), "the machine has a configuration of its own")
    def test_runs_a_container_from_a_prefix(self):
        prefix = os.path.join(self.dir, "prefix")
        self.install("--prefix", prefix)
        runtime = os.path.join(prefix, "bin/kata-runtime")
        # A slow machine is given more time, by a file beside the installed one.
        drop_ins = os.path.join(prefix, "share/defaults/kata-containers/config.d")
        os.mkdir(drop_ins)
        with open(os.path.join(drop_ins, "10-time.toml"), "w", encoding="utf-8") as f:
            f.write(f"[agent.kata]\ndial_timeout = {harness.COMMAND_TIMEOUT_S}\n")
        bundle = self.bundle("echo", "installed")
        result = subprocess.run([runtime, "--root", self.root, "run", "--bundle", bundle.path, self.new_id()],
                                env=dict(self.environment, PATH="/usr/sbin:/usr/bin:/sbin:/bin"), capture_output=True,
                                text=True, check=False, stdin=subprocess.DEVNULL, timeout=harness.COMMAND_TIMEOUT_S)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "installed\n", ""))

    def test_package_directory(self):
        """As packages are made: the files lie below DESTDIR, and the configuration names where they will be."""
        stage = os.path.join(self.dir, "stage")
        self.install("--prefix", "/usr", DESTDIR=stage)
        installed = sorted(os.path.relpath(os.path.join(directory, name), stage)
                           for directory, _, names in os.walk(stage) for name in names)
        self.assertEqual(installed, [
            "usr/bin/containerd-shim-kata-v2", "usr/bin/kata-runtime", "usr/libexec/kata-containers/kata-shim",
            "usr/share/defaults/kata-containers/configuration-qemu.toml",
            "usr/share/defaults/kata-containers/configuration.toml",
            "usr/share/kata-containers/kata-containers-initrd.img", "usr/share/kata-containers/vmlinux.container"])
        with open(os.path.join(stage, "usr/share/defaults/kata-containers/configuration.toml"), encoding="utf-8") as f:
            self.assertIn('kernel = "/usr/share/kata-containers/vmlinux.container"', f.read())


if __name__ == "__main__":
    harness.main()
