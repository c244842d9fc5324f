"""Docker and Podman under runc and under kata: the same commands, the same results. test_newer_parity has Docker 26."""

import os
import re
import shutil

import harness
import parity
from engines import DockerTest, PodmanTest
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


def chosen(engine, cases):
    """The engine's; KATA_TEST_PARITY, a regular expression, chooses cases by their names while one works on them."""
    wanted = os.environ.get("KATA_TEST_PARITY", "")
    return [case for case in parity.cases_of(engine, cases) if re.search(wanted, case.name)]


class Parity:
    """A test of whatever engine the class is mixed with."""

    engine_name = ""  # as in parity.Case.of()

    def test_parity(self):
        make_inputs(self.dir)
        found = parity.run_cases(self, chosen(self.engine_name, CASES))
        self.assertEqual(found, [], "\n".join(["", *found]))


class Docker(Parity, DockerTest):
    engine_name = "docker"


class Podman(Parity, PodmanTest):
    engine_name = "podman"


if __name__ == "__main__":
    harness.main()
