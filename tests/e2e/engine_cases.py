"""Tests that all engines share: mix-ins for their classes of engines.py."""

import json
import os
import re
import signal
import subprocess

import harness
from engines import IMAGE
from harness import processes_with, wait_until

TICK = ("sh", "-c", "trap 'exit 3' TERM; while :; do echo tick; sleep 0.2; done")


class Containers:
    """What the tests do with containers."""

    def start(self, name, *flags):
        """A container without a network that prints lines until a signal."""
        self.engine("run", "-d", "--name", name, *self.runtime_flags(), "--network", "none", *flags, IMAGE, *TICK)

    def state(self, name):
        return json.loads(self.engine("inspect", name).stdout)[0]["State"]

    def await_state(self, name, status):
        return wait_until(lambda: (state := self.state(name))["Status"] == status and state, f"'{name}' to be {status}",
                          harness.COMMAND_TIMEOUT_S)

    def assert_well(self, name):
        self.assertEqual(self.engine("exec", name, "echo", "well").stdout, "well\n")

    def fetch(self, address):
        """The page at http://`address`/, from where the engine is; "" when there is none."""
        return self.run_engine(self.inside("busybox", "wget", "-q", "-O", "-", f"http://{address}/"), check=False).stdout

    def machines(self):
        """The process ids of the VMMs."""
        return [pid for pid, command in processes_with(self.marker) if "qemu-system" in command.partition(" ")[0]]

    def vmm_of(self, name):
        """The VMM is in the control group of the pid that the engine has."""
        with open(f"/proc/{self.state(name)['Pid']}/cgroup", encoding="utf-8") as f:
            group = next(line.strip().split(":", 2)[2] for line in f if self.marker in line)
        for pid in self.machines():
            with open(f"/proc/{pid}/cgroup", encoding="utf-8") as f:
                if group in f.read():
                    return pid
        return self.fail(f"no VMM in '{group}'")


class Failures(Containers):
    """When something goes wrong around the container."""

    def test_a_killed_vmm_ends_the_container(self):
        self.start("box")
        os.kill(self.vmm_of("box"), signal.SIGKILL)
        state = self.await_state("box", "exited")
        self.assertEqual((state["ExitCode"], state["OOMKilled"]), (255, False))
        self.assertIn("the virtual machine ended", self.engine("logs", "box").stderr)
        self.engine("start", "box")
        self.assert_well("box")
        # The engine's own pid takes everything with it.
        os.kill(self.state("box")["Pid"], signal.SIGKILL)
        self.assertEqual(self.await_state("box", "exited")["ExitCode"], 137)
        wait_until(lambda: not [c for _, c in processes_with(self.marker) if "qemu" in c or "virtiofsd" in c],
                   "the machine to end")
        self.engine("rm", "box")

    def test_little_memory(self):
        """The least that Docker takes is enough for a small program. Newer releases of runc need more themselves."""
        self.assertEqual(self.run_rm("--network", "none", "--memory", "6m", IMAGE, "echo", "enough").stdout, "enough\n")

    def test_removal_during_creation(self):
        for _ in range(2):
            command = self.engine_command(["run", "--name", "box", *self.runtime_flags(), "--network", "none", IMAGE, *TICK])
            with subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL) as client:
                try:
                    wait_until(self.machines, "the VMM to start", harness.COMMAND_TIMEOUT_S)
                    self.engine("rm", "--force", "box")
                    client.wait(harness.COMMAND_TIMEOUT_S)
                finally:
                    client.kill()
            self.assertEqual(self.engine("ps", "--all", "--quiet").stdout, "")
            wait_until(lambda: not self.machines(), "the machine to end")

    def test_port_in_use(self):
        on_port = (*self.runtime_flags(), "-p", "127.0.0.1:8082:80", IMAGE, *TICK)
        self.engine("run", "-d", "--name", "first", *on_port)
        refused = self.engine("run", "-d", "--name", "second", *on_port, check=False)
        self.assertEqual(refused.returncode, self.refused)
        self.assertRegex(refused.stderr, "port is already allocated|address already in use")
        self.engine("rm", "second")
        self.assert_well("first")


class BrokenSettings(Containers):
    """Runtimes whose configuration does not fit: the engine shows why, in one line, and the container can be removed."""

    def runtimes(self):
        other = os.path.join(self.dir, "configuration-clh.toml")
        with open(other, "w", encoding="utf-8") as f:
            f.write(f'[hypervisor.clh]\npath = "/usr/bin/cloud-hypervisor"\nkernel = "{harness.KERNEL}"\n')
        self.write_configuration(kernel="/nosuch/vmlinux")
        moved = os.path.join(self.dir, "configuration-moved.toml")
        os.rename(self.configuration, moved)
        self.write_configuration()
        return {**super().runtimes(), "kata-clh": other, "kata-moved": moved}

    def test_what_is_wrong_is_told(self):
        for runtime, texts in (("kata-clh", ("configuration-clh.toml", "'clh' is not one of qemu")),
                               ("kata-moved", ("/nosuch/vmlinux",))):
            with self.subTest(runtime=runtime):
                failed = self.engine("run", "--name", "box", *self.runtime_flags(runtime), "--network", "none", IMAGE, "true",
                                     check=False)
                # Podman takes a missing file for a missing command.
                self.assertIn(failed.returncode, (self.refused, 127), failed.stderr)
                lines = [line for line in failed.stderr.splitlines() if texts[0] in line]
                self.assertEqual(len(lines), 1, failed.stderr)
                for text in texts:
                    self.assertIn(text, lines[0])
                self.engine("rm", "box")


class Statistics(Containers):
    MIB = 1 << 20

    def statistics(self, name):
        """The columns of `stats` as numbers: per cent of a processor, bytes, processes."""
        shown = self.engine("stats", "--no-stream", "--format", "{{.CPUPerc}}|{{.MemUsage}}|{{.NetIO}}|{{.PIDs}}", name).stdout
        units = {"": 1, "k": 1000, "M": 1000**2, "G": 1000**3, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
        cpu, *pairs, processes = shown.strip().split("|")
        (used, limit), traffic = (
            [float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)([kMG]?i?)B", pair)] for pair in pairs)
        # Podman of Debian 12 takes what is received for what is sent.
        return {"cpu": float(cpu.rstrip("%")), "memory": used, "limit": limit, "traffic": sum(traffic),
                "processes": int(processes)}

    def test_statistics(self):
        """What the container does is to be seen in the engine's figures, which are those of its machine."""
        self.engine("run", "-d", "--name", "box", *self.runtime_flags(), "--memory", "400m", "-p", "127.0.0.1:8083:80", IMAGE,
                    "sh", "-c", "mkdir /w; dd if=/dev/zero of=/w/index.html bs=1M count=2; exec httpd -f -p 80 -h /w")
        wait_until(lambda: self.fetch("127.0.0.1:8083"), "the published port", harness.COMMAND_TIMEOUT_S)
        before = self.statistics("box")
        self.assertGreater(before["traffic"], 2 * self.MIB)
        # The container's limit, rounded, and at most the machine's own needs.
        self.assertTrue(399 * self.MIB <= before["limit"] <= 2000 * self.MIB, before)
        self.assertLess(before["memory"], before["limit"])
        # A processor that is kept busy, and memory that the container takes; some of it the guest had in use before.
        self.engine("exec", "box", "dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=60")
        self.engine("exec", "-d", "box", "sh", "-c", "while :; do :; done")
        self.fetch("127.0.0.1:8083")
        after = wait_until(lambda: (now := self.statistics("box"))["cpu"] > 10 and now, "a busy processor")
        self.assertGreater(after["memory"], before["memory"] + 30 * self.MIB, before)
        self.assertGreater(after["traffic"], before["traffic"] + 2 * self.MIB)
        self.assertGreater(after["processes"], 1)


class LoopDevice:
    """A file of the test's directory as a block device of the host."""

    SIZE = 4 << 20

    def __init__(self, test):
        self.path = os.path.join(test.dir, "disk")
        with open(self.path, "wb") as f:
            f.write(b"from the host".ljust(512, b"."))
            f.truncate(self.SIZE)
        self.node = subprocess.run(["losetup", "--find", "--show", self.path], check=True, capture_output=True,
                                   text=True).stdout.strip()
        test.addCleanup(subprocess.run, ["losetup", "--detach", self.node], check=True)


class Devices(Containers):
    def test_block_device(self):
        disk = LoopDevice(self)
        out = self.run_rm(
            "--network", "none", "--device", disk.node + ":/dev/disk", "--device", disk.node + ":/dev/again:r", IMAGE,
            "sh", "-c", "head -c 13 /dev/disk; echo; blockdev --getsize64 /dev/disk", check=False)
        # The same device twice: the second is refused by the VMM's lock, as two caches would not know of each other.
        self.assertEqual(out.returncode, self.refused, out.stdout)
        self.assertIn("/dev/again", out.stderr)
        out = self.run_rm(
            "--network", "none", "--cap-add", "MKNOD", "--device", disk.node + ":/dev/disk", IMAGE, "sh", "-c",
            "head -c 13 /dev/disk; echo; blockdev --getsize64 /dev/disk; echo from the guest > /dev/disk; sync;"
            "mknod /tmp/other b 7 77; head -c 1 /tmp/other 2>&1; true").stdout
        self.assertEqual(out.splitlines(),
                         ["from the host", str(disk.SIZE), "head: /tmp/other: Operation not permitted"])
        with open(disk.path, "rb") as f:
            self.assertTrue(f.read(100).startswith(b"from the guest\n"))
        out = self.run_rm("--network", "none", "--device", disk.node + ":/dev/disk:r", IMAGE, "sh", "-c",
                          "head -c 14 /dev/disk; echo; echo x > /dev/disk || echo refused")
        self.assertEqual(out.stdout.splitlines(), ["from the guest", "refused"])

    def test_a_character_device_of_the_host_is_refused(self):
        refused = self.run_rm("--network", "none", "--device", "/dev/ptmx:/dev/mine", "--device", "/dev/cpu_dma_latency", IMAGE,
                              "true", check=False)
        self.assertEqual(refused.returncode, self.refused, refused.stdout)
        self.assertIn("device '/dev/cpu_dma_latency': a character device of the host", refused.stderr)

    def all_capabilities(self):
        """As the engine knows them: its own."""
        with open("/proc/self/status", encoding="utf-8") as f:
            return next(line.split()[1] for line in f if line.startswith("CapEff:"))

    def test_privileged(self):
        disk = LoopDevice(self)
        out = self.run_rm(
            "--network", "none", "--privileged", IMAGE, "sh", "-c",
            "grep -E 'CapEff|Seccomp:' /proc/self/status; ls /dev | grep -E '^(sd|vd|nvme)' ; mount -t tmpfs none /mnt && echo m;"
            "echo 1 > /proc/sys/kernel/panic && echo s; mkdir /sys/fs/cgroup/below && echo c;"
            # A loop device is the guest's own.
            "truncate -s 1M /run/file; d=$(losetup -f); losetup $d /run/file && blockdev --getsize64 $d; losetup -d $d"
            ).stdout
        lines = out.splitlines()
        self.assertEqual(lines[0], "CapEff:\t" + self.all_capabilities())
        self.assertEqual(lines[1:], ["Seccomp:\t0", "m", "s", "c", str(1 << 20)])
        self.assertTrue(os.path.exists(disk.node))
