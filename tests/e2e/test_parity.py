"""Docker and Podman under runc and under kata: the same commands, the same results."""

import os
import re
import shutil

import harness
import parity
from engines import DockerTest, IMAGE, PodmanTest
from parity_cases import CASES


def make_inputs(directory):
    """What the cases find beside their own directories: a large file, a program of another machine, checks of volumes."""
    with open(os.path.join(directory, "big"), "wb") as f:
        f.write(bytes(range(256)) * 20000)
    shutil.copy(os.path.join(os.path.dirname(os.path.abspath(__file__)), "volume_checks.py"), directory)
    with open("/bin/busybox", "rb") as f:
        program = bytearray(f.read())
    program[18:20] = (183).to_bytes(2, "little")  # e_machine: EM_AARCH64
    with open(os.path.join(directory, "other"), "wb") as f:
        f.write(program)
    os.chmod(os.path.join(directory, "other"), 0o755)


def chosen(cases):
    """KATA_TEST_PARITY, a regular expression, chooses cases by their names while one works on them."""
    return [case for case in cases if re.search(os.environ.get("KATA_TEST_PARITY", ""), case.name)]


class Docker(DockerTest):
    def test_parity(self):
        make_inputs(self.dir)
        found = parity.run_cases(
            chosen(CASES), self.client_command,
            {"runc": "--runtime runc", "kata": "--runtime kata"}, self.dir, IMAGE, self.environment)
        self.assertEqual(found, [], "\n".join(["", *found]))


class Podman(PodmanTest):
    def test_parity(self):
        make_inputs(self.dir)
        # Podman's own defaults are beyond what runc may set where CAP_SYS_RESOURCE is missing.
        configuration = os.path.join(self.dir, "containers.conf")
        with open(configuration, "w", encoding="utf-8") as f:
            f.write('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n')
        self.environment["CONTAINERS_CONF"] = configuration
        flags = f"--cgroup-parent /{self.marker} --runtime "
        found = parity.run_cases(
            [case for case in chosen(CASES) if case.podman], self.podman_command,
            {"runc": flags + "/usr/sbin/runc", "kata": flags + self.wrapper}, self.dir, IMAGE, self.environment)
        self.assertEqual(found, [], "\n".join(["", *found]))


if __name__ == "__main__":
    harness.main()
