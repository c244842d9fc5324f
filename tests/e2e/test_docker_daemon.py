"""Docker when something goes wrong around the container: daemon, virtual machine, disk and impatience."""

import json
import os
import re
import shutil
import signal
import subprocess

import harness
from engines import DockerTest, IMAGE
from harness import processes_with, wait_until

TICK = ("sh", "-c", "trap 'exit 3' TERM; while :; do echo tick; sleep 0.2; done")


class Daemon(DockerTest):
    def start(self, name, *flags):
        self.docker("run", "-d", "--name", name, "--runtime", "kata", "--network", "none", *flags, IMAGE, *TICK)

    def ticks(self, name):
        return self.docker("logs", name).stdout.count("tick")

    def state(self, name):
        return json.loads(self.docker("inspect", name).stdout)[0]["State"]

    def await_state(self, name, status):
        return wait_until(lambda: (state := self.state(name))["Status"] == status and state, f"'{name}' to be {status}",
                          harness.COMMAND_TIMEOUT_S)

    def vmm_of(self, name):
        """The VMM is in the control group of the pid that Docker has."""
        with open(f"/proc/{self.state(name)['Pid']}/cgroup", encoding="utf-8") as f:
            group = next(line.strip().split(":", 2)[2] for line in f if self.marker in line)
        for pid, command in processes_with(self.marker):
            if "qemu-system" not in command.split()[0]:
                continue
            with open(f"/proc/{pid}/cgroup", encoding="utf-8") as f:
                if group in f.read():
                    return pid
        return self.fail(f"no VMM in '{group}'")

    def test_a_killed_vmm_ends_the_container(self):
        self.start("box")
        os.kill(self.vmm_of("box"), signal.SIGKILL)
        state = self.await_state("box", "exited")
        self.assertEqual((state["ExitCode"], state["OOMKilled"]), (255, False))
        self.assertIn("the virtual machine ended", self.docker("logs", "box").stderr)
        self.docker("start", "box")
        self.assertEqual(self.docker("exec", "box", "echo", "well").stdout, "well\n")
        # The engine's own pid takes everything with it.
        os.kill(self.state("box")["Pid"], signal.SIGKILL)
        self.assertEqual(self.await_state("box", "exited")["ExitCode"], 137)
        wait_until(lambda: not [c for _, c in processes_with(self.marker) if "qemu" in c or "virtiofsd" in c],
                   "the machine to end")
        self.docker("rm", "box")

    def test_a_vmm_that_the_host_kills_for_memory_is_an_oom_kill(self):
        self.start("box")
        self.ticks("box")
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
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", small], check=True)
        self.addCleanup(subprocess.run, ["umount", small], check=True)
        out = self.docker_run("--network", "none", "-v", small + ":/small", IMAGE, "sh", "-c",
                              "dd if=/dev/zero of=/small/x bs=1M count=20 2>&1; rm /small/x; echo x > /small/y && cat /small/y"
                              ).stdout
        self.assertIn("No space left on device", out)
        self.assertTrue(out.endswith("x\n"), out)

    def test_removal_during_creation(self):
        for _ in range(2):
            with subprocess.Popen(
                    ["/usr/bin/docker", "--host", "unix://" + self.socket, "run", "--name", "box", "--runtime", "kata",
                     "--network", "none", IMAGE, *TICK], env=self.environment, stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as client:
                wait_until(lambda: any("qemu" in c for _, c in processes_with(self.marker)), "the VMM to start")
                self.docker("rm", "--force", "box")
                client.wait(harness.COMMAND_TIMEOUT_S)
            self.assertEqual(self.docker("ps", "--all", "--quiet").stdout, "")
            wait_until(lambda: not [c for _, c in processes_with(self.marker) if "qemu" in c], "the machine to end")

    def test_port_in_use(self):
        self.start_on_port = ("-d", "--runtime", "kata", "-p", "127.0.0.1:8082:80", IMAGE, *TICK)
        self.docker("run", "--name", "first", *self.start_on_port)
        refused = self.docker("run", "--name", "second", *self.start_on_port, check=False)
        self.assertEqual(refused.returncode, 125)
        self.assertIn("port is already allocated", refused.stderr)
        self.docker("rm", "second")
        self.assertEqual(self.docker("exec", "first", "echo", "well").stdout, "well\n")


class SmallDisk(DockerTest):
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
        self.docker("run", "-d", "--name", "box", "--runtime", runtime, "--network", "none", IMAGE, *TICK)
        seen = []
        for step in (
                "dd if=/dev/zero of=/fill bs=1M; echo more > /root/more; ls /root; rm /fill; echo after > /root/after; cat /root/*",
                "dd if=/dev/zero of=/fill bs=1M; dd if=/dev/zero of=/fill2 bs=4k", "sync; exit 7", "cat /root/after"):
            result = self.docker("exec", "box", "sh", "-c", step, check=False)
            # How much it was, and how fast.
            seen.append((result.returncode, re.sub(r".*(records|copied).*", "", result.stdout + result.stderr)))
        self.assertLess(self.free(), 1 << 20)
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


class LiveRestore(DockerTest):
    daemon_options = {"live-restore": True}

    def test_containers_outlive_the_daemon(self):
        self.docker("run", "-d", "--name", "box", "--runtime", "kata", "--network", "none", IMAGE, *TICK)
        for number in (signal.SIGTERM, signal.SIGKILL):
            with self.subTest(signal=number):
                self.restart_daemon(number)
                self.assertEqual(self.docker("exec", "box", "echo", "well").stdout, "well\n")
                known = self.docker("logs", "box").stdout.count("tick")
                wait_until(lambda known=known: self.docker("logs", "box").stdout.count("tick") > known, "more output")
        self.docker("stop", "box")
        self.assertEqual(self.docker("wait", "box").stdout, "3\n")


class Restored(DockerTest):
    def test_a_killed_daemon_finds_its_containers(self):
        self.docker("run", "-d", "--name", "box", "--restart", "always", "--runtime", "kata", "--network", "none", IMAGE,
                    *TICK)
        self.restart_daemon(signal.SIGKILL)
        # Without live-restore a daemon ends what it finds; the policy starts it again.
        wait_until(lambda: self.docker("exec", "box", "echo", "well", check=False).stdout == "well\n",
                   "the container to run again", harness.COMMAND_TIMEOUT_S)


if __name__ == "__main__":
    harness.main()
