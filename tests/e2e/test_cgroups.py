"""The control groups on the host: who is in them, which limits they have, and that they go with the container."""

import json
import os
import subprocess

import harness
from harness import KataTest


def hierarchies():
    """(controllers, mount point) of what this host has: version 1, or version 2 as ("", ...)."""
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        mounts = [line.split() for line in f]
    if any(m[4] == "/sys/fs/cgroup" and m[m.index("-") + 1] == "cgroup2" for m in mounts):
        return [("", "/sys/fs/cgroup")]
    return [(m[-1], m[4]) for m in mounts if m[m.index("-") + 1] == "cgroup"]


class Cgroups(KataTest):
    def setUp(self):
        super().setUp()
        self.hierarchies = hierarchies()
        self.assertTrue(self.hierarchies, "this machine has no control groups")
        self.unified = self.hierarchies[0][0] == ""
        # A parent of its own, as an engine has one.
        self.addCleanup(self.remove_parent)

    def remove_parent(self):
        for _, mount_point in self.hierarchies:
            try:
                os.rmdir(os.path.join(mount_point, self.marker))
            except FileNotFoundError:
                pass

    def directories(self, container):
        return [os.path.join(mount_point, self.marker, container) for _, mount_point in self.hierarchies]

    def read(self, container, controller, name):
        for controllers, mount_point in self.hierarchies:
            if self.unified or controller in controllers.split(","):
                with open(os.path.join(mount_point, self.marker, container, name), encoding="utf-8") as f:
                    return f.read().strip()
        return self.fail(f"no hierarchy of {controller}")

    def pids(self, directory):
        with open(os.path.join(directory, "cgroup.procs"), encoding="utf-8") as f:
            return {int(line) for line in f}

    def names(self, pids):
        names = []
        for pid in pids:
            with open(f"/proc/{pid}/comm", encoding="utf-8") as f:
                names.append(f.read().strip())
        return sorted(names)

    def test_processes_limits_update_and_removal(self):
        bundle = self.bundle("sh", "-c", "cat /sys/fs/cgroup/memory.max; sleep 600")
        container = self.new_id()
        bundle.config["linux"]["cgroupsPath"] = f"/{self.marker}/{container}"
        bundle.config["linux"]["resources"] = {
            "memory": {"limit": 64 << 20, "swap": 64 << 20}, "pids": {"limit": 50},
            "cpu": {"shares": 512, "quota": 150000, "period": 100000, "cpus": "0"}}
        bundle.write()
        self.create(bundle, container_id=container)
        shim, vmm = self.pid(container), self.vmm_pid(container)
        for directory in self.directories(container):
            pids = self.pids(directory)
            self.assertTrue({shim, vmm} <= pids, f"{directory}: {pids}")
            self.assertIn("virtiofsd", self.names(pids))
            # The supervisor is not limited with what it supervises.
            self.assertFalse([n for n in self.names(pids) if n.startswith("containerd-shim")], directory)
        memory = "memory.max" if self.unified else "memory.limit_in_bytes"
        # Room for the guest's memory and the VMM.
        self.assertGreaterEqual(int(self.read(container, "memory", memory)), (256 + 128) << 20)
        self.assertEqual(self.read(container, "cpuset", "cpuset.cpus"), "0")
        if self.unified:
            self.assertEqual(self.read(container, "cpu", "cpu.max"), "150000 100000")
        else:
            self.assertEqual(self.read(container, "cpu", "cpu.shares"), "512")
            self.assertEqual(self.read(container, "cpu", "cpu.cfs_quota_us"), "150000")
        # Threads of the VMM are not the container's processes.
        if self.unified or any("pids" in c for c, _ in self.hierarchies):
            self.assertEqual(self.read(container, "pids", "pids.max"), "max")

        self.kata("start", container)
        harness.wait_until(lambda: self.read_output(container) == f"{64 << 20}\n", "the limit in the guest")
        before = int(self.read(container, "memory", memory))
        self.kata("update", "--memory", "1g", "--memory-swap", "1g", "--cpu-quota", "50000", container)
        guest = self.kata("exec", container, "cat", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/cpu.max",
                          "/sys/fs/cgroup/pids.max").stdout
        self.assertEqual(guest, f"{1 << 30}\n50000 100000\n50\n")
        self.assertGreater(int(self.read(container, "memory", memory)), before)
        self.kata("update", "--resources", "-", container, input='{"memory": {"limit": 67108864, "swap": 67108864}}')
        # When the guest has given the memory back.
        harness.wait_until(lambda: int(self.read(container, "memory", memory)) <= before + (16 << 20),
                           "the host's limit to be lowered")
        self.assertEqual(self.kata("exec", container, "cat", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/cpu.max").stdout,
                         f"{64 << 20}\n50000 100000\n")

        # Processors have the host's numbers, so the host holds the container to them.
        self.kata("update", "--cpuset-cpus", f"0-{os.cpu_count() - 1}", container)
        self.assertNotEqual(self.read(container, "cpuset", "cpuset.cpus"), "0" if os.cpu_count() > 1 else "")
        self.kata("update", "--cpuset-cpus", "0", container)
        self.assertEqual(self.read(container, "cpuset", "cpuset.cpus"), "0")

        # An exec's stand-in is where the container is.
        self.kata("exec", "--detach", "--pid-file", os.path.join(self.dir, "exec.pid"), container, "sleep", "500",
                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(os.path.join(self.dir, "exec.pid"), encoding="utf-8") as f:
            self.assertIn(int(f.read()), self.pids(self.directories(container)[0]))
        self.kata("delete", "--force", container)
        for directory in self.directories(container):
            self.assertFalse(os.path.exists(directory), directory)

    def test_a_group_with_processes_is_warned_of(self):
        path = f"/{self.marker}/shared"
        containers = []
        for _ in range(2):
            bundle = self.bundle("sleep", "600")
            bundle.config["linux"]["cgroupsPath"] = path
            bundle.write()
            containers.append(self.create(bundle))
            with open(os.path.join(self.dir, "log.json"), encoding="utf-8") as f:
                warnings = [r["msg"] for r in map(json.loads, f) if r["level"] == "warning"]
            if len(containers) == 1:
                self.assertEqual(warnings, [])
        self.assertEqual(len(warnings), 1, warnings)
        self.assertRegex(warnings[0], r"^container's cgroup is not empty: [1-9]\d* process\(es\) found$")
        # The first one to go leaves the group to the other.
        self.kata("delete", "--force", containers[0])
        self.assertEqual(self.kata("exec", containers[1], "echo", "lives").stdout, "lives\n")
        self.kata("delete", "--force", containers[1])

    def test_a_limit_that_cannot_be_set_fails_the_creation(self):
        bundle = self.bundle("true")
        container = self.new_id()
        bundle.config["linux"]["cgroupsPath"] = f"/{self.marker}/{container}"
        bundle.config["linux"]["resources"] = {"cpu": {"cpus": "1000"}}
        bundle.write()
        result = self.kata("create", "--bundle", bundle.path, container, check=False)
        self.assert_one_line_error(result, container, "cpuset.cpus", "1000")
        for directory in self.directories(container):
            self.assertFalse(os.path.exists(directory), directory)

    def test_a_vmm_that_the_host_kills_for_memory_is_reported_so(self):
        bundle = self.bundle("sleep", "600")
        container = self.new_id()
        bundle.config["linux"]["cgroupsPath"] = f"/{self.marker}/{container}"
        bundle.write()
        self.create(bundle, container_id=container)
        self.kata("start", container)
        events = subprocess.Popen(self.command("events", container), env=self.environment, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        # Far less than it has; without swap nothing can be given back but by a kill.
        directory = next(d for (c, _), d in zip(self.hierarchies, self.directories(container))
                         if self.unified or "memory" in c.split(","))
        limits = (("memory.swap.max", "0"), ("memory.max", "1M")) if self.unified else (
            ("memory.limit_in_bytes", "1M"), ("memory.force_empty", "0"), ("memory.limit_in_bytes", "1M"))
        for name, value in limits:
            try:
                with open(os.path.join(directory, name), "w", encoding="utf-8") as f:
                    f.write(value)
            except OSError:
                pass  # version 1 refuses a limit that it cannot reach
        if not self.unified:
            # There a limit only bites when something new is asked for: take what is left.
            with open(os.path.join(directory, "memory.usage_in_bytes"), encoding="utf-8") as f:
                usage = int(f.read())
            with open(os.path.join(directory, "memory.limit_in_bytes"), "w", encoding="utf-8") as f:
                f.write(str(usage + (1 << 20)))
            self.kata("exec", container, "dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=60", check=False)
        self.wait_status(container, "stopped")
        self.assertIn("lack of memory", self.read_output(container))
        out, _ = events.communicate(timeout=harness.COMMAND_TIMEOUT_S)
        self.assertIn(f'{{"type":"oom","id":"{container}"}}\n', out)
        self.kata("delete", container)


if __name__ == "__main__":
    harness.main()
