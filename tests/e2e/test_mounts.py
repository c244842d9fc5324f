"""Volumes and mounts: host directories and files, read-only, tmpfs, /dev/shm, mqueue, cgroup."""

import os
import shutil
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

    def test_kernel_files_are_the_containers_own(self):
        """What monitors and images with systemd ask for leads neither to the agent's processes nor to its control groups."""
        bundle = self.bundle("sh", "-c", "cat /host/proc/1/comm; ls -d /cgroup/kata* /host/sys/fs/cgroup/kata*; "
                             "cat /cgroup/cgroup.procs | head -n 1; mkdir /cgroup/sub && rmdir /cgroup/sub && echo made; "
                             "echo 1 2>&1 > /host/proc/sys/kernel/panic || ls /host/sys/class/net")
        self.bind(bundle, "/proc", "/host/proc", "ro")
        self.bind(bundle, "/sys", "/host/sys", "ro")
        self.bind(bundle, "/sys/fs/cgroup", "/cgroup", "rw")
        result = self.run_container(bundle=bundle, check=False)
        self.assertEqual(result.stdout.split()[:3], ["sh", "1", "made"], result.stderr)
        self.assertIn("lo", result.stdout.split()[3:])

    def test_missing_source_is_named(self):
        bundle = self.bundle("true")
        self.bind(bundle, os.path.join(self.dir, "nosuch"), "/data")
        result = self.run_container(bundle=bundle, check=False)
        self.assert_one_line_error(result, os.path.join(self.dir, "nosuch"), "No such file or directory")

    def test_attributes_of_the_source(self):
        """As under runc: without any of its own a bind mount has those of its source, with some only these."""
        volume = self.host_dir()
        subprocess.run(["mount", "-t", "tmpfs", "none", volume], check=True)
        self.addCleanup(subprocess.run, ["umount", volume], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro,nosuid,nodev,noexec,nodiratime", volume], check=True)
        bundle = self.bundle("sh", "-c", "touch /m0/x; touch /m2/y && rm /m2/y && echo written; "
                             "while read -r _ path _ flags _; do flags=${flags%%,size=*}; "
                             "case $path in /m?) echo $path ${flags%%,cache=*};; esac; done < /proc/mounts")
        cases = (["rbind"], ["rbind", "rprivate"], ["bind", "nosuid"], ["bind", "rw", "noexec"], ["bind", "ro"])
        for i, options in enumerate(cases):
            bundle.add_mount(destination=f"/m{i}", type="bind", source=volume, options=options)
        ours = self.run_container(bundle=bundle)
        runcs = subprocess.run(["runc", "--root", self.root, "run", "--bundle", bundle.path, self.new_id()],
                               env=self.environment, text=True, capture_output=True, check=True,
                               timeout=harness.COMMAND_TIMEOUT_S)
        self.assertEqual(ours.stdout, runcs.stdout.replace(",inode64", ""))
        self.assertEqual(ours.stderr, runcs.stderr)

    def overlay(self, bundle, destination, *options):
        """Adds one; returns its options for directories of its own, of which the lowest has a file."""
        path = self.host_dir(destination.strip("/"))
        layers = {name: os.path.join(path, name) for name in ("lower:dir", "upper", "work")}
        for directory in layers.values():
            os.mkdir(directory)
        with open(os.path.join(layers["lower:dir"], "file"), "w", encoding="utf-8") as f:
            f.write(destination + "\n")
        bundle.add_mount(destination=destination, type="overlay", source="overlay", options=[
            "lowerdir=" + layers["lower:dir"].replace(":", "\\:"), "upperdir=" + layers["upper"], "workdir=" + layers["work"],
            *options])
        return layers

    def test_overlays_of_host_directories(self):
        """As under runc, the mounts' flags too."""
        bundle = self.bundle("sh", "-c", "cat /plain/file /strict/file; echo more >> /plain/file; rm /strict/file; "
                             "echo new > /strict/new; touch /closed/new; ls /plain /strict /closed; "
                             "while read -r _ path _ flags _; do flags=${flags%%,lowerdir=*}; "
                             "case $path in /plain | /strict | /closed) echo $path ${flags%%,cache=*};; esac; done < /proc/mounts")
        layers = {destination: self.overlay(bundle, destination, *options) for destination, *options in (
            ("/plain", "private"), ("/strict", "nosuid", "nodev", "noexec", "noatime", "index=off"), ("/closed", "ro"))}

        def changes():
            return [sorted(os.listdir(of[name])) for of in layers.values() for name in ("lower:dir", "upper")]
        ours = self.run_container(bundle=bundle, check=False)
        self.assertEqual(changes(), [["file"], ["file"], ["file"], ["file", "new"], ["file"], []])
        for of in layers.values():
            for name in ("upper", "work"):
                shutil.rmtree(of[name])
                os.mkdir(of[name])
        runcs = subprocess.run(["runc", "--root", self.root, "run", "--bundle", bundle.path, self.new_id()],
                               env=self.environment, text=True, capture_output=True, check=False,
                               timeout=harness.COMMAND_TIMEOUT_S)
        self.assertEqual(ours.stdout, runcs.stdout)
        self.assertEqual(ours.stderr, runcs.stderr)

    def test_overlay_that_cannot_be_mounted(self):
        for options, words in ((["lowerdir=/nosuch"], ["lowerdir", "'/nosuch'", "No such file or directory"]),
                               (["lowerdir=/usr:/etc", "nosuch=1"], ["nosuch=1", "Invalid argument"])):
            bundle = self.bundle("true")
            bundle.add_mount(destination="/data", type="overlay", source="overlay", options=options)
            self.assert_one_line_error(self.run_container(bundle=bundle, check=False), "on '/data'", *words)

    def id_mapped(self, bundle, source, destination, *options, first=5000):
        ids = [{"containerID": 0, "hostID": first, "size": 10}]
        bundle.add_mount(destination=destination, type="bind", source=source, options=list(options),
                         uidMappings=ids, gidMappings=ids)

    def owner(self, path):
        status = os.stat(path)
        return status.st_uid, status.st_gid

    def test_owners_through_ids_of_the_mount(self):
        """The file system's user 3 is 5003 for the container, and what 5003 makes belongs to 3."""
        volume = self.host_dir()
        inner = os.path.join(volume, "inner")
        os.makedirs(inner)
        subprocess.run(["mount", "-t", "tmpfs", "none", inner], check=True)
        self.addCleanup(subprocess.run, ["umount", inner], check=True)
        path = os.path.join(volume, "file")
        with open(path, "w", encoding="utf-8") as f:
            f.write("one\n")
        os.chown(path, 3, 4)
        os.chown(volume, 3, 4)
        bundle = self.bundle("sh", "-c", "stat -c '%n %u:%g' /data/file /data/inner /all/file /all/inner /one; cat /one; "
                             "touch /data/new /ro/new; mkdir /data/dir; ln -s x /data/link; chmod 600 /data/file; "
                             "echo $?; chown 5003:5005 /data/file; echo $?",
                             user={"uid": 5003, "gid": 5004, "additionalGids": [5005]})
        self.id_mapped(bundle, volume, "/data", "rbind", "idmap")
        self.id_mapped(bundle, volume, "/all", "rbind", "ridmap")
        self.id_mapped(bundle, volume, "/ro", "bind", "ro")
        self.id_mapped(bundle, path, "/one", "bind")
        result = self.run_container(bundle=bundle)
        self.assertEqual(result.stdout, "/data/file 5003:5004\n/data/inner 0:0\n/all/file 5003:5004\n"
                         "/all/inner 5000:5000\n/one 5003:5004\none\n0\n0\n")
        self.assertIn("/ro/new: Read-only file system", result.stderr)
        self.assertEqual(self.owner(path), (3, 5))
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        for name in ("new", "dir"):
            self.assertEqual(self.owner(os.path.join(volume, name)), (3, 4))
        self.assertEqual(os.lstat(os.path.join(volume, "link")).st_uid, 3)

    def test_owners_through_the_containers_user_namespace(self):
        """Root of the container is root of the volume, and users without an id in the map can make no files."""
        volume = self.host_dir()
        with open(os.path.join(volume, "file"), "w", encoding="utf-8") as f:
            f.write("one\n")
        bundle = self.bundle("sh", "-c", "stat -c '%u:%g' /data/file /plain/file; touch /data/new; touch /few/other")
        bundle.config["linux"]["namespaces"].append({"type": "user"})
        ids = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        bundle.config["linux"].update(uidMappings=ids, gidMappings=ids)
        for directory, names, _ in os.walk(bundle.rootfs):
            for name in names:
                os.lchown(os.path.join(directory, name), 100000, 100000)
        os.chown(bundle.rootfs, 100000, 100000)
        os.chmod(volume, 0o777)
        self.bind(bundle, volume, "/data", "idmap")
        self.bind(bundle, volume, "/plain")
        self.id_mapped(bundle, volume, "/few", "bind", first=7000)
        result = self.run_container(bundle=bundle, check=False)
        self.assertEqual(result.stdout, "0:0\n65534:65534\n")
        self.assertIn("/few/other: Value too large", result.stderr)
        self.assertEqual(sorted(os.listdir(volume)), ["file", "new"])
        self.assertEqual(self.owner(os.path.join(volume, "new")), (0, 0))

    def test_ids_that_cannot_be_mapped(self):
        bundle = self.bundle("true")
        self.bind(bundle, self.host_dir(), "/data", "idmap")
        self.assert_one_line_error(self.run_container(bundle=bundle, check=False),
                                   "mounts[7]", "'idmap' needs uidMappings and gidMappings or a user namespace")
        # overlayfs is a file system that does not let anybody do it.
        merged = self.host_dir("merged")
        layers = f"lowerdir={self.host_dir('lower')}:{self.host_dir('lower2')}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, merged], check=True)
        self.addCleanup(subprocess.run, ["umount", merged], check=True)
        bundle = self.bundle("true")
        self.id_mapped(bundle, merged, "/data", "bind")
        self.assert_one_line_error(self.run_container(bundle=bundle, check=False),
                                   "mount on '/data'", merged, "map ids: the file system does not support it")

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
    test_owners_through_ids_of_the_mount = None  # refused, see below
    test_owners_through_the_containers_user_namespace = None

    def test_ids_that_cannot_be_mapped(self):
        bundle = self.bundle("true")
        self.id_mapped(bundle, self.host_dir(), "/data", "bind")
        self.assert_one_line_error(self.run_container(bundle=bundle, check=False),
                                   "on '/data'", "ids cannot be mapped with shared_fs", "virtio-9p")


if __name__ == "__main__":
    harness.main()
