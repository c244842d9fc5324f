"""Volumes and mounts: host directories and files, read-only, tmpfs, /dev/shm, mqueue, cgroup."""

import os
import stat
import subprocess

import harness
from harness import KataTest


class Mounts(KataTest):
    def host_dir(self, name="volume"):
        path = os.path.join(self.dir, name)
        os.makedirs(path)
        return path

    def bind(self, bundle, source, destination, *options):
        bundle.add_mount(destination=destination, type="bind", source=source, options=["rbind", *options])

    def test_directory_is_shared_both_ways(self):
        volume = self.host_dir()
        with open(os.path.join(volume, "from-host"), "w", encoding="utf-8") as f:
            f.write("hello\n")
        os.chown(os.path.join(volume, "from-host"), 1234, 4321)
        bundle = self.bundle("sh", "-c", "cat /data/from-host; stat -c '%u %g' /data/from-host; "
                             "echo back > /data/from-guest; chmod 640 /data/from-guest; ln -s x /data/link; "
                             "mkdir /data/sub; mv /data/from-guest /data/sub/renamed")
        self.bind(bundle, volume, "/data")
        self.assertEqual(self.run_container(bundle=bundle).stdout, "hello\n1234 4321\n")
        renamed = os.path.join(volume, "sub/renamed")
        with open(renamed, encoding="utf-8") as f:
            self.assertEqual(f.read(), "back\n")
        self.assertEqual(stat.S_IMODE(os.stat(renamed).st_mode), 0o640)
        self.assertEqual(os.readlink(os.path.join(volume, "link")), "x")

    def test_single_file_and_read_only(self):
        volume = self.host_dir()
        path = os.path.join(volume, "file")
        with open(path, "w", encoding="utf-8") as f:
            f.write("one\n")
        bundle = self.bundle("sh", "-c", "cat /etc/app.conf; echo two > /etc/app.conf; echo $?; "
                             "cat /ro/file; echo x > /ro/file; echo $?; touch /ro/new; echo $?")
        self.bind(bundle, path, "/etc/app.conf")
        self.bind(bundle, volume, "/ro", "ro")
        self.assertEqual(self.run_container(bundle=bundle).stdout, "one\n0\ntwo\n1\n1\n")
        with open(path, encoding="utf-8") as f:
            self.assertEqual(f.read(), "two\n")
        self.assertEqual(os.listdir(volume), ["file"])

    def test_mounts_below_a_volume_are_seen(self):
        volume = self.host_dir()
        inner = os.path.join(volume, "inner")
        os.makedirs(inner)
        subprocess.run(["mount", "-t", "tmpfs", "none", inner], check=True)
        self.addCleanup(subprocess.run, ["umount", inner], check=True)
        with open(os.path.join(inner, "deep"), "w", encoding="utf-8") as f:
            f.write("deep\n")
        bundle = self.bundle("cat", "/data/inner/deep")
        self.bind(bundle, volume, "/data")
        self.assertEqual(self.run_container(bundle=bundle).stdout, "deep\n")

    def test_tmpfs_shm_and_mqueue(self):
        bundle = self.bundle("sh", "-c", "awk '$5==\"/scratch\"||$5==\"/dev/shm\"||$5==\"/dev/mqueue\"{print $5,$(NF-2)}' "
                             "/proc/self/mountinfo | sort; df -k /dev/shm | awk 'NR==2{print $2}'; "
                             "touch /scratch/ok && stat -c %a /scratch")
        bundle.add_mount(destination="/scratch", type="tmpfs", source="tmpfs", options=["nosuid", "size=1m", "mode=1770"])
        for mount in bundle.config["mounts"]:
            if mount["destination"] == "/dev/shm":
                mount["options"] = ["nosuid", "noexec", "nodev", "mode=1777", "size=33554432"]
        bundle.write()
        self.assertEqual(self.run_container(bundle=bundle).stdout,
                         "/dev/mqueue mqueue\n/dev/shm tmpfs\n/scratch tmpfs\n32768\n1770\n")

    def test_destination_through_a_symbolic_link_stays_inside(self):
        volume = self.host_dir()
        bundle = self.bundle("sh", "-c", "ls /target; awk '$5 ~ \"target\"{print $5}' /proc/self/mountinfo")
        os.makedirs(os.path.join(bundle.rootfs, "target"))
        os.symlink("/../../../../target", os.path.join(bundle.rootfs, "link"))
        with open(os.path.join(volume, "inside"), "w", encoding="utf-8"):
            pass
        self.bind(bundle, volume, "/link")
        self.assertEqual(self.run_container(bundle=bundle).stdout, "inside\n/target\n")

    def test_missing_source_is_named(self):
        bundle = self.bundle("true")
        self.bind(bundle, os.path.join(self.dir, "nosuch"), "/data")
        result = self.run_container(bundle=bundle, check=False)
        self.assert_one_line_error(result, os.path.join(self.dir, "nosuch"), "No such file or directory")

    def test_masked_and_read_only_paths(self):
        bundle = self.bundle("sh", "-c", "cat /masked-file | wc -c; ls /masked-dir | wc -l; echo x > /proc/sys/kernel/hostname;"
                             " echo $?")
        with open(os.path.join(bundle.rootfs, "masked-file"), "w", encoding="utf-8") as f:
            f.write("secret")
        os.makedirs(os.path.join(bundle.rootfs, "masked-dir/entry"))
        bundle.config["linux"]["maskedPaths"] += ["/masked-file", "/masked-dir"]
        bundle.write()
        self.assertEqual(self.run_container(bundle=bundle).stdout, "0\n0\n1\n")


class MountsOver9p(Mounts):
    shared_fs = "virtio-9p"


if __name__ == "__main__":
    harness.main()
