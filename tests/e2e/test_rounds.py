"""Engines over many containers: starts and stops that leave nothing, and many at once."""

import concurrent.futures
import os
import re
import subprocess
import time

import harness
from engine_cases import Containers
from engines import DockerTest, IMAGE, PodmanTest
from harness import processes_with, wait_until

# KATA_TEST_ROUNDS makes a long run, as ./dev soak does: 500 take a quarter of an hour under Docker.
ROUNDS = int(os.environ.get("KATA_TEST_ROUNDS", "10"))
AT_ONCE = 30
LOOP = ("sh", "-c", "trap 'exit 3' TERM; echo begin; while :; do sleep 0.1; done")
# A daemon opens and closes descriptors on its own.
SLACK = {"dockerd's descriptors": 5, "containerd's descriptors": 5}
# Only over many rounds is there more to be seen than what a garbage collector happens to hold, and the machine is the
# test's own.
ROUNDS_FOR_TRENDS = 200
KIB_A_ROUND = 20
KERNEL_OBJECTS_A_ROUND = 0.2


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


def files_named_after(container):
    found = subprocess.run(["find", "/run", "/tmp", "/dev/shm", "/var/lib", "-name", f"*{container}*"], check=False,
                           capture_output=True, text=True)  # others' files may go away while it looks
    return found.stdout.splitlines()


def kernel_objects():
    """What the kernel holds on this machine, as counts by name, also where no path leads to it any more. What only caches hold
    goes before: a removed control group stays as long as a page that was charged to it."""
    if ROUNDS >= ROUNDS_FOR_TRENDS:
        os.sync()
        with open("/proc/sys/vm/drop_caches", "w", encoding="utf-8") as f:
            f.write("3")
    with open("/proc/slabinfo", encoding="utf-8") as f:
        counts = {"network namespaces": next(int(line.split()[1]) for line in f if line.startswith("net_namespace "))}
    if os.path.exists("/sys/fs/cgroup/cgroup.stat"):
        with open("/sys/fs/cgroup/cgroup.stat", encoding="utf-8") as f:
            dying = int(re.search(r"nr_dying_descendants (\d+)", f.read())[1])
    else:
        with open("/proc/cgroups", encoding="utf-8") as f:
            known = next(int(line.split()[2]) for line in f if line.startswith("memory"))
        dying = known - sum(1 for _ in os.walk("/sys/fs/cgroup/memory"))
    return {**counts, "removed memory control groups": dying}


class Rounds(Containers):
    def daemons(self):
        """Process ids of the engine's daemons, by name."""
        return {}

    def engine_files(self):
        """How many the engine has for running containers."""
        raise NotImplementedError

    def figures(self, container):
        """What may be left behind on the host, as counts by name."""
        def concerning(lines):
            return sum(self.marker in line or container in line for line in lines)
        return {
            "mounts": concerning(self.mount_lines()),
            "sockets": concerning(self.run_engine(self.inside("cat", "/proc/net/unix")).stdout.splitlines()),
            "interfaces": len(self.links()),
            "control groups": len(harness.cgroups_with(self.marker) + harness.cgroups_with(container)),
            "processes": len(processes_with(self.marker) + processes_with(container)),
            "files named after it": len(files_named_after(container)), "files of the engine": self.engine_files(),
            **{f"{name}'s descriptors": descriptors(pid) for name, pid in self.daemons().items()},
        }

    def trends(self):
        """What grows, if at all, by so little that only many rounds show it."""
        return {**{f"{name}'s KiB": resident_kib(pid) for name, pid in self.daemons().items()}, **kernel_objects()}

    def begun(self):
        return self.engine("logs", "box").stdout.count("begin")

    def start_and_stop(self, rounds):
        for _ in range(rounds):
            before = self.begun()
            self.engine("start", "box")
            # Then it can be stopped.
            wait_until(lambda before=before: self.begun() > before, "the container to begin", harness.COMMAND_TIMEOUT_S)
            self.engine("stop", "--time", "60", "box")
            state = self.state("box")
            self.assertEqual((state["ExitCode"], state["Error"]), (3, ""))

    def growth(self, runtime):
        """Of each trend a round, over rounds that leave nothing else."""
        self.engine("create", "--name", "box", *self.runtime_flags(runtime), "-p", "127.0.0.1:8080:80", "-v", "/data", IMAGE,
                    *LOOP)
        container = self.engine("inspect", "--format", "{{.Id}}", "box").stdout.strip()
        # In the first ones buffers and caches fill.
        self.start_and_stop(max(2, ROUNDS // 10))
        figures, trends, begin = self.figures(container), self.trends(), time.monotonic()
        self.start_and_stop(ROUNDS)
        seconds = time.monotonic() - begin

        def left():
            return {name: count - figures[name] for name, count in self.figures(container).items()
                    if count > figures[name] + SLACK.get(name, 0)}
        end = time.monotonic() + harness.SETTLE_TIMEOUT_S
        while left():
            self.assertLess(time.monotonic(), end, f"{ROUNDS} rounds under {runtime} left {left()}")
            time.sleep(0.1)
        now = self.trends()
        print(f"{runtime}: {ROUNDS} rounds in {seconds:.0f} s; before and after: "
              + ", ".join(f"{name} {value} {now[name]}" for name, value in trends.items()) + f"; counts {figures}", flush=True)
        self.engine("rm", "--volumes", "box")
        self.assertEqual(files_named_after(container), [])
        return {name: (now[name] - value) / ROUNDS for name, value in trends.items()}

    def test_rounds_leave_nothing(self):
        plain = self.growth("runc")
        for name, growth in self.growth("kata").items():
            if ROUNDS >= ROUNDS_FOR_TRENDS:
                more = KIB_A_ROUND if name.endswith("KiB") else KERNEL_OBJECTS_A_ROUND
                self.assertLess(growth, plain[name] + more, f"{name} grow")


class AtOnce(Containers):
    def test_many_at_once(self):
        """With the time limits that users have: machines boot in turn where they share few processors."""
        def run(number):
            return self.run_rm(IMAGE, "sh", "-c", f"exit {number}", check=False, timeout=harness.COMMAND_TIMEOUT_S * 5)
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            results = list(pool.map(run, range(AT_ONCE)))
        self.assertEqual([(r.returncode, r.stderr) for r in results], [(number, "") for number in range(AT_ONCE)])


class Docker(Rounds, AtOnce, DockerTest):
    def daemons(self):
        return {"dockerd": self.daemon.pid, "containerd": self.containerd_pid()}

    def engine_files(self):
        # Where network namespaces are mounted files stay for a minute, until a sweep.
        return sum(len(files) for directory, _, files in os.walk(self.exec_root) if os.path.basename(directory) != "netns")


class Podman(Rounds, PodmanTest):
    def engine_files(self):
        return sum(len(files) for name in ("run", "tmp") for _, _, files in os.walk(os.path.join(self.dir, "podman", name)))


if __name__ == "__main__":
    harness.main()
