"""Docker when something goes wrong around the container: daemon, virtual machine, disk and impatience."""

import os
import re
import shutil
import signal
import subprocess

import harness
from engine_cases import BrokenSettings, Containers, Failures, TICK
from engines import DockerTest, IMAGE
from harness import wait_until


class Daemon(Containers):
    def test_a_vmm_that_the_host_kills_for_memory_is_an_oom_kill(self):
        self.start("box")
        with open(f"/proc/{self.state('box')['Pid']}/cgroup", encoding="utf-8") as f:
            groups = [line.strip().split(":", 2) for line in f]
        unified = not any("memory" in controllers.split(",") for _, controllers, _ in groups)
        path = next(p for _, controllers, p in groups if (not unified and "memory" in controllers.split(","))
                    or (unified and controllers == ""))
        directory = ("/sys/fs/cgroup" if unified else "/sys/fs/cgroup/memory") + path
        usage, limit = ("memory.current", "memory.max") if unified else ("memory.usage_in_bytes", "memory.limit_in_bytes")
        with open(os.path.join(directory, usage), encoding="utf-8") as f:
            room = int(f.read()) + (1 << 20)
        with open(os.path.join(directory, limit), "w", encoding="utf-8") as f:
            f.write(str(room))
        self.docker("exec", "box", "dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=60", check=False)
        state = self.await_state("box", "exited")
        self.assertEqual((state["ExitCode"], state["OOMKilled"]), (255, True))
        self.assertIn("lack of memory", self.docker("logs", "box").stderr)

    def test_a_full_disk_is_the_containers_problem(self):
        small = os.path.join(self.dir, "small")
        os.mkdir(small)
        subprocess.run(self.host_command("mount", "-t", "tmpfs", "-o", "size=8m", "none", small), check=True)
        self.addCleanup(subprocess.run, self.host_command("umount", small), check=True)
        out = self.docker_run("--network", "none", "-v", small + ":/small", IMAGE, "sh", "-c",
                              "dd if=/dev/zero of=/small/x bs=1M count=20 2>&1; rm /small/x; echo x > /small/y && cat /small/y"
                              ).stdout
        self.assertIn("No space left on device", out)
        self.assertTrue(out.endswith("x\n"), out)


class SmallDisk:
    """With a disk for the daemon's data that is full soon."""

    def start_daemon(self):
        disk, data = os.path.join(self.dir, "disk"), os.path.join(self.dir, "data")
        subprocess.run(["truncate", "--size", "96M", disk], check=True)
        subprocess.run(["mkfs.ext4", "-q", disk], check=True)
        os.mkdir(data)
        subprocess.run(["mount", "-o", "loop", disk, data], check=True)
        # Stopping the daemon may have done it already; the leak check looks.
        self.addCleanup(subprocess.run, ["umount", data], check=False, stderr=subprocess.DEVNULL)
        super().start_daemon()

    def free(self):
        return shutil.disk_usage(os.path.join(self.dir, "data")).free

    def layers(self):
        return sorted(os.listdir(os.path.join(self.dir, "data/overlay2")))

    def observe(self, runtime):
        """What users see of a container that fills the disk under its writable layer, goes on, and fills it for good."""
        # A start writes into the daemon's books: whether a block is left for that is chance under either runtime.
        reserve = os.path.join(self.dir, "data/reserve")
        with open(reserve, "wb") as f:
            f.write(bytes(256 << 10))
            os.fsync(f.fileno())
        self.docker("run", "-d", "--name", "box", "--runtime", runtime, "--network", "none", IMAGE, *TICK)
        seen = []
        for step in (
                "dd if=/dev/zero of=/fill bs=1M; echo more > /root/more; ls /root; rm /fill; echo after > /root/after; cat /root/*",
                "dd if=/dev/zero of=/fill bs=1M; dd if=/dev/zero of=/fill2 bs=4k", "sync; exit 7", "cat /root/after"):
            result = self.docker("exec", "box", "sh", "-c", step, check=False)
            # How much it was, and how fast.
            seen.append((result.returncode, re.sub(r".*(records|copied).*", "", result.stdout + result.stderr)))
        self.assertLess(self.free(), 1 << 20)
        os.unlink(reserve)
        for command in (("stop", "box"), ("wait", "box"), ("start", "box"), ("exec", "box", "cat", "/root/after"),
                        ("kill", "box"), ("rm", "box")):
            result = self.docker(*command, check=False)
            seen.append((command, result.returncode, re.sub(r"[0-9a-f]{64}|\d{6,}", "N", result.stdout + result.stderr)))
        return seen

    def test_full_below_the_writable_layer(self):
        layers, free = self.layers(), self.free()
        plain = self.observe("runc")
        self.assertIn("No space left on device", plain[0][1])
        self.assertEqual(self.observe("kata"), plain)
        self.assertEqual(self.layers(), layers)
        # But for what the daemon writes into its books.
        self.assertGreater(self.free(), free - (1 << 20))


class LiveRestore(Containers):
    daemon_options = {"live-restore": True}

    def test_containers_outlive_the_daemon(self):
        self.docker("network", "create", "green")
        self.docker("run", "-d", "--name", "box", "--runtime", "kata", "--network", "green", "--network-alias", "alias",
                    "--dns", "127.0.0.1", IMAGE, *TICK)
        address = self.docker("exec", "box", "getent", "ahostsv4", "alias").stdout
        for number in (signal.SIGTERM, signal.SIGKILL):
            with self.subTest(signal=number):
                self.restart_daemon(number)
                self.assert_well("box")
                known = self.docker("logs", "box").stdout.count("tick")
                wait_until(lambda known=known: self.docker("logs", "box").stdout.count("tick") > known, "more output")
                # By the new daemon's name server.
                wait_until(lambda: self.docker("exec", "box", "getent", "ahostsv4", "alias", check=False).stdout == address,
                           "the name to resolve", harness.COMMAND_TIMEOUT_S)
        self.docker("stop", "box")
        self.assertEqual(self.docker("wait", "box").stdout, "3\n")


class Restored(Containers):
    def test_a_killed_daemon_finds_its_containers(self):
        self.start("box", "--restart", "always")
        self.start("stopped", "--restart", "unless-stopped")
        self.docker("stop", "stopped")
        self.restart_daemon(signal.SIGKILL)
        # Without live-restore a daemon ends what it finds; the policy starts it again.
        wait_until(lambda: self.docker("exec", "box", "echo", "well", check=False).stdout == "well\n",
                   "the container to run again", harness.COMMAND_TIMEOUT_S)
        self.assertEqual(self.state("stopped")["Status"], "exited")


class DockerFailures(Failures, BrokenSettings, Daemon, Restored, DockerTest):
    pass


class DockerSmallDisk(SmallDisk, DockerTest):
    pass


class DockerLiveRestore(LiveRestore, DockerTest):
    pass


if __name__ == "__main__":
    harness.main()
