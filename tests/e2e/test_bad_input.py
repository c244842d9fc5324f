"""What bad input gets: one clear line, an exit code that is not 0, nothing left behind."""

import json
import os
import signal
import subprocess
import time

import harness
from harness import KataTest, processes_with, wait_until


class BadInput(KataTest):
    def refused(self, *texts, bundle=None, args=None):
        """create must fail naming `texts`; check_nothing_left runs behind the test."""
        bundle = bundle or self.bundle("true")
        result = self.kata(*(args or ("create", "--bundle", bundle.path, self.new_id())), check=False)
        self.assert_one_line_error(result, *texts)
        return result

    def test_error_record_in_the_log_that_engines_read(self):
        self.refused("config.json", args=("create", "--bundle", self.dir, self.new_id()))
        with open(os.path.join(self.dir, "log.json"), encoding="utf-8") as f:
            records = [json.loads(line) for line in f]
        errors = [r for r in records if r["level"] == "error"]
        self.assertEqual(len(errors), 1)
        self.assertIn("config.json", errors[0]["msg"])
        self.assertIn("time", errors[0])

    def test_bundles(self):
        self.refused("nosuch", args=("create", "--bundle", os.path.join(self.dir, "nosuch"), self.new_id()))
        bundle = self.bundle("true")
        with open(bundle.config_path, "w", encoding="utf-8") as f:
            f.write('{"ociVersion": "1.0.2", ')
        self.refused("config.json", bundle=bundle)
        bundle = self.bundle("true")
        bundle.config["process"]["args"] = "true"
        bundle.write()
        self.refused("process.args", bundle=bundle)
        bundle = self.bundle("true")
        bundle.config["root"]["path"] = "nosuchroot"
        bundle.write()
        self.refused("nosuchroot", bundle=bundle)

    def test_ids(self):
        bundle = self.bundle("true")
        for bad in ("../escape", "a/b", "", ".", "..", "x" * 2000, "a\nb"):
            with self.subTest(id=bad[:20]):
                self.refused("id", args=("create", "--bundle", bundle.path, bad))
        for verb in (("state",), ("start",), ("kill",), ("delete",), ("exec",)):
            with self.subTest(verb=verb):
                arguments = (*verb, "nosuchcontainer") + (("true",) if verb == ("exec",) else ())
                self.refused("nosuchcontainer", "does not exist", args=arguments)

    def test_flags_and_commands(self):
        self.refused("--nosuchflag", args=("create", "--nosuchflag", "x"))
        self.refused("nosuchcommand", args=("nosuchcommand",))

    def test_configuration(self):
        for change, texts in ((dict(kernel="/nosuch/kernel"), ["/nosuch/kernel", "kernel"]),
                              (dict(initrd="/nosuch/initrd"), ["/nosuch/initrd", "initrd"]),
                              (dict(qemu="/nosuch/qemu"), ["/nosuch/qemu"]),
                              (dict(shared_fs="nfs"), ["configuration.toml:", "shared_fs", "nfs", "virtio-fs"]),
                              (dict(hypervisor="default_vcpus = \"two\""), ["configuration.toml:", "default_vcpus"])):
            with self.subTest(change=change):
                self.write_configuration(**change)
                self.refused(*texts)
        self.configuration = "/nosuch/configuration.toml"
        self.refused("/nosuch/configuration.toml")

    def test_guest_memory_too_small_for_the_initrd(self):
        big = os.path.join(self.dir, "big-initrd")
        with open(big, "wb") as f:
            f.truncate(300 << 20)
        self.write_configuration(initrd=big)
        self.refused("memory", "initrd")

    def test_a_kernel_that_is_none(self):
        path = os.path.join(self.dir, "notakernel")
        with open(path, "wb") as f:
            f.write(b"not a kernel" * 1000)
        self.write_configuration(kernel=path)
        self.refused("qemu")

    def test_a_program_that_cannot_start(self):
        bundle = self.bundle("/nosuchprogram")
        self.refused("/nosuchprogram", bundle=bundle)
        bundle = self.bundle("/etc/passwd")
        self.refused("/etc/passwd", "ermission denied", bundle=bundle)
        # A missing cwd is made by the runtime, as runc does; one that is a file cannot be.
        bundle = self.bundle("true", cwd="/etc/passwd")
        self.refused("/etc/passwd", bundle=bundle)

    def test_a_limit_of_memory_that_no_program_survives(self):
        bundle = self.bundle("true")
        bundle.config["linux"].setdefault("resources", {})["memory"] = {"limit": 16 << 10}
        bundle.write()
        self.assertEqual(self.run_container(bundle=bundle, check=False).returncode, 137)
        self.assertIn('"msg":"a process was killed for lack of memory"', self.log_tail())

    def test_pid_file_that_cannot_be_written(self):
        bundle = self.bundle("true")
        self.refused("/nosuch/pid", args=("create", "--bundle", bundle.path, "--pid-file", "/nosuch/pid", self.new_id()))

    def test_disk_full_in_the_state_directory(self):
        os.makedirs(self.root)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=64", "none", self.root], check=True)
        self.addCleanup(subprocess.run, ["umount", self.root], check=True)
        with open(os.path.join(self.root, "filler"), "wb", buffering=0) as f:
            try:
                while f.write(b"x" * 512):
                    pass
            except OSError:
                pass
        self.refused("No space left on device")
        os.unlink(os.path.join(self.root, "filler"))

    def test_interrupted_create(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number):
                process = subprocess.Popen(
                    self.command("create", "--bundle", self.bundle("true").path, self.new_id()),
                    env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                wait_until(lambda: any("qemu" in c for _, c in processes_with(self.marker)), "the VMM to start")
                process.send_signal(number)
                _, stderr = process.communicate(timeout=harness.COMMAND_TIMEOUT_S)
                self.assertNotEqual(process.returncode, 0)
                self.assertIn(b"interrupt", stderr.lower())
                wait_until(lambda: not self.leftovers(), "nothing to be left")

    def test_two_creates_of_one_id_at_once(self):
        container = self.new_id()
        creates = [subprocess.Popen(self.command("create", "--bundle", self.bundle("sleep", "600").path, container),
                                    env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                    stderr=subprocess.PIPE, text=True) for _ in range(2)]
        # The winner's container holds its stderr; the loser's ends.
        codes = [create.wait(timeout=harness.COMMAND_TIMEOUT_S) for create in creates]
        self.assertEqual(sorted(code != 0 for code in codes), [False, True], codes)
        loser = creates[0 if codes[0] != 0 else 1]
        self.assertIn("container with given ID already exists", loser.stderr.read())
        self.kata("start", container)
        self.assertEqual(self.state(container)["status"], "running")
        self.kata("delete", "--force", container)
        for create in creates:
            create.stderr.close()

    def test_killed_create_leaves_nothing(self):
        """SIGKILL cannot be caught: the sandbox server notices that nobody waits for the container any more."""
        process = subprocess.Popen(
            self.command("create", "--bundle", self.bundle("true").path, self.new_id()),
            env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: any("qemu" in c for _, c in processes_with(self.marker)), "the VMM to start")
        time.sleep(0.3)
        process.kill()
        process.wait()


if __name__ == "__main__":
    harness.main()
