"""What happens when a part dies: the VMM, virtiofsd, the sandbox server, the guest."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time

import harness
from harness import KataTest, processes_with, wait_until


class Failures(KataTest):
    def running_container(self, *args):
        container = self.create(self.bundle(*(args or ("sleep", "600"))))
        self.kata("start", container)
        return container

    def kill_process(self, name, number=signal.SIGKILL):
        pids = [pid for pid, command in processes_with(self.marker) if name in command.split(" ")[0]]
        self.assertTrue(pids, f"no {name} runs: {processes_with(self.marker)}")
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def test_vmm_killed_mid_run(self):
        container = self.running_container()
        pid = self.pid(container)
        os.kill(self.vmm_pid(container), signal.SIGKILL)
        self.wait_status(container, "stopped")
        wait_until(lambda: not os.path.exists(f"/proc/{pid}/exe"), "the stand-in process to end")
        self.assertIn("virtual machine", self.read_output(container))
        self.assertIn("signal 9", self.state(container)["error"])
        for verb in (("exec", container, "true"), ("kill", container)):
            self.assert_one_line_error(self.kata(*verb, check=False), "container not running", "signal 9")
        self.kata("delete", container)

    def test_vmm_killed_under_a_foreground_run(self):
        bundle = self.bundle("sh", "-c", "echo ready; sleep 600")
        process = subprocess.Popen(self.command("run", "--bundle", bundle.path, self.new_id()), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment, text=True)
        self.assertEqual(process.stdout.readline(), "ready\n")
        self.kill_process("qemu")
        _, stderr = process.communicate(timeout=harness.COMMAND_TIMEOUT_S)
        self.assertNotEqual(process.returncode, 0)
        self.assertIn("virtual machine", stderr)

    def test_virtiofsd_killed_mid_run(self):
        container = self.running_container()
        self.kill_process("virtiofsd")
        self.wait_status(container, "stopped")
        self.assertIn("virtiofsd", self.read_output(container))
        self.kata("delete", container)

    def test_virtiofsd_that_dies_at_start(self):
        daemon = os.path.join(self.dir, "virtiofsd")
        with open(daemon, "w", encoding="utf-8") as f:
            f.write(f"#!/bin/sh\ncase $* in *--version*|*--help*) exec {harness.VIRTIOFSD} \"$@\";; esac\n"
                    "echo 'cannot share today' >&2\nexit 3\n")
        os.chmod(daemon, 0o755)
        self.write_configuration(virtiofsd=daemon)
        result = self.run_container("true", check=False)
        self.assert_one_line_error(result, "virtiofsd", "cannot share today")

    def test_sandbox_server_killed(self):
        container = self.running_container()
        pid = self.pid(container)
        self.kill_process("containerd-shim-kata-v2")
        wait_until(lambda: not os.path.exists(f"/proc/{pid}/exe"), "the stand-in process to end")
        self.assertEqual(self.state(container)["status"], "stopped")
        self.assert_one_line_error(self.kata("kill", container, "TERM", check=False), "not running",
                                   "sandbox server has ended")
        self.kata("delete", container)

    def stop_vmm(self, container):
        """From now on the guest does not answer, and no connection to it ends."""
        os.kill(self.vmm_pid(container), signal.SIGSTOP)

    def test_sigkill_ends_a_guest_that_does_not_answer(self):
        container = self.running_container()
        pid = self.pid(container)
        self.stop_vmm(container)
        self.kata("kill", container, "KILL")
        self.wait_status(container, "stopped")
        wait_until(lambda: not os.path.exists(f"/proc/{pid}/exe"), "the stand-in process to end")
        self.assertIn("does not answer to SIGKILL", self.read_output(container))
        self.kata("delete", container)

    def test_foreground_run_ends_with_137_when_its_guest_does_not_answer_to_sigkill(self):
        container = self.new_id()
        bundle = self.bundle("sh", "-c", "echo ready; sleep 600")
        process = subprocess.Popen(self.command("run", "--bundle", bundle.path, container), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment, text=True)
        self.assertEqual(process.stdout.readline(), "ready\n")
        self.stop_vmm(container)
        self.kata("kill", container, "KILL")
        _, stderr = process.communicate(timeout=harness.COMMAND_TIMEOUT_S)
        self.assertEqual(process.returncode, 137)
        self.assertIn("does not answer to SIGKILL", stderr)

    def test_end_of_the_stand_in_ends_a_guest_that_does_not_answer(self):
        """What an engine does to a container that does not end."""
        container = self.running_container()
        self.stop_vmm(container)
        pid = self.pid(container)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not os.path.exists(f"/proc/{pid}/exe"), "the stand-in process to end")
        self.kata("delete", container)

    def test_end_of_the_stand_in_ends_a_container_that_cannot_die(self):
        """Its guest is well and does what it can, but the process waits for a file server that hangs."""
        container = self.running_container("sh", "-c", "while :; do read line < /etc/passwd; echo; done")
        vmm = self.vmm_pid(container)
        file_server = [pid for pid, command in processes_with(self.marker) if "virtiofsd" in command.split(" ")[0]]
        for pid in file_server:
            os.kill(pid, signal.SIGSTOP)
        sizes = [0, 1]
        while sizes[-1] != sizes[-2]:
            time.sleep(1)
            sizes.append(os.path.getsize(self.output(container)))
        os.kill(self.pid(container), signal.SIGKILL)
        delete = subprocess.Popen(self.command("delete", container), env=self.environment)
        wait_until(lambda: not os.path.exists(f"/proc/{vmm}/exe"), "the VMM to end", timeout_s=harness.COMMAND_TIMEOUT_S)
        for pid in file_server:  # else it would not see that its VMM has gone
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.assertEqual(delete.wait(harness.COMMAND_TIMEOUT_S), 0)

    def test_delete_force_ends_a_guest_that_does_not_answer(self):
        container = self.running_container()
        self.stop_vmm(container)
        self.kata("delete", "--force", container)

    def test_delete_force_ends_a_server_that_hangs_with_many_clients(self):
        container = self.running_container()
        self.kill_process("containerd-shim-kata-v2", signal.SIGSTOP)
        with contextlib.ExitStack() as clients:
            for _ in range(1000):
                client = clients.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                try:
                    client.connect(os.path.join(self.root, container, "task.sock"))
                except BlockingIOError:
                    break
            else:
                self.fail("the server's backlog has no end")
            self.kata("delete", "--force", container)

    def test_a_server_with_more_clients_than_it_takes_is_not_taken_for_stopped(self):
        container = self.running_container()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        with contextlib.ExitStack() as clients:
            for _ in range(1100):
                client = clients.enter_context(socket.socket(socket.AF_UNIX))
                client.connect(os.path.join(self.root, container, "task.sock"))
            self.assertEqual(self.state(container)["status"], "running")
            self.assert_one_line_error(self.kata("delete", container, check=False), "not stopped")
        self.assertEqual(self.kata("exec", container, "echo", "alive").stdout, "alive\n")
        self.kata("delete", "--force", container)

    def test_guest_panic_is_reported_with_its_cause(self):
        """A container that is given CAP_SYS_ADMIN makes its own guest kernel panic."""
        bundle = self.bundle("sh", "-c", "mount -t proc none /mnt; echo 2 > /mnt/sys/vm/panic_on_oom; "
                             "x=a; while :; do x=$x$x; done")
        for kind in bundle.config["process"]["capabilities"].values():
            kind.append("CAP_SYS_ADMIN")
        bundle.config["linux"]["maskedPaths"] = []
        bundle.config["linux"]["readonlyPaths"] = []
        bundle.write()
        result = self.run_container(bundle=bundle, check=False)
        self.assertNotEqual(result.returncode, 0)
        self.assertRegex(result.stderr, "virtual machine.*[Pp]anic")

    def silent_initrd(self):
        """Something else than the agent: it says a word on the console and does nothing."""
        initrd = os.path.join(self.dir, "initrd")
        tree = os.path.join(self.dir, "tree")
        os.makedirs(os.path.join(tree, "dev"))
        harness.shutil.copy("/bin/busybox", os.path.join(tree, "busybox"))
        with open(os.path.join(tree, "init"), "w", encoding="utf-8") as f:
            f.write("#!/busybox sh\n/busybox mkdir -p /dev; /busybox mount -t devtmpfs none /dev\n"
                    "echo no agent here >/dev/hvc0\nexec /busybox sleep 1000\n")
        os.chmod(os.path.join(tree, "init"), 0o755)
        with open(initrd, "wb") as f:
            subprocess.run("find . | cpio -o -H newc --quiet", shell=True, cwd=tree, stdout=f, check=True)
        return initrd

    def test_init_that_does_not_answer(self):
        """A guest that boots something else than the agent ends by the deadline, with the console's last words."""
        self.write_configuration(initrd=self.silent_initrd(), agent=f"dial_timeout = {15 * harness.TIME_FACTOR}")
        result = self.run_container("true", check=False)
        self.assert_one_line_error(result, "agent", "no agent here")

    def test_vmm_killed_while_its_guest_boots(self):
        self.write_configuration(initrd=self.silent_initrd())
        process = subprocess.Popen(
            self.command("create", "--bundle", self.bundle("true").path, self.new_id()), env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: any("qemu-system" in c for _, c in processes_with(self.marker)), "the VMM to start")
        self.kill_process("qemu")
        _, stderr = process.communicate(timeout=harness.COMMAND_TIMEOUT_S)
        self.assertNotEqual(process.returncode, 0)
        self.assertRegex(stderr, "virtual machine.*signal 9")
        self.assertEqual(len(stderr.splitlines()), 1, stderr)

    def test_disk_full_while_a_container_runs(self):
        os.makedirs(self.root)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", self.root], check=True)
        self.addCleanup(subprocess.run, ["umount", self.root], check=True)
        container = self.running_container()
        filler = os.path.join(self.root, "filler")
        with open(filler, "wb", buffering=0) as f:
            try:
                while f.write(b"x" * 512):
                    pass
            except OSError:
                pass
        self.assertEqual(self.kata("exec", container, "echo", "alive").stdout, "alive\n")
        self.kata("kill", container, "KILL")
        self.wait_status(container, "stopped")
        self.kata("delete", container)
        os.unlink(filler)

    def test_init_that_panics_at_boot(self):
        initrd = os.path.join(self.dir, "initrd")
        with open(initrd, "wb") as f:
            subprocess.run("true | cpio -o -H newc --quiet", shell=True, cwd=self.dir, stdout=f, check=True)
        self.write_configuration(initrd=initrd)
        result = self.run_container("true", check=False)
        self.assert_one_line_error(result, "panic")

    def test_a_disk_that_the_host_cannot_write_is_an_error_in_the_guest(self):
        """The device is larger than the space behind it."""
        space = os.path.join(self.dir, "space")
        os.mkdir(space)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", space], check=True)
        self.addCleanup(subprocess.run, ["umount", space], check=True)
        disk = os.path.join(space, "disk")
        with open(disk, "wb") as f:
            f.truncate(64 << 20)
        node = subprocess.run(["losetup", "--find", "--show", disk], check=True, capture_output=True,
                              text=True).stdout.strip()
        self.addCleanup(subprocess.run, ["losetup", "--detach", node], check=True)
        device = os.stat(node).st_rdev
        number = {"type": "b", "major": os.major(device), "minor": os.minor(device)}
        bundle = self.bundle("sh", "-c", "dd if=/dev/zero of=/dev/disk bs=1M count=16 conv=fsync && echo written; echo goes on")
        bundle.config["linux"]["devices"] = [{"path": "/dev/disk", "fileMode": 0o660, **number}]
        bundle.config["linux"]["resources"]["devices"] = [{"allow": True, "access": "rwm", **number}]
        bundle.write()
        result = self.run_container(bundle=bundle)
        self.assertEqual(result.stdout, "goes on\n")
        self.assertIn("error", result.stderr)
        self.assertRegex(self.log_tail(), "disk '.*': write: ")

    def test_fork_bomb_leaves_agent_and_host_responsive(self):
        bundle = self.bundle("sh", "-c", "bomb() { bomb | bomb & }; bomb; sleep 600")
        bundle.config["linux"]["resources"]["pids"] = {"limit": 50}
        bundle.write()
        container = self.create(bundle)
        self.kata("start", container)
        self.assertEqual(self.state(container)["status"], "running")
        self.kata("kill", container, "KILL")
        self.wait_status(container, "stopped")
        self.kata("delete", container)

    def test_out_of_memory_kills_the_container_not_the_agent(self):
        bundle = self.bundle("sh", "-c", "x=a; while :; do x=$x$x; done")
        bundle.config["linux"]["resources"]["memory"] = {"limit": 16 << 20}
        bundle.write()
        result = self.run_container(bundle=bundle, check=False)
        self.assertEqual(result.returncode, 137, result.stderr)


if __name__ == "__main__":
    harness.main()
