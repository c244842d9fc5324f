"""Docker 26 and Compose 2, of Debian 13: the parity table's core, and the composed application."""

import harness
import parity
from engines import IMAGE, NewerDockerTest
from parity_cases import CORE
from test_docker_applications import ComposedApplication
from test_parity import chosen, make_inputs


class Parity(NewerDockerTest):
    def test_core(self):
        self.assertRegex(self.docker("version", "--format", "{{.Server.Version}}").stdout, "^2[6-9]")
        make_inputs(self.dir)
        found = parity.run_cases(chosen("docker", CORE), self.client_command, {"runc": "--runtime runc", "kata": "--runtime kata"},
                                 self.dir, IMAGE, self.environment)
        self.assertEqual(found, [], "\n".join(["", *found]))


class Compose(ComposedApplication, NewerDockerTest):
    def compose_command(self):
        return [*self.client_command([]), "compose"]


if __name__ == "__main__":
    harness.main()
