"""A guest that boots from a disk image instead of the initrd: its file systems, its init, its debug console."""

import hashlib
import os
import shutil
import socket
import struct
import subprocess
import unittest

import harness
from harness import KataTest, wait_until

AGENT = os.path.join(harness.BUILD_DIR, "bin/kata-agent")
SECTOR = 512
FIRST_SECTOR = 2048

# An init that is not the agent, with what systemd would have done before it starts services.
OTHER_INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir /dev/pts /dev/shm
mount -t devpts -o ptmxmode=666 devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ifconfig lo up
/usr/bin/kata-agent
poweroff -f
"""


def partitioned(path, partition):
    """A disk with a partition table (MBR) whose first partition holds the file `partition`."""
    sectors = os.path.getsize(partition) // SECTOR
    entry = struct.pack("<B3xB3xII", 0, 0x83, FIRST_SECTOR, sectors)
    with open(path, "wb") as disk, open(partition, "rb") as content:
        disk.write(bytes(446) + entry + bytes(48) + b"\x55\xaa")
        disk.seek(FIRST_SECTOR * SECTOR)
        shutil.copyfileobj(content, disk)
    os.unlink(partition)


def digest(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


class GuestImage(KataTest):
    def tree(self, init=None):
        """A root file system with the agent, which is its init unless a script is given, and a shell."""
        tree = os.path.join(self.dir, "tree")
        for name in ("proc", "sys", "dev", "run", "tmp", "sbin", "bin", "etc", "usr/bin"):
            os.makedirs(os.path.join(tree, name))
        subprocess.run(["strip", "-o", os.path.join(tree, "usr/bin/kata-agent"), AGENT], check=True)
        shutil.copy("/bin/busybox", os.path.join(tree, "bin"))
        for applet in ("sh", "mount", "mkdir", "ifconfig", "poweroff", "tty", "cat"):
            os.symlink("busybox", os.path.join(tree, "bin", applet))
        with open(os.path.join(tree, "etc/hostname"), "w", encoding="utf-8") as f:
            f.write("image\n")
        if init is None:
            os.symlink("/usr/bin/kata-agent", os.path.join(tree, "sbin/init"))
        else:
            with open(os.path.join(tree, "sbin/init"), "w", encoding="utf-8") as f:
                f.write(init)
            os.chmod(os.path.join(tree, "sbin/init"), 0o755)
        return tree

    def file_system(self, tree, rootfs_type):
        path = os.path.join(self.dir, "root." + rootfs_type)
        if rootfs_type == "erofs":
            subprocess.run(["mkfs.erofs", path, tree], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        else:
            subprocess.run(["mkfs.ext4", "-q", "-F", "-d", tree, path, "32M"], check=True, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
        return path

    def boot_from(self, image, rootfs_type="ext4", hypervisor="", **tables):
        self.write_configuration(initrd="", hypervisor=f'image = "{image}"\nrootfs_type = "{rootfs_type}"\n{hypervisor}',
                                 **tables)

    def make_image(self, rootfs_type="ext4", init=None):
        image = os.path.join(self.dir, "guest.img")
        partitioned(image, self.file_system(self.tree(init), rootfs_type))
        return image

    def check_container(self, image):
        """It runs, in a guest with this root, and nothing has written to the disk."""
        before = digest(image)
        result = self.run_container("sh", "-c", "cat /proc/cmdline; echo written > /file; cat /file")
        self.assertIn("root=/dev/vda1 rootfstype=", result.stdout)
        self.assertTrue(result.stdout.endswith("written\n"), result.stdout)
        self.assertEqual(digest(image), before)

    def test_ext4(self):
        image = self.make_image("ext4")
        self.boot_from(image)
        self.check_container(image)

    def test_erofs(self):
        image = self.make_image("erofs")
        self.boot_from(image, "erofs")
        self.check_container(image)

    def test_disk_without_partitions(self):
        self.boot_from(self.file_system(self.tree(), "ext4"), hypervisor='kernel_params = "root=/dev/vda"')
        self.assertEqual(self.run_container("echo", "booted").stdout, "booted\n")

    def test_agent_that_another_init_has_started(self):
        image = self.make_image(init=OTHER_INIT)
        self.boot_from(image)
        self.check_container(image)
        # With limits, as they need the control groups that this init has mounted.
        bundle = self.bundle("cat", "/sys/fs/cgroup/memory.max")
        bundle.config["linux"]["resources"] = {"memory": {"limit": 64 << 20}}
        bundle.write()
        self.assertEqual(self.run_container(bundle=bundle).stdout, f"{64 << 20}\n")

    def test_other_file_system_than_the_configuration_says(self):
        self.boot_from(self.make_image("ext4"), "erofs")
        self.assert_one_line_error(self.run_container("true", check=False), "panic", "Unable to mount root fs")

    def start_with_console(self):
        container = self.create(self.bundle("sleep", "600"))
        self.kata("start", container)
        return container

    @unittest.skipIf(os.path.exists("/dev/vhost-vsock"), "the console is on a vsock port here")
    def test_debug_console_on_the_guests_console(self):
        self.boot_from(self.make_image(), agent="debug_console_enabled = true")
        container = self.start_with_console()
        self.use_console(socket.AF_UNIX, os.path.join(self.root, container, "console.sock"), "/dev/console")
        self.kata("delete", "--force", container)

    @unittest.skipUnless(os.path.exists("/dev/vhost-vsock"), "needs /dev/vhost-vsock")
    def test_debug_console_over_vsock(self):
        self.boot_from(self.make_image(), agent="debug_console_enabled = true")
        container = self.start_with_console()
        with open(f"/proc/{self.vmm_pid(container)}/cmdline", encoding="utf-8") as f:
            cid = int(f.read().split("guest-cid=")[1].split(",")[0].split("\0")[0])
        self.use_console(socket.AF_VSOCK, (cid, 1026), "/dev/pts/")
        self.kata("delete", "--force", container)

    def use_console(self, family, address, terminal):
        with socket.socket(family) as console:
            console.settimeout(harness.COMMAND_TIMEOUT_S)
            console.connect(address)
            text = ""

            def type_until(line, expected):
                """Types once a second: what a shell is sent before it reads may be lost."""
                nonlocal text
                console.settimeout(1)
                console.sendall(line)
                try:
                    text += console.recv(4096).decode(errors="replace")
                except TimeoutError:
                    pass
                return expected in text

            # The terminal echoes what is typed: only the shell adds numbers.
            wait_until(lambda: type_until(b"echo sum$((40 + 2)); tty; cat /etc/hostname\n", "sum42"),
                       "the shell's answer", harness.COMMAND_TIMEOUT_S)
            wait_until(lambda: type_until(b"", "\nimage"), "the rest of it", harness.COMMAND_TIMEOUT_S)
            self.assertIn(terminal, text)

    def test_debug_console_of_the_shipped_initrd(self):
        """It has no shell; kata-runtime says so, and the container runs."""
        self.write_configuration(agent="debug_console_enabled = true")
        result = self.run_container("echo", "runs")
        self.assertEqual(result.stdout, "runs\n")
        with open(os.path.join(self.dir, "log.json"), encoding="utf-8") as f:
            warnings = [line for line in f if "debug_console_enabled" in line]
        self.assertEqual(len(warnings), 1, warnings)
        self.assertIn("needs a guest with a shell", warnings[0])


if __name__ == "__main__":
    harness.main()
