"""A container in its own VM through `kata-runtime run`: stdio, exit codes, the process's world."""

import os
import platform
import select
import socket
import subprocess
import tempfile

import harness
from harness import KataTest, wait_until


class Run(KataTest):
    def test_has_its_own_kernel(self):
        result = self.run_container("uname", "-r")
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.stdout, r"^6\.12\.")
        self.assertNotEqual(result.stdout.strip(), platform.release())

    def test_exit_code_and_both_outputs(self):
        result = self.run_container("sh", "-c", "echo out; echo err >&2; exit 42", check=False)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (42, "out\n", "err\n"))

    def test_death_by_signal_is_128_plus_its_number(self):
        result = self.run_container("sh", "-c", "sh -c 'kill -SEGV $$'; exit $?", check=False)
        self.assertEqual(result.returncode, 139)

    def read_soon(self, file):
        readable, _, _ = select.select([file], [], [], harness.SETTLE_TIMEOUT_S)
        self.assertTrue(readable, "neither output nor its end")
        return os.read(file.fileno(), 4096)

    def test_streams_that_the_container_closes_are_closed(self):
        bundle = self.bundle("sh", "-c", "echo begin; exec <&- >&- 2>&-; sleep 600")
        container = self.new_id()
        stdin, stdin_writer = os.pipe()
        stdout_reader, stdout = os.pipe()
        with open(stdin_writer, "wb", buffering=0) as stdin_writer, open(stdout_reader, "rb") as stdout_reader:
            subprocess.run(self.command("create", "--bundle", bundle.path, container), stdin=stdin, stdout=stdout,
                           stderr=subprocess.DEVNULL, check=True, timeout=harness.COMMAND_TIMEOUT_S)
            os.close(stdin)
            os.close(stdout)
            self.kata("start", container)
            output = b""
            while piece := self.read_soon(stdout_reader):
                output += piece
            self.assertEqual(output, b"begin\n")
            self.assertEqual(self.state(container)["status"], "running")

            def refused():
                try:
                    stdin_writer.write(b"x")
                except BrokenPipeError:
                    return True
                return False
            wait_until(refused, "a broken pipe")
        self.kata("delete", "--force", container)

    def test_stdin_is_the_device_that_it_is_on_the_host(self):
        kind = ("sh", "-c", "test -c /dev/stdin && stat -Lc '%t:%T' /dev/stdin; test -p /dev/stdin && echo pipe; cat")
        self.assertEqual(self.run_container(*kind, stdin=subprocess.DEVNULL).stdout, "1:3\n")
        self.assertEqual(self.run_container(*kind, input="x").stdout, "pipe\nx")

    def test_stdin_reaches_the_process_and_ends(self):
        data = "".join(f"line {i}\n" for i in range(20000))
        result = self.run_container("sh", "-c", "md5sum; echo end", input=data)
        import hashlib
        self.assertEqual(result.stdout, hashlib.md5(data.encode()).hexdigest() + "  -\nend\n")

    def test_large_output_arrives_whole(self):
        result = self.run_container("sh", "-c", "dd if=/dev/zero bs=1024 count=8192 2>/dev/null | tr '\\0' x")
        self.assertEqual(len(result.stdout), 8 << 20)
        self.assertEqual(set(result.stdout), {"x"})

    def test_stdio_may_be_sockets_and_files(self):
        ours, theirs = socket.socketpair()
        with ours, theirs, tempfile.TemporaryFile(dir=self.dir) as file:
            self.run_container("sh", "-c", "echo to-socket; echo to-file >&2", stdout=theirs, stderr=file)
            theirs.close()
            self.assertEqual(ours.makefile("rb").read(), b"to-socket\n")
            file.seek(0)
            self.assertEqual(file.read(), b"to-file\n")

    def test_same_world_as_under_runc(self):
        """What the process sees of its user, limits, capabilities, devices and mounts is what runc shows."""
        script = ("id; pwd; echo $0; env | sort; hostname; umask; ls -l /dev | awk '{print $1,$3,$4,$5,$6,$NF}' | grep -v pts;"
                  "grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups)' /proc/self/status;"
                  "awk '/open files/{print $1,$2,$4,$5}' /proc/self/limits;"
                  "awk '$5 ~ \"^/(proc|sys|dev)\" {print $5}' /proc/self/mountinfo | sort;"
                  "echo /proc/kcore $(cat /proc/kcore 2>&1 | head -c1 | wc -c);"
                  "touch /sys/x 2>&1; readlink /proc/self/ns/pid | cut -c1-4; ps -o pid,args | head -2;"
                  "while read path; do [ ! -e $path ] || echo has $path; done </protected")
        bundle = self.bundle("sh", "-c", script)
        protected = bundle.config["linux"]["maskedPaths"] + bundle.config["linux"]["readonlyPaths"]
        with open(os.path.join(bundle.rootfs, "protected"), "w", encoding="utf-8") as f:
            f.writelines(path + "\n" for path in protected)
        bundle.config["process"]["user"] = {"uid": 0, "gid": 0, "additionalGids": [7, 2000]}
        bundle.config["process"]["env"].append("ANSWER=forty two")
        bundle.config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "hard": 512, "soft": 256}]
        bundle.config["hostname"] = "testhost"
        bundle.write()
        ours = self.kata("run", "--bundle", bundle.path, self.new_id()).stdout
        runc_root = os.path.join(self.dir, "runc")
        theirs = subprocess.run(["runc", "--root", runc_root, "run", "--bundle", bundle.path, self.new_id()],
                                capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL,
                                timeout=harness.COMMAND_TIMEOUT_S).stdout
        # Two kernels differ: a cgroup v1 host has a mount for each controller, and a path that one of them does not
        # have is not protected there.
        def has(text, path):
            return f"has {path}" in text.splitlines()
        in_one_only = {path for path in protected if has(ours, path) != has(theirs, path)}

        def common(text):
            return [line for line in text.splitlines()
                    if not line.startswith("/sys/fs/cgroup/") and in_one_only.isdisjoint(line.split())]
        self.maxDiff = None
        self.assertEqual(common(ours), common(theirs))

    def test_user_cwd_and_umask(self):
        bundle = self.bundle("sh", "-c", "id -u; id -g; pwd; umask")
        bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000, "umask": 0o027}
        bundle.config["process"]["cwd"] = "/tmp"
        bundle.write()
        self.assertEqual(self.run_container(bundle=bundle).stdout, "1000\n1000\n/tmp\n0027\n")

    def test_read_only_root(self):
        bundle = self.bundle("sh", "-c", "echo x > /file; echo $?")
        bundle.config["root"]["readonly"] = True
        bundle.write()
        result = self.run_container(bundle=bundle)
        self.assertIn("Read-only file system", result.stderr)
        self.assertEqual(result.stdout, "1\n")
        self.assertFalse(os.path.exists(os.path.join(bundle.rootfs, "file")))

    def test_seccomp_filter_holds(self):
        bundle = self.bundle("sh", "-c", "mkdir /tmp/d; echo $?; grep Seccomp: /proc/self/status")
        bundle.config["linux"]["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}
        bundle.write()
        result = self.run_container(bundle=bundle)
        self.assertIn("Operation not supported", result.stderr)
        self.assertEqual(result.stdout, "1\nSeccomp:\t2\n")

    def test_limits_hold_inside(self):
        bundle = self.bundle("sh", "-c", "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max /sys/fs/cgroup/cpu.max")
        bundle.config["linux"]["resources"] = {
            "memory": {"limit": 67108864}, "pids": {"limit": 64}, "cpu": {"quota": 50000, "period": 100000}}
        bundle.write()
        self.assertEqual(self.run_container(bundle=bundle).stdout, "67108864\n64\n50000 100000\n")

    def test_two_containers_do_not_see_each_other(self):
        first = self.create(self.bundle("sleep", "600"))
        self.kata("start", first)
        result = self.run_container("ps", "-o", "args")
        self.assertNotIn("sleep 600", result.stdout)
        self.kata("delete", "--force", first)


class RunOver9p(KataTest):
    shared_fs = "virtio-9p"

    def test_root_file_system_is_readable_and_writable(self):
        bundle = self.bundle("sh", "-c", "echo written > /file; cat /file; awk '$5==\"/\"{print $0}' /proc/self/mountinfo")
        result = self.run_container(bundle=bundle)
        self.assertTrue(result.stdout.startswith("written\n"), result.stdout)
        self.assertIn("9p", result.stdout)
        with open(os.path.join(bundle.rootfs, "file"), encoding="utf-8") as f:
            self.assertEqual(f.read(), "written\n")


if __name__ == "__main__":
    harness.main()
