"""kata-runtime update: what holds in the guest and on the host afterwards."""

import json
import os
import subprocess

import harness
from harness import KataTest, wait_until

FILES = ("memory.max", "memory.low", "memory.swap.max", "memory.high", "cpu.max", "cpu.max.burst", "cpu.idle", "cpu.weight",
         "pids.max", "cpuset.cpus", "io.weight", "hugetlb.2MB.max")
HOST_FILES = ("memory.max", "memory.limit_in_bytes", "cpu.max", "cpu.cfs_quota_us", "cpu.weight", "cpu.shares",
              "cpuset.cpus")


class Update(KataTest):
    def setUp(self):
        super().setUp()
        self.container = self.new_id()
        bundle = self.bundle("sleep", "600")
        bundle.config["linux"]["resources"] = {
            "memory": {"limit": 64 << 20, "reservation": 32 << 20}, "pids": {"limit": 50},
            "cpu": {"shares": 1024, "quota": 80000, "period": 100000}}
        bundle.write()
        self.create(bundle, container_id=self.container)
        self.addCleanup(self.kata, "delete", "--force", self.container)
        if self._testMethodName != "test_of_a_created_container":
            self.kata("start", self.container)

    def limits(self):
        script = f"cd /sys/fs/cgroup; for f in {' '.join(FILES)}; do echo $f $(cat $f 2>&1); done"
        lines = self.kata("exec", self.container, "sh", "-c", script).stdout.splitlines()
        return {l.split(" ", 1)[0]: (l.split(" ", 1) + [""])[1] for l in lines}

    def host_limits(self):
        directories = self.saved_state(self.container)["cgroups"].values()
        limits = {}
        for path in {os.path.join(d, name) for d in directories for name in HOST_FILES}:
            if os.path.exists(path):
                with open(path, encoding="utf-8") as f:
                    limits[path] = f.read().strip()
        self.assertTrue(limits)
        return limits

    @staticmethod
    def is_near(limits, before):
        """The same but for a few of the 4 MiB pieces of memory that the guest's kernel may not get free any more."""
        def near(path):
            if "/memory." not in path:
                return limits[path] == before[path]
            return 0 <= int(limits[path]) - int(before[path]) <= 16 << 20
        return limits.keys() == before.keys() and all(near(path) for path in limits)

    def changed(self, first, *flags, **options):
        """What differs from `first` in the guest after an update with these flags."""
        self.kata("update", *flags, self.container, **options)
        after = self.limits()
        return {name: after[name] for name in FILES if after[name] != first[name]}

    def test_each_flag_changes_its_limit_and_back(self):
        first = self.limits()
        self.assertEqual({name: first[name] for name in FILES[:-2]}, {
            "memory.max": str(64 << 20), "memory.low": str(32 << 20), "memory.swap.max": "max", "memory.high": "max",
            "cpu.max": "80000 100000", "cpu.max.burst": "0", "cpu.idle": "0", "cpu.weight": "100", "pids.max": "50",
            "cpuset.cpus": ""})
        for there, expected, back in (
                (["--memory", "128m"], {"memory.max": str(128 << 20)}, ["--memory", "64m"]),
                (["--memory", "-1"], {"memory.max": "max"}, ["--memory", str(64 << 20)]),
                (["--memory-swap", "128m"], {"memory.swap.max": str(64 << 20)}, ["--memory-swap", "-1"]),
                (["--memory-reservation", "16m"], {"memory.low": str(16 << 20)}, ["--memory-reservation", "32m"]),
                (["--cpu-quota", "30000"], {"cpu.max": "30000 100000"}, ["--cpu-quota", "80000"]),
                (["--cpu-quota", "40000", "--cpu-period", "50000"], {"cpu.max": "40000 50000"},
                 ["--cpu-quota", "80000", "--cpu-period", "100000"]),
                (["--cpu-burst", "1000"], {"cpu.max.burst": "1000"}, ["--cpu-burst", "0"]),
                (["--cpu-share", "2048"], {"cpu.weight": "174"}, ["--cpu-share", "1024"]),
                (["--pids-limit", "7"], {"pids.max": "7"}, ["--pids-limit", "50"]),
                # Processors are numbered by the host there, and by the guest here: the host's group takes this one.
                (["--cpuset-cpus", "0"], {}, ["--cpuset-cpus", f"0-{os.cpu_count() - 1}"]),
                (["--cpuset-mems", "0"], {}, ["--cpuset-mems", "0"])):
            with self.subTest(flags=there):
                self.assertEqual(self.changed(first, *there), expected)
                self.kata("update", *back, self.container)
        self.assertEqual(self.limits(), first)

    def test_weights(self):
        self.kata("update", "--cpu-share", "2048", "--blkio-weight", "1000", self.container)
        # While it is idle the whole machine has only what the host leaves over: nothing is asked of it then. The weight
        # is not lost.
        self.kata("update", "--cpu-idle", "1", self.container)
        self.kata("update", "--cpu-idle", "0", self.container)
        limits = self.limits()
        self.assertEqual((limits["cpu.idle"], limits["cpu.weight"], limits["io.weight"]), ("0", "174", "default 10000"))

    def test_limits_without_a_flag(self):
        first = self.limits()
        resources = {"unified": {"memory.high": str(48 << 20)}, "hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]}
        self.assertEqual(self.changed(first, "--resources", "-", input=json.dumps(resources)),
                         {"memory.high": str(48 << 20), "hugetlb.2MB.max": str(4 << 20)})

    def test_resources_by_file_and_stdin(self):
        first = self.limits()
        path = os.path.join(self.dir, "resources.json")
        resources = {"memory": {"limit": 96 << 20}, "cpu": {"shares": 512, "quota": -1}, "pids": {"limit": 9}}
        with open(path, "w", encoding="utf-8") as f:
            json.dump(resources, f)
        self.assertEqual(self.changed(first, "--resources", path), {
            "memory.max": str(96 << 20), "cpu.weight": "59", "cpu.max": "max 100000", "pids.max": "9"})
        back = {"memory": {"limit": 64 << 20}, "cpu": {"shares": 1024, "quota": 80000}, "pids": {"limit": 50}}
        self.assertEqual(self.changed(first, "--resources", "-", input=json.dumps(back)), {})

    def test_what_cannot_be_set_changes_nothing(self):
        before, on_host = self.limits(), self.host_limits()
        for flags, stdin, texts in (
                (["--resources", "-"], "{", ["resources"]),
                (["--resources", "-"], '{"memory": {"limit": "much"}}', ["memory.limit"]),
                (["--resources", "/nosuch/file"], "", ["/nosuch/file"]),
                (["--memory", "64x"], "", ["--memory", "64x"]),
                (["--cpu-quota", "1"], "", ["cpu.", "Invalid argument"]),
                # What comes before the one that fails is taken back, on the host and in the guest.
                (["--memory", "128m", "--cpu-share", "512", "--cpu-quota", "1"], "", ["cpu.", "Invalid argument"]),
                (["--memory", "100m", "--cpuset-cpus", "1000"], "", ["cpuset.cpus"]),
                (["--resources", "-"], '{"memory": {"limit": 134217728}, "cpu": {"shares": 512}, "pids": {"limit": 3}, '
                 '"unified": {"memory.nosuch": "1"}}', ["memory.nosuch"])):
            with self.subTest(flags=flags, stdin=stdin):
                self.assert_one_line_error(self.kata("update", *flags, self.container, input=stdin, check=False), *texts)
                self.assertEqual(self.limits(), before)
                # The machine may take a while to become smaller.
                wait_until(lambda: self.is_near(self.host_limits(), on_host), f"{on_host} again on the host")

    def test_updates_at_the_same_time(self):
        flags = (["--memory", "256m"], ["--pids-limit", "9"], ["--memory-reservation", "8m"], ["--cpu-quota", "40000"])
        updates = [subprocess.Popen(self.command("update", *f, self.container), env=self.environment,
                                    stdin=subprocess.DEVNULL) for f in flags]
        self.assertEqual([update.wait(timeout=harness.COMMAND_TIMEOUT_S) for update in updates], [0] * len(flags))
        # One after the other, each counting on what the others have left.
        self.kata("update", "--cpu-period", "50000", "--memory-swap", "300m", self.container)
        limits = self.limits()
        self.assertEqual((limits["memory.max"], limits["memory.swap.max"], limits["memory.low"], limits["pids.max"],
                          limits["cpu.max"]), (str(256 << 20), str(44 << 20), str(8 << 20), "9", "40000 50000"))

    def test_of_a_created_container(self):
        self.kata("update", "--memory", "96m", "--pids-limit", "7", self.container)
        self.kata("start", self.container)
        limits = self.limits()
        self.assertEqual((limits["memory.max"], limits["pids.max"]), (str(96 << 20), "7"))

    def test_of_a_paused_container(self):
        self.kata("pause", self.container)
        self.kata("update", "--memory", "96m", "--pids-limit", "7", self.container)
        self.kata("resume", self.container)
        limits = self.limits()
        self.assertEqual((limits["memory.max"], limits["pids.max"]), (str(96 << 20), "7"))


if __name__ == "__main__":
    harness.main()
