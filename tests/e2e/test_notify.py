"""Services in containers: NOTIFY_SOCKET (sd_notify(3)) as under runc, whose every word is compared."""

import json
import os
import signal
import subprocess

import harness
from engines import EngineTest
from harness import KataTest, wait_until
from service_manager import NOTIFY, ServiceManager

READY = NOTIFY + """
echo $NOTIFY_SOCKET; stat -c %A $NOTIFY_SOCKET; grep ' /run/notify ' /proc/self/mountinfo | cut -d ' ' -f 6
until [ -e /data/go ]; do sleep 0.1; done
notify STATUS=busy
notify 'READY=1
STATUS=done'
exec sleep 1000
"""


class Notify(KataTest):
    def setUp(self):
        super().setUp()
        address = os.path.join(self.dir, "manager")
        self.manager = ServiceManager(address)
        self.addCleanup(self.manager.close)
        self.environment["NOTIFY_SOCKET"] = address
        self.go = os.path.join(self.dir, "data", "go")
        os.mkdir(os.path.dirname(self.go))

    def service(self, script):
        bundle = self.bundle("sh", "-c", script)
        EngineTest.copy_program("/usr/bin/perl", bundle.rootfs)
        bundle.add_mount(destination="/data", source=os.path.dirname(self.go), type="bind", options=["rbind"])
        bundle.config["linux"]["cgroupsPath"] = f"/{self.marker}/{self.new_id()}"
        # This process may not have what `spec` asks for.
        bundle.config["process"].pop("rlimits", None)
        bundle.write()
        return bundle

    def runtime(self, name):
        """Its command line up to the verb."""
        return self.command() if name == "kata" else ["/usr/sbin/runc", "--root", os.path.join(self.dir, "runc")]

    def call(self, runtime, *args, **options):
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        result = subprocess.run([*self.runtime(runtime), *args], stdin=subprocess.DEVNULL, text=True, check=False,
                                env=self.environment, timeout=harness.COMMAND_TIMEOUT_S, **options)
        self.assertEqual(result.returncode, 0, f"{runtime} {args}: {result.stderr}{self.log_tail()}")
        return result.stdout

    def begin(self, runtime, *args, **options):
        """A call that is not waited for."""
        options.setdefault("stdout", subprocess.DEVNULL)
        process = subprocess.Popen([*self.runtime(runtime), *args], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env=self.environment, **options)

        def end():
            if process.poll() is None:
                process.kill()
            process.wait()
        self.addCleanup(end)
        return process

    def create_with(self, runtime, bundle):
        container = self.new_id()
        self.addCleanup(self.remove, runtime, container)
        with open(self.output(container), "wb") as out:
            self.call(runtime, "create", "--bundle", bundle.path, container, stdout=out, stderr=out)
        return container

    def remove(self, runtime, container):
        subprocess.run([*self.runtime(runtime), "delete", "--force", container], stdin=subprocess.DEVNULL, check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self.environment,
                       timeout=harness.COMMAND_TIMEOUT_S)
        for cgroup in harness.cgroups_with(self.marker):
            # The parent, which runc leaves.
            if os.path.basename(cgroup) == self.marker:
                try:
                    os.rmdir(cgroup)
                except OSError:
                    pass

    def state_of(self, runtime, container):
        return json.loads(self.call(runtime, "state", container))

    def assert_waits(self, process):
        self.assertRaises(subprocess.TimeoutExpired, process.wait, 1)
        self.assertEqual(self.manager.messages, [])

    def let_go(self, process, pid):
        """The messages from then on until the process has ended well, with the pid by name."""
        with open(self.go, "w", encoding="utf-8"):
            pass
        self.assertEqual(process.wait(harness.COMMAND_TIMEOUT_S), 0)
        os.unlink(self.go)
        messages = [message.replace(str(pid()), "PID") for message in self.manager.messages]
        self.manager.messages.clear()
        return messages

    def assert_alike(self, seen):
        """The messages under both runtimes; older releases of runc end with no barrier."""
        self.assertEqual(seen["kata"], ["READY=1\n", "MAINPID=PID\n", "BARRIER=1"])
        self.assertEqual([message for message in seen["runc"] if message != "BARRIER=1"], seen["kata"][:2])

    def test_start_waits_until_the_container_is_ready(self):
        seen = {}
        for runtime in ("runc", "kata"):
            container = self.create_with(runtime, self.service(READY))
            start = self.begin(runtime, "start", container)
            wait_until(lambda c=container: len(self.read_output(c).splitlines()) == 3, "the container to run",
                       harness.COMMAND_TIMEOUT_S)
            self.assert_waits(start)
            messages = self.let_go(start, lambda r=runtime, c=container: self.state_of(r, c)["pid"])
            seen[runtime] = (messages, self.read_output(container))
            self.assertEqual(self.state_of(runtime, container)["status"], "running")
            self.remove(runtime, container)
        self.assert_alike({runtime: messages for runtime, (messages, _) in seen.items()})
        self.assertEqual(seen["kata"][1], seen["runc"][1])

    def test_run_waits_when_detached(self):
        seen = {}
        for runtime in ("runc", "kata"):
            container = self.new_id()
            self.addCleanup(self.remove, runtime, container)
            run = self.begin(runtime, "run", "--detach", "--pid-file", self.pid_file(container), "--bundle",
                             self.service(READY).path, container)
            wait_until(lambda c=container: os.path.exists(self.pid_file(c)), "the pid file", harness.COMMAND_TIMEOUT_S)
            self.assert_waits(run)
            seen[runtime] = self.let_go(run, lambda c=container: self.pid(c))
            self.assertEqual(self.state_of(runtime, container)["status"], "running")
            self.remove(runtime, container)
        self.assert_alike(seen)

    def test_run_in_the_foreground_is_the_main_process(self):
        seen = {}
        for runtime in ("runc", "kata"):
            container = self.new_id()
            self.addCleanup(self.remove, runtime, container)
            script = READY.replace("exec sleep 1000", "until [ -e /data/end ]; do sleep 0.1; done")
            run = self.begin(runtime, "run", "--bundle", self.service(script).path, container)
            with open(self.go, "w", encoding="utf-8"):
                pass
            wait_until(lambda: len(self.manager.messages) >= 2, "the container to be ready",
                       harness.COMMAND_TIMEOUT_S)
            with open(os.path.join(self.dir, "data/end"), "w", encoding="utf-8"):
                pass
            seen[runtime] = self.let_go(run, lambda r=run: r.pid)
            os.unlink(os.path.join(self.dir, "data/end"))
        self.assert_alike(seen)

    def test_nobody_waits_for_ever(self):
        # Neither for a container that ends without a word, nor longer than the caller likes.
        for runtime in ("runc", "kata"):
            container = self.create_with(runtime, self.service(NOTIFY + "notify STATUS=lost; exit 3"))
            self.call(runtime, "start", container)
            self.assertEqual(self.manager.messages, [])
            self.remove(runtime, container)
        container = self.create_with("kata", self.service(READY))
        start = self.begin("kata", "start", container)
        wait_until(lambda: self.read_output(container), "the container to run", harness.COMMAND_TIMEOUT_S)
        self.assert_waits(start)
        start.send_signal(signal.SIGTERM)
        self.assertEqual(start.wait(harness.COMMAND_TIMEOUT_S), -signal.SIGTERM)
        self.assertEqual(self.state_of("kata", container)["status"], "running")
        # The whole command, where it has made the container.
        run = self.begin("kata", "run", "--detach", "--pid-file", self.pid_file("other"), "--bundle",
                         self.service(READY).path, "other-" + container)
        wait_until(lambda: os.path.exists(self.pid_file("other")), "the pid file", harness.COMMAND_TIMEOUT_S)
        self.assert_waits(run)
        run.send_signal(signal.SIGINT)
        self.assertEqual(run.wait(harness.COMMAND_TIMEOUT_S), 1)
        self.assertNotIn("other-", self.kata("list", "--quiet").stdout)

    def test_without_a_service_manager(self):
        del self.environment["NOTIFY_SOCKET"]
        container = self.create_with("kata", self.service("echo ${NOTIFY_SOCKET-none}; exec sleep 1000"))
        # It is not asked for what it was not created for.
        self.environment["NOTIFY_SOCKET"] = os.path.join(self.dir, "manager")
        self.call("kata", "start", container)
        wait_until(lambda: self.read_output(container) == "none\n", "the container to run")
        # One that cannot be reached is told of before anything is started.
        self.environment["NOTIFY_SOCKET"] = os.path.join(self.dir, "nosuch")
        container = self.create_with("kata", self.service("exec sleep 1000"))
        self.assert_one_line_error(self.kata("start", container, check=False), "NOTIFY_SOCKET", "nosuch")
        self.assertEqual(self.state_of("kata", container)["status"], "created")


if __name__ == "__main__":
    harness.main()
