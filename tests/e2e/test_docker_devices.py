"""Docker: devices, privileged containers, and kata as the default runtime."""

import os
import subprocess

import harness
from engines import DockerTest, IMAGE

SIZE = 4 << 20


class LoopDevice:
    """A file of the test's directory as a block device of the host."""

    def __init__(self, test):
        self.path = os.path.join(test.dir, "disk")
        with open(self.path, "wb") as f:
            f.write(b"from the host".ljust(512, b"."))
            f.truncate(SIZE)
        self.node = subprocess.run(["losetup", "--find", "--show", self.path], check=True, capture_output=True,
                                   text=True).stdout.strip()
        test.addCleanup(subprocess.run, ["losetup", "--detach", self.node], check=True)


class Devices(DockerTest):
    def test_block_device(self):
        disk = LoopDevice(self)
        out = self.docker_run(
            "--network", "none", "--device", disk.node + ":/dev/disk", "--device", disk.node + ":/dev/again:r", IMAGE,
            "sh", "-c", "head -c 13 /dev/disk; echo; blockdev --getsize64 /dev/disk", check=False)
        # The same device twice: the second is refused by the VMM's lock, as two caches would not know of each other.
        self.assertEqual(out.returncode, 125, out.stdout)
        self.assertIn("/dev/again", out.stderr)
        out = self.docker_run(
            "--network", "none", "--device", disk.node + ":/dev/disk", IMAGE, "sh", "-c",
            "head -c 13 /dev/disk; echo; blockdev --getsize64 /dev/disk; echo from the guest > /dev/disk; sync;"
            "mknod /tmp/other b 7 77; head -c 1 /tmp/other 2>&1; true").stdout
        self.assertEqual(out.splitlines(), ["from the host", str(SIZE), "head: /tmp/other: Operation not permitted"])
        with open(disk.path, "rb") as f:
            self.assertTrue(f.read(100).startswith(b"from the guest\n"))
        out = self.docker_run("--network", "none", "--device", disk.node + ":/dev/disk:r", IMAGE, "sh", "-c",
                              "head -c 14 /dev/disk; echo; echo x > /dev/disk || echo refused")
        self.assertEqual(out.stdout.splitlines(), ["from the guest", "refused"])

    def test_a_character_device_of_the_host_is_refused(self):
        refused = self.docker_run("--network", "none", "--device", "/dev/ptmx:/dev/mine", "--device", "/dev/cpu_dma_latency", IMAGE,
                                  "true", check=False)
        self.assertEqual(refused.returncode, 125, refused.stdout)
        self.assertIn("device '/dev/cpu_dma_latency': a character device of the host", refused.stderr)

    def test_privileged(self):
        disk = LoopDevice(self)
        out = self.docker_run(
            "--network", "none", "--privileged", IMAGE, "sh", "-c",
            "grep -E 'CapEff|Seccomp:' /proc/self/status; ls /dev | grep -E '^(sd|vd|nvme)' ; mount -t tmpfs none /mnt && echo m;"
            "echo 1 > /proc/sys/kernel/panic && echo s; mkdir /sys/fs/cgroup/below && echo c;"
            # A loop device is the guest's own.
            "truncate -s 1M /run/file; d=$(losetup -f); losetup $d /run/file && blockdev --getsize64 $d; losetup -d $d"
            ).stdout
        lines = out.splitlines()
        # As far as this Docker knows them.
        self.assertEqual(lines[0], "CapEff:\t0000003fffffffff")
        self.assertEqual(lines[1:], ["Seccomp:\t0", "m", "s", "c", str(1 << 20)])
        self.assertTrue(os.path.exists(disk.node))

    def test_privileged_exec(self):
        """Not in the parity table: runc cannot give what the host's root lacks, as often in a container."""
        self.docker("run", "-d", "--name", "box", "--runtime", "kata", "--network", "none", "--user", "user", IMAGE,
                    "sleep", "1000")
        show = ("grep", "-E", "Cap(Eff|Bnd)", "/proc/self/status")
        plain = self.docker("exec", "box", *show).stdout.split()
        self.assertEqual(plain, ["CapEff:", "0000000000000000", "CapBnd:", "00000000a80425fb"])
        for user, effective in (("root", "0000003fffffffff"), ("user", "0000000000000000")):
            out = self.docker("exec", "--privileged", "--user", user, "box", *show).stdout.split()
            self.assertEqual(out, ["CapEff:", effective, "CapBnd:", "0000003fffffffff"])
        # The filter of system calls stays, as under runc: mount(2) would be refused.
        set_mtu = ("--user", "root", "box", "ip", "link", "set", "lo", "mtu", "9000")
        self.assertIn("not permitted", self.docker("exec", *set_mtu, check=False).stderr)
        self.docker("exec", "--privileged", *set_mtu)


class DefaultRuntime(DockerTest):
    daemon_options = {"default-runtime": "kata"}

    def test_build(self):
        context = os.path.join(self.dir, "context")
        os.mkdir(context)
        with open(os.path.join(context, "Dockerfile"), "w", encoding="utf-8") as f:
            f.write(f"FROM {IMAGE}\nENV A=b\nWORKDIR /work\nCOPY Dockerfile .\n"
                    "RUN chmod 1777 /tmp && uname -r > kernel && echo $A > value && chown 5:6 value && ln -s value link\n"
                    "USER 5\nRUN id -u > /tmp/user && cat value\nCMD [\"cat\", \"/work/kernel\", \"link\", \"/tmp/user\"]\n")
        self.environment["DOCKER_BUILDKIT"] = "0"
        self.docker("build", "--network", "none", "--tag", "localhost/built", context)
        out = self.docker("run", "--rm", "--network", "none", "--runtime", "runc", "localhost/built").stdout.split()
        self.assertNotEqual(out[0], os.uname().release)
        self.assertEqual(out[1:], ["b", "5"])
        failed = self.docker("build", "--network", "none", "-", input=f"FROM {IMAGE}\nRUN exit 7\n", check=False)
        self.assertIn("non-zero code: 7", failed.stderr)


if __name__ == "__main__":
    harness.main()
