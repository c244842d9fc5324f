"""Docker 26 under runc and under kata: the same commands, the same results. Beside test_parity, as it takes as long."""

import harness
from engines import NewerDockerTest
from test_parity import Parity


class NewerDocker(Parity, NewerDockerTest):
    engine_name = "docker"


if __name__ == "__main__":
    harness.main()
