"""Docker 26, of Debian 13: what the older one is tested with, and BuildKit."""

import harness
from engine_cases import BrokenSettings, Devices, Failures, Statistics
from engines import NewerDockerTest
from test_docker import Networks
from test_docker_daemon import Daemon, LiveRestore, Restored, SmallDisk
from test_docker_devices import DefaultRuntimeWithBuildKit, PrivilegedExec


class Docker(Networks, Statistics, Failures, BrokenSettings, Daemon, Restored, Devices, PrivilegedExec, NewerDockerTest):
    pass


class WithSmallDisk(SmallDisk, NewerDockerTest):
    pass


class WithLiveRestore(LiveRestore, NewerDockerTest):
    pass


class WithDefaultRuntime(DefaultRuntimeWithBuildKit, NewerDockerTest):
    pass


if __name__ == "__main__":
    harness.main()
