"""Keys of the configuration: what they do in the guest, at the VMM and to virtiofsd."""

import json
import os
import re

import harness
from harness import KataTest, processes_with

SECCOMP = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
           "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}
PREFIX = "io.katacontainers.config."


class Configuration(KataTest):
    def start(self, bundle=None, **options):
        container = self.create(bundle or self.bundle("sleep", "600"), **options)
        self.kata("start", container)
        return container

    def add_file(self, text):
        """A drop-in; returns its path."""
        path = os.path.join(self.dir, "config.d/10-test.toml")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write("[hypervisor.qemu]\n" + text + "\n")
        return path

    def inside(self, container, *args):
        return self.kata("exec", container, *args).stdout

    def records(self):
        with open(os.path.join(self.dir, "log.json"), encoding="utf-8") as f:
            return [json.loads(line) for line in f]

    def command_line(self, program):
        """The one process of the sandbox that runs this program; virtiofsd's child has the same words."""
        found = [command for _, command in processes_with(self.marker) if program in command.split(" ")[0]]
        self.assertTrue(found, f"no {program} runs")
        return found[0]

    def test_many_keys_at_once(self):
        self.write_configuration(
            hypervisor="\n".join((
                'seccompsandbox = "on,obsolete=deny,spawn=deny,resourcecontrol=deny"',
                'machine_accelerators = "nvdimm=off"',
                'cpu_features = "pmu=off"',
                'entropy_source = "/dev/random"',
                'reclaim_guest_freed_memory = true',
                'virtio_fs_cache = "never"',
                'virtio_fs_queue_size = 512',
                'virtio_fs_extra_args = ["--thread-pool-size=1", "--announce-submounts"]',
                'kernel_params = "kata.test=here agent.hotplug_timeout=5 agent.trace"',
                'guest_hook_path = "/usr/share/oci/hooks"',
                'disable_vhost_net = true')),
            agent="enable_debug = true")
        container = self.start()
        vmm = os.path.join("/proc", str(self.vmm_pid(container)))
        with open(os.path.join(vmm, "status"), encoding="utf-8") as f:
            self.assertRegex(f.read(), r"(?m)^Seccomp:\s+2$")
        qemu = self.command_line("qemu-system")
        for words in ("nvdimm=off", "pmu=off", "filename=/dev/random", "free-page-reporting=on",
                      "queue-size=512"):
            self.assertIn(words, qemu)
        daemon = self.command_line("virtiofsd")
        self.assertRegex(daemon, "cache=n(ever|one)")
        self.assertIn("--thread-pool-size=1", daemon)

        words = self.inside(container, "cat", "/proc/cmdline").split()
        self.assertEqual(words[-3:], ["kata.test=here", "agent.hotplug_timeout=5", "agent.trace"])
        self.assertIn("agent.log=debug", words)
        # 5: memory balloon.
        self.assertIn("0x0005", self.inside(container, "sh", "-c", "cat /sys/bus/virtio/devices/*/device").split())
        # What is shared works without a cache: what the host writes is seen at once.
        rootfs = json.loads(self.kata("state", container).stdout)["rootfs"]
        for text in ("first", "second"):
            with open(os.path.join(rootfs, "shared"), "w", encoding="utf-8") as f:
                f.write(text)
            self.assertEqual(self.inside(container, "cat", "/shared"), text)
        self.kata("kill", container, "KILL")
        self.wait_status(container, "stopped")
        self.kata("delete", container)
        problems = [r for r in self.records() if r["msg"] == "problem at start"]
        self.assertEqual([p["error"] for p in problems], ["option 'agent.trace' has no effect in this agent"])
        self.assertEqual([r for r in self.records() if r["level"] in ("error", "fatal")], [])

    def test_memory_and_processors_are_plugged_under_the_filter_of_qemu(self):
        self.write_configuration(hypervisor='seccompsandbox = "on,obsolete=deny,spawn=deny,resourcecontrol=deny"')
        bundle = self.bundle("sleep", "600")
        bundle.config["linux"].setdefault("resources", {})["memory"] = {"limit": 128 << 20}
        bundle.write()
        container = self.start(bundle)
        self.kata("update", "--memory", str(400 << 20), container)
        memory = self.inside(container, "sh", "-c", "grep MemTotal /proc/meminfo").split()
        self.assertGreater(int(memory[1]), 380 << 10)
        oom = self.kata("exec", container, "sh", "-c", "x=a; while :; do x=$x$x; done", check=False)
        self.assertEqual(oom.returncode, 137, oom.stderr)
        self.kata("delete", "--force", container)

    def test_smallest_memory_over_9p(self):
        self.write_configuration(hypervisor="enable_mem_prealloc = true\nmsize_9p = 262144", shared_fs="virtio-9p")
        self.add_file("default_memory = 96")
        container = self.start()
        with open(f"/proc/{self.vmm_pid(container)}/smaps_rollup", encoding="utf-8") as f:
            rss = next(int(line.split()[1]) for line in f if line.startswith("Rss:"))
        self.assertGreater(rss, 96 << 10)
        self.assertIn("msize=262144", self.inside(container, "cat", "/proc/mounts"))
        memory = self.inside(container, "sh", "-c", "grep MemTotal /proc/meminfo").split()
        self.assertLess(int(memory[1]), 96 << 10)
        self.kata("delete", "--force", container)

    def test_as_many_kernel_parameters_as_are_allowed(self):
        self.write_configuration(hypervisor=f'kernel_params = "x={"y" * 1398}"',
                                 agent="enable_debug = true\ndebug_console_enabled = true")
        result = self.run_container("cat", "/proc/cmdline")
        self.assertEqual(result.stdout.split()[-1], "x=" + "y" * 1398)

    def seccomp(self, disabled):
        self.write_configuration(runtime=f"disable_guest_seccomp = {disabled}")
        bundle = self.bundle("sh", "-c", "grep Seccomp: /proc/self/status; mkdir /tmp/d 2>/dev/null && echo made")
        bundle.config["linux"]["seccomp"] = SECCOMP
        bundle.write()
        return self.run_container(bundle=bundle, check=False).stdout.split()

    def test_guest_seccomp(self):
        self.assertEqual(self.seccomp("false"), ["Seccomp:", "2"])

    def test_disabled_guest_seccomp(self):
        self.assertEqual(self.seccomp("true"), ["Seccomp:", "0", "made"])

    def test_debug_of_the_hypervisor(self):
        self.write_configuration(hypervisor="enable_debug = true")
        self.run_container("true")
        records = self.records()
        commands = {r["msg"]: r["command"] for r in records if r["msg"] in ("start vmm", "start virtiofsd")}
        self.assertIn(harness.KERNEL, commands["start vmm"])
        self.assertIn("debug", commands["start virtiofsd"])
        sources = {r.get("source") for r in records if r["level"] == "debug"}
        self.assertLessEqual({"guest-console", "virtiofsd"}, sources)
        # What the kernel says when it is not told to be quiet.
        self.assertTrue(any(re.match(r"\[ +\d", r["msg"]) for r in records if r.get("source") == "guest-console"))

    def test_warnings_of_virtiofsd_are_logged_without_debug(self):
        daemon = os.path.join(self.dir, "virtiofsd")
        with open(daemon, "w", encoding="utf-8") as f:
            f.write(f"#!/bin/sh\ncase $* in *--version*) ;; *) echo 'WARN of the test' >&2 ;; esac\n"
                    f"exec {harness.VIRTIOFSD} \"$@\"\n")
        os.chmod(daemon, 0o755)
        self.write_configuration(virtiofsd=daemon)
        self.run_container("true")
        warning = next(r for r in self.records() if r["msg"] == "WARN of the test")
        self.assertEqual((warning["level"], warning["source"]), ("warning", "virtiofsd"))

    def test_wrong_values_are_found_before_anything_is_started(self):
        for line, text in (
                ('shared_fs = "none"', "shared_fs: 'none' is not one of virtio-fs, virtio-9p"),
                ('virtio_fs_extra_args = ["--shared-dir=/"]', "virtio_fs_extra_args: '--shared-dir': is set by the runtime"),
                ('entropy_source = "/nosuch"', "entropy_source: '/nosuch': No such file or directory"),
                ("default_memory = 64", "default_memory: 64 is not in the range 96 to"),
                ("virtio_fs_cache_size = 1024", "virtio_fs_cache_size: 1024 is not 0")):
            with self.subTest(line):
                drop_in = self.add_file(line)
                result = self.run_container("true", check=False)
                self.assert_one_line_error(result, f"{drop_in}:2: hypervisor.qemu.{text}")
                self.assertFalse(os.path.exists(self.root) and os.listdir(self.root))

    def test_a_temporary_directory_is_not_needed(self):
        self.environment["TMPDIR"] = "/nosuch"
        self.assertEqual(self.run_container("echo", "runs").stdout, "runs\n")

    def annotated(self, annotations, *args, **options):
        bundle = self.bundle(*args)
        bundle.config["annotations"] = {PREFIX + name: value for name, value in annotations.items()}
        bundle.write()
        return self.run_container(bundle=bundle, **options)

    def test_annotations(self):
        self.write_configuration(hypervisor='enable_annotations = ["default_memory", "kernel_params"]\nkernel_params = "a=1"')
        result = self.annotated({"hypervisor.default_memory": "384", "hypervisor.kernel_params": "b=2",
                                 "runtime.vfio_mode": "vfio"},
                                "sh", "-c", "grep MemTotal /proc/meminfo; cat /proc/cmdline")
        words = result.stdout.split()
        self.assertGreater(int(words[1]), 300 << 10)
        self.assertEqual(words[-2:], ["a=1", "b=2"])
        self.assertIn(PREFIX + "runtime.vfio_mode", self.log_tail())

    def test_annotations_that_are_not_enabled_are_refused(self):
        result = self.annotated({"hypervisor.default_memory": "384"}, "true", check=False)
        self.assert_one_line_error(result, self.configuration, "enable_annotations",
                                   f"'{PREFIX}hypervisor.default_memory'")


if __name__ == "__main__":
    harness.main()
