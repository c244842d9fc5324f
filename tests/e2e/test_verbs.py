"""The verbs and flags that engines and people know from runc: texts, JSON members, exit codes."""

import json
import os
import signal
import socket
import subprocess

import harness
from harness import KataTest, wait_until


class Verbs(KataTest):
    def receive_pidfd(self, start):
        """The descriptor that the command sends to the socket at the path that it is given."""
        path = os.path.join(self.dir, "pidfd.sock")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            start(path)
            connection, _ = listener.accept()
            with connection:
                _, fds, _, _ = socket.recv_fds(connection, 100, 1)
        os.unlink(path)
        return fds[0]

    @staticmethod
    def pid_of(pidfd):
        with open(f"/proc/self/fdinfo/{pidfd}", encoding="utf-8") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("Pid:"))

    def test_create_sends_a_pidfd(self):
        containers = []
        pidfd = self.receive_pidfd(
            lambda path: containers.append(self.create(self.bundle("sleep", "500"), "--pidfd-socket", path)))
        with open(self.pid_file(containers[0]), encoding="utf-8") as f:
            self.assertEqual(self.pid_of(pidfd), int(f.read()))
        self.kata("start", containers[0])
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)
        self.wait_status(containers[0], "stopped")
        self.kata("delete", containers[0])

    def running(self, *args, annotations=None, inheritable=None):
        bundle = self.bundle(*args)
        if annotations:
            bundle.config["annotations"] = annotations
        if inheritable:
            bundle.config["process"]["capabilities"]["inheritable"] = inheritable
            bundle.config["process"]["capabilities"]["bounding"] += inheritable
        bundle.write()
        container = self.create(bundle)
        self.kata("start", container)
        return container

    def test_looking_at_a_container(self):
        container = self.running("sh", "-c", "echo ready; sleep 600", annotations={"a": "b"})
        wait_until(lambda: "ready" in self.read_output(container), "the container to be ready")
        state = json.loads(self.kata("state", container).stdout)
        # runc's members in runc's order.
        self.assertEqual(list(state), ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "annotations",
                                       "owner"])
        self.assertEqual((state["pid"], state["status"], state["owner"]), (self.pid(container), "running", "root"))
        self.assertEqual(json.loads(self.kata("list", "--format", "json").stdout), [state])

        self.kata("exec", "--detach", "--pid-file", os.path.join(self.dir, "e"), container, "sleep", "500",
                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(os.path.join(self.dir, "e"), encoding="utf-8") as f:
            pids = [self.pid(container), int(f.read())]
        self.assertEqual(json.loads(self.kata("ps", "--format", "json", container).stdout), pids)
        table = self.kata("ps", container).stdout.splitlines()
        self.assertRegex(table[0], r"^UID +PID ")
        self.assertEqual(sorted(int(line.split()[1]) for line in table[1:]), sorted(pids))
        self.assertEqual(self.kata("ps", container, "-o", "pid,comm").stdout.split()[:2], ["PID", "COMMAND"])
        self.assert_one_line_error(self.kata("ps", "--format", "x", container, check=False), "'x' is not one of")

        event = json.loads(self.kata("events", "--stats", container).stdout)
        self.assertEqual((event["type"], event["id"]), ("stats", container))
        self.assertGreaterEqual(event["data"]["pids"]["current"], 2)
        self.assertGreater(event["data"]["memory"]["usage"]["usage"], 0)
        self.assertGreater(event["data"]["cpu"]["usage"]["total"], 0)
        memory = event["data"]["memory"]
        # As with runc: with swap, and so never less.
        self.assertGreaterEqual(memory["swap"]["usage"], memory["usage"]["usage"])
        for resource in ("cpu", "memory", "blkio"):
            self.assertEqual(list(event["data"][resource]["psi"]["some"]), ["avg10", "avg60", "avg300", "total"])

        self.kata("kill", container, "KILL")
        self.wait_status(container, "stopped")
        self.assertEqual(json.loads(self.kata("ps", "--format", "json", container).stdout), [])
        self.assertEqual(json.loads(self.kata("state", container).stdout)["pid"], 0)
        for verb, text in (("events", "is not running"), ("update", "container not running"),
                           ("pause", "container not running"), ("resume", "container not paused"),
                           ("start", "cannot start a container that has stopped")):
            self.assert_one_line_error(self.kata(verb, container, check=False), container, text)
        self.kata("kill", "--all", container, "9")
        self.kata("delete", container)

    def test_signals(self):
        script = "for n in 34 37 64; do trap \"echo got $n\" $n; done; echo ready; while :; do sleep 0.05; done"
        container = self.running("sh", "-c", script)
        wait_until(lambda: "ready" in self.read_output(container), "the container to be ready")
        for name, number in (("SIGRTMIN", 34), ("RTMIN+3", 37), ("sigrtmax", 64)):
            self.kata("kill", container, name)
            wait_until(lambda n=number: f"got {n}\n" in self.read_output(container), f"signal {number}")
        self.kata("kill", container, "0")
        for wrong in ("SIGNOSUCH", "70", "RTMIN+40"):
            self.assert_one_line_error(self.kata("kill", container, wrong, check=False), "unknown signal")
        self.kata("delete", "--force", container)

    def test_a_signal_to_all(self):
        loop = "while :; do sleep 0.05; done"
        container = self.running("sh", "-c", f"trap 'echo init got it' USR1; (trap 'echo child got it' USR1; echo ready; "
                                             f"{loop}) & {loop}")
        wait_until(lambda: "ready" in self.read_output(container), "the container to be ready")
        self.kata("kill", "--all", container, "USR1")
        for process in ("init", "child"):
            wait_until(lambda p=process: f"{p} got it" in self.read_output(container), f"{process} to get the signal")
        self.assertEqual(self.state(container)["status"], "running")
        self.kata("kill", "--all", container, "KILL")
        self.wait_status(container, "stopped")
        self.kata("delete", container)

    def test_events_until_the_end_with_an_oom(self):
        bundle = self.bundle("sh", "-c", "read go < /tmp/fifo; tail /dev/zero; exec sleep 600")
        bundle.config["linux"]["resources"] = {"memory": {"limit": 40 << 20, "swap": 40 << 20}}
        bundle.write()
        os.mkfifo(os.path.join(bundle.rootfs, "tmp/fifo"))
        container = self.create(bundle)
        self.kata("start", container)
        events = subprocess.Popen(self.command("events", "--interval", "500ms", container), env=self.environment,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(json.loads(events.stdout.readline())["type"], "stats")
        self.kata("exec", container, "sh", "-c", "echo go > /tmp/fifo")
        while True:
            event = json.loads(events.stdout.readline())
            if event["type"] == "oom":
                break
        self.assertEqual(event, {"type": "oom", "id": container})
        self.kata("kill", container, "KILL")
        _, errors = events.communicate(timeout=harness.COMMAND_TIMEOUT_S)
        self.assertEqual((events.returncode, errors), (0, ""))
        self.kata("delete", container)

    def test_exec_takes_over_and_brings_along(self):
        bundle = self.bundle("sleep", "600", user={"uid": 0, "gid": 0, "umask": 0o077})
        container = self.create(bundle)
        self.kata("start", container)
        script = "umask; grep -E '^(NoNewPrivs|Cpus_allowed_list)' /proc/self/status"
        process = dict(bundle.config["process"], args=["sh", "-c", script], user={"uid": 0, "gid": 0},
                       execCPUAffinity={"initial": "0", "final": "0"}, noNewPrivileges=False)
        path = os.path.join(self.dir, "process.json")
        for final, expected in (("0", "0077\nNoNewPrivs:\t0\nCpus_allowed_list:\t0\n"), ("1000", None), ("x", None)):
            process["execCPUAffinity"]["final"] = final
            with open(path, "w", encoding="utf-8") as f:
                json.dump(process, f)
            result = self.kata("exec", "--process", path, container, check=expected is not None)
            if expected:
                self.assertEqual(result.stdout, expected)
            else:
                self.assert_one_line_error(result, f"'{final}'", "ffinity")
        self.kata("delete", "--force", container)

    def test_exec_flags_and_codes(self):
        container = self.running("sleep", "600", inheritable=["CAP_SYS_ADMIN"])
        # Like runc: what does not start is 255, whatever the process itself could have said.
        result = self.kata("exec", container, "nosuchcommand", check=False)
        self.assertEqual(result.returncode, 255)
        self.assert_one_line_error(result, container, "nosuchcommand")
        status = self.kata("exec", "--cap", "CAP_SYS_ADMIN", "--no-new-privs", "--additional-gids", "77",
                           "--apparmor", "x", "--cgroup", "/", container, "cat", "/proc/self/status").stdout
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        for name in ("CapEff", "CapAmb"):
            self.assertTrue(int(fields[name], 16) >> 21 & 1, name)
        self.assertEqual(fields["NoNewPrivs"], "1")
        self.assertIn("77", fields["Groups"].split())
        self.kata("exec", "--cap", "SYS_ADMIN", container, "true")
        with open(os.path.join(self.dir, "log.json"), encoding="utf-8") as f:
            self.assertTrue([line for line in f if "unknown capability" in line and '"SYS_ADMIN"' in line])
        for flags, text in ((["--preserve-fds", "1"], "descriptors cannot be passed on"),
                            (["--cgroup", "sub"], "'./sub'"), (["--cgroup", ".."], ".. is not a sub cgroup path"),
                            (["--cgroup", "cpu:/"], "unknown controller cpu"), (["--nosuch"], "unknown flag '--nosuch'")):
            result = self.kata("exec", *flags, container, "true", check=False)
            self.assert_one_line_error(result, text)

        pid_file = os.path.join(self.dir, "exec.pid")
        pidfd = self.receive_pidfd(lambda path: self.kata(
            "exec", "--detach", "--pid-file", pid_file, "--pidfd-socket", path, container, "sleep", "500",
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        with open(pid_file, encoding="utf-8") as f:
            pid = int(f.read())
        self.assertEqual(self.pid_of(pidfd), pid)
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        os.close(pidfd)
        wait_until(lambda: pid not in json.loads(self.kata("ps", "--format", "json", container).stdout), "the exec's end")

        self.kata("pause", container)
        self.assert_one_line_error(self.kata("exec", container, "true", check=False),
                                   "cannot exec in a paused container (use --ignore-paused to override)")
        self.assert_one_line_error(self.kata("pause", container, check=False), "container not running")
        waiting = subprocess.Popen(self.command("exec", "--ignore-paused", container, "echo", "thawed"),
                                   env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        try:
            waiting.wait(timeout=2)
            self.fail("a process ran in a paused container")
        except subprocess.TimeoutExpired:
            pass
        self.kata("resume", container)
        out, _ = waiting.communicate(timeout=harness.COMMAND_TIMEOUT_S)
        self.assertEqual((waiting.returncode, out), (0, "thawed\n"))
        self.kata("delete", "--force", container)

    def test_exec_in_a_cgroup(self):
        bundle = self.bundle("sleep", "600")
        bundle.config["linux"]["namespaces"].append({"type": "cgroup"})
        for mount in bundle.config["mounts"]:
            if mount["type"] == "cgroup":
                mount["options"] = [option for option in mount["options"] if option != "ro"]
        bundle.write()
        container = self.create(bundle)
        self.kata("start", container)

        def place(*flags):
            return self.kata("exec", *flags, container, "cat", "/proc/self/cgroup").stdout.strip()
        self.kata("exec", container, "mkdir", "-p", "/sys/fs/cgroup/init.scope", "/sys/fs/cgroup/second/third")
        self.assertEqual(place(), "0::/")
        self.assertEqual(place("--cgroup", "second/third"), "0::/second/third")
        # As systemd does it: all processes move down, then the controllers go to the groups there.
        self.kata("exec", container, "sh", "-c", "cd /sys/fs/cgroup; echo 1 > init.scope/cgroup.procs; "
                  "echo $$ > init.scope/cgroup.procs; echo +memory > cgroup.subtree_control")
        self.assertEqual(place(), "0::/init.scope")
        self.assertEqual(place("--cgroup", "/second"), "0::/second")
        self.assert_one_line_error(self.kata("exec", "--cgroup", "/", container, "true", check=False),
                                   "gives controllers to cgroups below it")
        self.kata("delete", "--force", container)

    def test_delete_several_and_keep(self):
        container = self.new_id()
        result = self.kata("run", "--keep", "--bundle", self.bundle("sh", "-c", "exit 3").path, container, check=False)
        self.assertEqual(result.returncode, 3)
        self.assertEqual(self.state(container)["status"], "stopped")
        second = self.create(self.bundle("sleep", "600"))
        result = self.kata("delete", container, "nosuch", second, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("delete container 'nosuch': container does not exist", result.stderr)
        self.assertEqual(self.kata("list", "-q").stdout, "")


if __name__ == "__main__":
    harness.main()
