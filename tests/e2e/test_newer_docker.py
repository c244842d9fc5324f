"""Docker 26 and Compose 2, of Debian 13: what the older ones are tested with, and BuildKit."""

import harness
from engine_cases import BrokenSettings, Devices, Failures, Statistics
from engines import NewerDockerTest
from test_docker import Networks
from test_docker_applications import ComposedApplication
from test_docker_daemon import Daemon, LiveRestore, Restored
from test_docker_devices import DefaultRuntimeWithBuildKit, PrivilegedExec


class Docker(Networks, Statistics, Failures, BrokenSettings, Daemon, Restored, Devices, PrivilegedExec, NewerDockerTest):
    pass


class WithLiveRestore(LiveRestore, NewerDockerTest):
    pass


class WithDefaultRuntime(DefaultRuntimeWithBuildKit, NewerDockerTest):
    pass


class Compose(ComposedApplication, NewerDockerTest):
    def compose_command(self):
        return self.engine_command(["compose"])


if __name__ == "__main__":
    harness.main()
