"""Docker 26 and Compose 2 with what people run in them, as test_docker_applications."""

import harness
from engines import NewerDockerTest
from test_docker_applications import ComposedApplication, Database, DockerInside


class Postgres(Database, NewerDockerTest):
    pass


class DockerInDocker(DockerInside, NewerDockerTest):
    pass


class Compose(ComposedApplication, NewerDockerTest):
    def compose_command(self):
        return self.engine_command(["compose"])


if __name__ == "__main__":
    harness.main()
