"""Podman with kata-runtime: what its users type."""

import os

import harness
from engines import IMAGE, PodmanTest


class Podman(PodmanTest):
    def test_run_exec_stop(self):
        self.assertNotEqual(self.podman_run("--network", "none", IMAGE, "uname", "-r").stdout.strip(), os.uname().release)
        self.assertEqual(self.podman_run("--network", "none", IMAGE, "sh", "-c", "exit 9", check=False).returncode, 9)
        self.podman_run("-d", "--name", "box", "--network", "none", IMAGE, "sh", "-c",
                        "trap 'exit 5' TERM; while :; do echo tick; sleep 0.2; done")
        self.assertEqual(self.podman("exec", "box", "sh", "-c", "exit 3", check=False).returncode, 3)
        self.assertIn("box", self.podman("ps").stdout)
        self.podman("pause", "box")
        self.podman("unpause", "box")
        self.assertIn("tick", self.podman("logs", "box").stdout)
        self.podman("stop", "box")


if __name__ == "__main__":
    harness.main()
