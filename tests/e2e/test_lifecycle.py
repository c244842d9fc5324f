"""The container's life as engines drive it: create, start, state, kill, delete, list, pause, exec."""

import json
import os
import resource
import signal
import subprocess

import harness
from harness import KataTest, wait_until


class Lifecycle(KataTest):
    def test_create_start_wait_delete(self):
        bundle = self.bundle("sh", "-c", "echo started; read line; echo got $line")
        container = self.create(bundle)
        state = self.state(container)
        self.assertEqual(state["status"], "created")
        self.assertEqual(state["id"], container)
        self.assertEqual(state["bundle"], bundle.path)
        self.assertEqual(state["pid"], self.pid(container))
        self.assertEqual(self.read_output(container), "", "the program must not run before start")
        self.kata("start", container)
        self.wait_status(container, "stopped")  # stdin is /dev/null: read fails at once
        self.assertEqual(self.read_output(container), "started\ngot\n")
        self.kata("delete", container)
        result = self.kata("state", container, check=False)
        self.assert_one_line_error(result, container, "does not exist")

    def test_no_id_is_taken_by_the_guest(self):
        """Names of directories in the guest that lie where the agent API has those of containers."""
        for container in ("sandbox", "shared", "virtual-volumes"):
            result = self.kata("run", "--bundle", self.bundle("echo", container).path, container)
            self.assertEqual(result.stdout, container + "\n")

    def test_root_file_system_is_left_as_it_was(self):
        bundle = self.bundle("true")
        def files():
            return sorted(os.path.join(directory, name) for directory, names, files in os.walk(bundle.path)
                          for name in names + files)
        before = files()
        self.run_container(bundle=bundle)
        self.assertEqual(files(), before)
        bundle.config["process"]["args"] = ["/nosuch"]
        bundle.write()
        self.run_container(bundle=bundle, check=False)
        self.assertEqual(files(), before)

    def test_pid_file_process_is_real_and_exits_with_the_code(self):
        bundle = self.bundle("sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done")
        volume = os.path.join(self.dir, "volume")
        os.mkdir(volume)
        bundle.add_mount(destination="/data/volume", source=volume, type="bind", options=["rbind", "ro"])
        container = self.create(bundle)
        pid = self.pid(container)
        os.kill(pid, 0)
        self.kata("start", container)
        wait_until(lambda: "ready" in self.read_output(container), "the container to be ready")
        # What engines look through it at: the container's files and processes, not the host's.
        with open(os.path.join(volume, "file"), "w", encoding="utf-8") as f:
            f.write("x")
        inside = ["nsenter", f"--target={pid}", "--mount"]
        listed = subprocess.run([*inside, "/bin/busybox", "ls", "/", "/data/volume"], capture_output=True, text=True,
                                check=True).stdout.split()
        self.assertEqual(listed, ["/:", *sorted(os.listdir(bundle.rootfs)), "/data/volume:", "file"])
        with open(f"/proc/{pid}/mountinfo", encoding="utf-8") as f:
            self.assertEqual([line.split()[4] for line in f], ["/", "/data/volume", "/proc"])
        processes = subprocess.run([*inside, "/bin/busybox", "ls", "/proc"], capture_output=True, text=True, check=True)
        self.assertEqual([name for name in processes.stdout.split() if name.isdigit()], ["1"])
        os.kill(pid, signal.SIGTERM)  # what an engine does to an exec's pid, and people to containers
        self.wait_status(container, "stopped")
        wait_until(lambda: not harness.os.path.exists(f"/proc/{pid}/exe"), "the stand-in process to end")
        self.kata("delete", container)

    def test_kill_by_name_number_and_delete_rules(self):
        bundle = self.bundle("sh", "-c", "trap 'echo usr1' USR1; echo ready; while :; do sleep 0.1; done")
        container = self.create(bundle)
        self.assert_one_line_error(self.kata("create", "--bundle", bundle.path, container, check=False),
                                   "container with given ID already exists")
        self.kata("start", container)
        wait_until(lambda: "ready" in self.read_output(container), "the container to be ready")
        self.assertEqual(self.state(container)["status"], "running")
        self.assert_one_line_error(self.kata("delete", container, check=False), container)
        self.kata("kill", container, "SIGUSR1")
        self.kata("kill", container, "10")
        wait_until(lambda: self.read_output(container).count("usr1") >= 1, "the signal to be handled")
        self.kata("kill", container, "KILL")
        self.wait_status(container, "stopped")
        self.assert_one_line_error(self.kata("kill", container, "TERM", check=False), "container not running")
        self.kata("delete", container)

    def test_sigterm_ends_an_init_without_handler(self):
        container = self.create(self.bundle("sleep", "600"))
        self.kata("start", container)
        # Again, as one that comes while the program runs is given to it, and dropped.
        wait_until(lambda: self.kata("kill", container, check=False).returncode != 0, "the container's end")
        self.wait_status(container, "stopped")
        self.kata("delete", container)

    def test_delete_force_ends_a_running_container(self):
        container = self.create(self.bundle("sleep", "600"))
        self.kata("start", container)
        self.kata("delete", "--force", container)
        self.kata("delete", "--force", container)  # of one that is gone: no error, as runc

    def test_delete_of_a_created_container(self):
        container = self.create(self.bundle("sleep", "600"))
        self.kata("delete", "--force", container)

    def test_list(self):
        container = self.create(self.bundle("sleep", "600"))
        table = self.kata("list").stdout
        self.assertRegex(table.splitlines()[0], r"^ID +PID +STATUS +BUNDLE +CREATED +OWNER")
        self.assertIn(container, table)
        entries = json.loads(self.kata("list", "--format", "json").stdout)
        self.assertEqual([(e["id"], e["status"], e["pid"]) for e in entries],
                         [(container, "created", self.pid(container))])
        self.assertEqual(self.kata("list", "-q").stdout, container + "\n")
        self.kata("delete", "--force", container)
        self.assertEqual(self.kata("list", "-q").stdout, "")

    def test_pause_and_resume(self):
        container = self.create(self.bundle("sh", "-c", "while :; do date +%s%N; sleep 0.1; done"))
        self.kata("start", container)
        wait_until(lambda: self.read_output(container), "output")
        self.kata("pause", container)
        self.assertEqual(self.state(container)["status"], "paused")
        size = len(self.read_output(container))
        self.kata("resume", container)
        self.assertEqual(self.state(container)["status"], "running")
        wait_until(lambda: len(self.read_output(container)) > size, "output after resume")
        self.kata("delete", "--force", container)

    def test_killing_the_stand_in_takes_the_container_with_it(self):
        container = self.create(self.bundle("sleep", "600"))
        self.kata("start", container)
        pid = self.pid(container)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not os.path.exists(f"/proc/{pid}/exe"), "the stand-in process to end")
        self.kata("delete", container)

    def test_run_detached(self):
        container = self.new_id()
        self.kata("run", "--detach", "--bundle", self.bundle("sleep", "600").path, "--pid-file",
                  self.pid_file(container), container, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.assertEqual(self.state(container)["status"], "running")
        self.kata("kill", container, "KILL")
        self.wait_status(container, "stopped")
        self.kata("delete", container)


class Exec(KataTest):
    def setUp(self):
        super().setUp()
        self.container = self.create(self.bundle("sleep", "600"))
        self.kata("start", self.container)
        self.addCleanup(lambda: self.kata("delete", "--force", self.container))

    def test_output_exit_code_and_stdin(self):
        result = self.kata("exec", self.container, "sh", "-c", "cat; echo err >&2; exit 5", check=False, input="in\n")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (5, "in\n", "err\n"))

    def test_flags(self):
        result = self.kata("exec", "--user", "1000:1000", "--cwd", "/tmp", "--env", "A=b", self.container, "sh", "-c",
                           "id -u; pwd; echo $A; cat /proc/1/cmdline | tr '\\0' ' '")
        self.assertEqual(result.stdout, "1000\n/tmp\nb\nsleep 600 ")

    def test_process_file_and_detach(self):
        process = {"terminal": False, "user": {"uid": 0, "gid": 0}, "args": ["sh", "-c", "echo $V; exec sleep 300"],
                   "env": ["PATH=/bin", "V=value"], "cwd": "/"}
        path = os.path.join(self.dir, "process.json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(process, f)
        pid_file = os.path.join(self.dir, "exec.pid")
        output = os.path.join(self.dir, "exec.out")
        with open(output, "wb") as out:
            self.kata("exec", "--process", path, "--detach", "--pid-file", pid_file, self.container, stdout=out,
                      stderr=subprocess.DEVNULL)
        with open(pid_file, encoding="utf-8") as f:
            pid = int(f.read())
        wait_until(lambda: open(output, encoding="utf-8").read() == "value\n", "output of the exec")
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: "sleep 300" not in self.kata("exec", self.container, "ps", "-o", "args").stdout,
                   "the exec'd process to end")

    def test_more_processes_than_the_callers_limit_of_descriptors_allows(self):
        """Each takes some of the sandbox server; what that starts, hooks among it, keeps the limit."""
        bundle = self.bundle("sleep", "600")
        limit = os.path.join(self.dir, "limit")
        bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", f"ulimit -Sn > {limit}"]}]}
        bundle.write()
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        container = self.create(bundle, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard)))
        self.kata("start", container)
        for _ in range(25):
            self.kata("exec", "--detach", container, "sleep", "500", stdout=subprocess.DEVNULL,
                      stderr=subprocess.DEVNULL)
        with open(limit, encoding="utf-8") as f:
            self.assertEqual(f.read(), "64\n")
        self.kata("delete", "--force", container)

    def test_missing_command_fails_at_once(self):
        result = self.kata("exec", self.container, "nosuchcommand", check=False)
        self.assert_one_line_error(result, "nosuchcommand", "not found")

    def test_stopped_container_is_refused(self):
        self.kata("kill", self.container, "KILL")
        self.wait_status(self.container, "stopped")
        self.assert_one_line_error(self.kata("exec", self.container, "true", check=False), "not running")


if __name__ == "__main__":
    harness.main()
