"""The size of the virtual machine follows the limits of the container while it runs."""

import re

import harness
from harness import KataTest, wait_until

MIB = 1 << 20


class Size(KataTest):
    def start(self, **limits):
        bundle = self.bundle("sleep", "600")
        bundle.config["linux"].setdefault("resources", {}).update(limits)
        bundle.write()
        container = self.create(bundle)
        self.kata("start", container)
        return container

    def guest_memory_mib(self, container):
        text = self.kata("exec", container, "cat", "/proc/meminfo").stdout
        return int(re.search(r"^MemTotal: +(\d+) kB", text, re.MULTILINE)[1]) // 1024

    def test_memory_grows_and_shrinks(self):
        container = self.start(memory={"limit": 200 * MIB})
        before = self.guest_memory_mib(container)
        self.assertLess(before, 264)
        self.kata("update", "--memory", str(700 * MIB), container)
        self.assertAlmostEqual(self.guest_memory_mib(container), before + 500, delta=20)
        self.assertEqual(self.kata("exec", container, "cat", "/sys/fs/cgroup/memory.max").stdout.strip(),
                         str(700 * MIB))
        # It is there to be used: 500 MiB of a pipe's data in one program's memory.
        self.kata("exec", container, "sh", "-c", "dd if=/dev/zero bs=500M count=1 | wc -c")
        self.kata("update", "--memory", str(200 * MIB), container)
        # The guest gives back what it does not use.
        wait_until(lambda: self.guest_memory_mib(container) < before + 100, "the guest to give memory back")
        self.kata("delete", "--force", container)

    def test_a_size_that_shall_not_change(self):
        self.write_configuration(runtime="static_sandbox_resource_mgmt = true")
        container = self.start(memory={"limit": 200 * MIB})
        before = self.guest_memory_mib(container)
        self.kata("update", "--memory", str(700 * MIB), container)
        self.assertEqual(self.guest_memory_mib(container), before)
        self.assertIn("cannot be as large", self.log_tail())
        self.kata("delete", "--force", container)


if __name__ == "__main__":
    harness.main()
