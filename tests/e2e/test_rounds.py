"""Docker over many containers: starts and stops that leave nothing, and many at once."""

import concurrent.futures
import json
import os
import subprocess
import time

import harness
from engines import DockerTest, IMAGE
from harness import processes_with, wait_until

# KATA_TEST_ROUNDS makes a long run: 500 take a quarter of an hour.
ROUNDS = int(os.environ.get("KATA_TEST_ROUNDS", "10"))
AT_ONCE = 30
LOOP = ("sh", "-c", "trap 'exit 3' TERM; echo begin; while :; do sleep 0.1; done")
# A daemon opens and closes descriptors on its own.
SLACK = {"dockerd's descriptors": 5, "containerd's descriptors": 5}
# Only over many rounds is there more to be seen than what a garbage collector happens to hold.
ROUNDS_FOR_MEMORY = 200
KIB_A_ROUND = 20


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


def files_named_after(container):
    found = subprocess.run(["find", "/run", "/tmp", "/dev/shm", "/var/lib", "-name", f"*{container}*"], check=False,
                           capture_output=True, text=True)  # others' files may go away while it looks
    return found.stdout.splitlines()


class Rounds(DockerTest):
    def figures(self, container):
        """What may be left behind on the host, as counts by name."""
        def lines(path):
            with open(path, encoding="utf-8") as f:
                return sum(self.marker in line or container in line for line in f)
        return {
            "mounts": lines("/proc/self/mountinfo"), "sockets": lines("/proc/net/unix"),
            "interfaces": self.run_engine(self.inside("ip", "-o", "link")).stdout.count("\n"),
            "control groups": len(harness.cgroups_with(self.marker) + harness.cgroups_with(container)),
            "processes": len(processes_with(self.marker)), "files named after it": len(files_named_after(container)),
            # Where network namespaces are mounted files stay for a minute, until a sweep.
            "files of the engine": sum(len(files) for directory, _, files in os.walk(self.exec_root)
                                       if os.path.basename(directory) != "netns"),
            "dockerd's descriptors": descriptors(self.daemon.pid), "containerd's descriptors": descriptors(self.containerd_pid()),
        }

    def memory(self):
        return {"dockerd": resident_kib(self.daemon.pid), "containerd": resident_kib(self.containerd_pid())}

    def start_and_stop(self, rounds):
        for _ in range(rounds):
            begun = self.docker("logs", "box").stdout.count("begin")
            self.docker("start", "box")
            # Then it can be stopped.
            wait_until(lambda begun=begun: self.docker("logs", "box").stdout.count("begin") > begun, "the container to begin",
                       harness.COMMAND_TIMEOUT_S)
            self.docker("stop", "--time", "60", "box")
            state = json.loads(self.docker("inspect", "box").stdout)[0]["State"]
            self.assertEqual((state["ExitCode"], state["Error"]), (3, ""))

    def growth_of_memory(self, runtime):
        """In KiB a round, of each daemon, over rounds that leave nothing else."""
        self.docker("create", "--name", "box", "--runtime", runtime, "-p", "127.0.0.1:8080:80", "-v", "/data", IMAGE, *LOOP)
        container = self.docker("inspect", "--format", "{{.Id}}", "box").stdout.strip()
        # In the first ones buffers and caches fill.
        self.start_and_stop(max(2, ROUNDS // 10))
        figures, memory, begin = self.figures(container), self.memory(), time.monotonic()
        self.start_and_stop(ROUNDS)
        seconds = time.monotonic() - begin

        def left():
            return {name: count - figures[name] for name, count in self.figures(container).items()
                    if count > figures[name] + SLACK.get(name, 0)}
        end = time.monotonic() + harness.SETTLE_TIMEOUT_S
        while left():
            self.assertLess(time.monotonic(), end, f"{ROUNDS} rounds under {runtime} left {left()}")
            time.sleep(0.1)
        now = self.memory()
        print(f"{runtime}: {ROUNDS} rounds in {seconds:.0f} s; KiB before and after: "
              + ", ".join(f"{name} {kib} {now[name]}" for name, kib in memory.items()) + f"; counts {figures}", flush=True)
        self.docker("rm", "--volumes", "box")
        self.assertEqual(files_named_after(container), [])
        return {name: (now[name] - kib) / ROUNDS for name, kib in memory.items()}

    def test_rounds_leave_nothing(self):
        plain = self.growth_of_memory("runc")
        for name, kib in self.growth_of_memory("kata").items():
            if ROUNDS >= ROUNDS_FOR_MEMORY:
                self.assertLess(kib, plain[name] + KIB_A_ROUND, f"{name} grows")

    def test_many_at_once(self):
        # All share the processors until the last has started.
        self.write_configuration(agent="dial_timeout = 600", runtime="create_container_timeout = 600")

        def run(number):
            return self.docker_run(IMAGE, "sh", "-c", f"exit {number}", check=False, timeout=harness.COMMAND_TIMEOUT_S * 5)
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            results = list(pool.map(run, range(AT_ONCE)))
        self.assertEqual([(r.returncode, r.stderr) for r in results], [(number, "") for number in range(AT_ONCE)])


if __name__ == "__main__":
    harness.main()
