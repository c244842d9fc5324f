"""kata-runtime update on a running container: what holds in the guest afterwards."""

import json
import os

import harness
from harness import KataTest

FILES = ("memory.max", "memory.low", "cpu.max", "cpu.weight", "pids.max", "cpuset.cpus")


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
        self.kata("start", self.container)
        self.addCleanup(self.kata, "delete", "--force", self.container)

    def limits(self):
        script = f"cd /sys/fs/cgroup; for f in {' '.join(FILES)}; do echo $f $(cat $f); done"
        lines = self.kata("exec", self.container, "sh", "-c", script).stdout.splitlines()
        return {l.split(" ", 1)[0]: (l.split(" ", 1) + [""])[1] for l in lines}

    def changed(self, first, *flags, **options):
        """What differs from `first` in the guest after an update with these flags."""
        self.kata("update", *flags, self.container, **options)
        after = self.limits()
        return {name: after[name] for name in FILES if after[name] != first[name]}

    def test_each_flag_changes_its_limit_and_back(self):
        first = self.limits()
        self.assertEqual(first, {"memory.max": str(64 << 20), "memory.low": str(32 << 20), "cpu.max": "80000 100000",
                                 "cpu.weight": "100", "pids.max": "50", "cpuset.cpus": ""})
        for there, expected, back in (
                (["--memory", "128m"], {"memory.max": str(128 << 20)}, ["--memory", "64m"]),
                (["--memory", "-1"], {"memory.max": "max"}, ["--memory", str(64 << 20)]),
                (["--memory-reservation", "16m"], {"memory.low": str(16 << 20)}, ["--memory-reservation", "32m"]),
                (["--cpu-quota", "30000"], {"cpu.max": "30000 100000"}, ["--cpu-quota", "80000"]),
                (["--cpu-quota", "40000", "--cpu-period", "50000"], {"cpu.max": "40000 50000"},
                 ["--cpu-quota", "80000", "--cpu-period", "100000"]),
                (["--cpu-share", "2048"], {"cpu.weight": "174"}, ["--cpu-share", "1024"]),
                (["--pids-limit", "7"], {"pids.max": "7"}, ["--pids-limit", "50"]),
                # Processors are numbered by the host there, and by the guest here: the host's group takes this one.
                (["--cpuset-cpus", "0"], {}, ["--cpuset-cpus", f"0-{os.cpu_count() - 1}"])):
            with self.subTest(flags=there):
                self.assertEqual(self.changed(first, *there), expected)
                self.kata("update", *back, self.container)
        self.assertEqual(self.limits(), first)

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
        before = self.limits()
        for flags, stdin, texts in (
                (["--resources", "-"], "{", ["resources"]),
                (["--resources", "-"], '{"memory": {"limit": "much"}}', ["memory.limit"]),
                (["--resources", "/nosuch/file"], "", ["/nosuch/file"]),
                (["--memory", "64x"], "", ["--memory", "64x"]),
                (["--cpu-quota", "1"], "", ["cpu.max"])):
            with self.subTest(flags=flags, stdin=stdin):
                self.assert_one_line_error(self.kata("update", *flags, self.container, input=stdin, check=False), *texts)
        self.assertEqual(self.limits(), before)


if __name__ == "__main__":
    harness.main()
