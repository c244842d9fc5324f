"""What kata-runtime writes to its log, with and without --debug: the steps that it takes, and how long they take."""

import json
import os
import subprocess

import harness
from harness import KataTest


class Log(KataTest):
    def plain(self, *args):
        """kata-runtime without --log, as runc is often called. Output goes to files, which a container may keep open."""
        command = [harness.RUNTIME, "--config", self.configuration, "--root", self.root, *args]
        with open(os.path.join(self.dir, "stdout"), "w+", encoding="utf-8") as out, \
                open(os.path.join(self.dir, "stderr"), "w+", encoding="utf-8") as err:
            result = subprocess.run(command, env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                    timeout=harness.COMMAND_TIMEOUT_S, check=False)
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(command, result.returncode, out.read(), err.read())

    def records(self):
        with open(os.path.join(self.dir, "log.json"), encoding="utf-8") as f:
            return [json.loads(line) for line in f]

    def test_steps_in_the_file(self):
        container = self.new_id()
        result = self.kata("--debug", "run", "--bundle", self.bundle("sh", "-c", "exit 3").path, container, check=False)
        self.assertEqual((result.returncode, result.stderr), (3, ""))
        steps = {r["msg"]: r for r in self.records() if r["level"] == "debug"}
        for step in ("create container", "start sandbox server and kata-shim", "create container in the sandbox server",
                     "boot virtual machine", "create container in the guest", "start container", "start container in the guest",
                     "delete container"):
            self.assertRegex(steps[step]["duration"], r"^\d+\.\dms$", step)
        self.assertEqual(steps["create container"]["container"], container)
        self.assertEqual(steps["container ended"]["code"], "3")
        self.assertGreater(int(steps["kata-shim"]["pid"]), 0)
        # A step of the sandbox server names the sandbox.
        self.assertEqual(steps["boot virtual machine"]["sandbox"], container)

    def test_steps_on_stderr_and_of_an_exec(self):
        container = self.new_id()
        bundle = self.bundle("sleep", "600")
        result = self.plain("--debug", "run", "--detach", "--bundle", bundle.path, container)
        self.assertEqual(result.returncode, 0, result.stderr)
        for step in ("create container", "boot virtual machine", "start container in the guest"):
            self.assertRegex(result.stderr, rf'(?m)^time="[^"]*" level=debug msg="{step}" .*duration=\d+\.\dms$')
        result = self.plain("--debug", "exec", container, "sh", "-c", "exit 4")
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertRegex(result.stderr, rf'level=debug msg="start process" container={container} process=exec-[^ ]* duration=')
        self.assertRegex(result.stderr, r'level=debug msg="process ended" .* code=4')
        # Without --debug only what went wrong is told, once.
        result = self.plain("exec", container, "nosuch")
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        self.assert_one_line_error(result, "nosuch")
        result = self.plain("delete", "--force", container)
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_an_ordinary_life_makes_no_warnings(self):
        self.run_container("true")
        container = self.create(self.bundle("sleep", "1000"))
        self.kata("start", container)
        self.kata("delete", "--force", container)
        self.assertEqual([r for r in self.records() if r["level"] not in ("info", "debug")], [])

    def test_an_error_of_the_sandbox_server_is_told_once(self):
        self.write_configuration(kernel="/etc/passwd")
        result = self.plain("--debug", "create", "--bundle", self.bundle("true").path, self.new_id())
        self.assertNotEqual(result.returncode, 0)
        errors = [line for line in result.stderr.splitlines() if "level=error" in line]
        self.assertEqual(len(errors), 1, result.stderr)
        self.assertIn("qemu", errors[0])


if __name__ == "__main__":
    harness.main()
