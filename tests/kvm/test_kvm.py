"""What only a host with KVM and vsock can show. ./dev kvm runs it, and the end-to-end tests, on such a host.

Nothing is skipped: on a host without them these tests fail.
"""

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import time

import harness
from harness import KataTest, wait_until
from test_network import NetworkTest

TIMEOUT_S = 15 * harness.TIME_FACTOR  # for an agent that will not come
AGENT_PORT = 1024
LOCAL_CID = 1  # VMADDR_CID_LOCAL


def connect_locally(port):
    """A connection from this machine to itself, as soon as somebody listens."""
    subprocess.run(["modprobe", "vsock_loopback"], check=True)

    def connected():
        connection = socket.socket(socket.AF_VSOCK)
        try:
            connection.connect((LOCAL_CID, port))
        except OSError:
            connection.close()
            return None
        return connection
    return wait_until(connected, f"a listener on vsock port {port}", 3 * harness.SETTLE_TIMEOUT_S)


class KvmTest(KataTest):
    def running(self, *args, bundle=None):
        container = self.create(bundle or self.bundle(*(args or ("sleep", "600"))))
        self.kata("start", container)
        return container

    def in_guest(self, container, script):
        return self.kata("exec", container, "sh", "-c", script).stdout

    def start_run(self):
        return subprocess.Popen(
            self.command("run", "--bundle", self.bundle("true").path, self.new_id()), env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def wait_vmm(self):
        """(pid, command line) of the VMM that a `run` under way has started."""
        return wait_until(lambda: next((found for found in harness.processes_with(self.marker)
                                        if "vhost-vsock-pci" in found[1]), None), "the VMM to start",
                          3 * harness.SETTLE_TIMEOUT_S)

    def vmm_arguments(self, container):
        with open(f"/proc/{self.vmm_pid(container)}/cmdline", encoding="utf-8") as f:
            return f.read().split("\0")

    def server_pid(self, container):
        with open(os.path.join(self.root, container, "state.json"), encoding="utf-8") as f:
            return json.load(f)["server"]["pid"]

    def log_records(self, message):
        with open(os.path.join(self.dir, "log.json"), encoding="utf-8") as f:
            return [r for r in map(json.loads, f) if r["msg"] == message]


class Size(KvmTest):
    def test_processors_come_and_go(self):
        bundle = self.bundle("sleep", "600")
        bundle.config["linux"].setdefault("resources", {})["cpu"] = {"quota": 100000, "period": 100000}
        bundle.write()
        container = self.running(bundle=bundle)

        def processors():
            return self.in_guest(container, "cat /proc/cpuinfo").count("processor\t:")
        self.assertEqual(processors(), 1)
        self.kata("update", "--cpu-quota", "150000", container)
        self.assertEqual(processors(), 2)
        self.kata("update", "--cpu-quota", "100000", container)
        wait_until(lambda: processors() == 1, "the guest to give a processor back", 3 * harness.SETTLE_TIMEOUT_S)
        self.kata("delete", "--force", container)


class Acceleration(KvmTest):
    def test_guest_runs_under_kvm(self):
        container = self.running()
        arguments = self.vmm_arguments(container)
        self.assertEqual(arguments[arguments.index("-accel") + 1], "kvm")
        self.assertEqual(arguments[arguments.index("-cpu") + 1].split(",")[0], "host")
        # The kernel's word for it: the VMM holds a virtual machine and its processor.
        descriptors = f"/proc/{self.vmm_pid(container)}/fd"
        links = [os.readlink(os.path.join(descriptors, name)) for name in os.listdir(descriptors)]
        self.assertIn("anon_inode:kvm-vm", links)
        self.assertIn("anon_inode:kvm-vcpu:0", links)
        self.assertEqual([r["acceleration"] for r in self.log_records("virtual machine started")], ["kvm"])

        command_line = self.in_guest(container, "cat /proc/cmdline").split()
        self.assertIn("tsc=reliable", command_line)
        self.assertNotIn("clocksource=hpet", command_line)
        self.assertEqual(
            self.in_guest(container, "cat /sys/devices/system/clocksource/clocksource0/current_clocksource"),
            "kvm-clock\n")
        self.kata("delete", "--force", container)

    def test_guest_has_the_configured_processors_and_memory(self):
        with open(self.configuration, "r+", encoding="utf-8") as f:
            text = f.read().replace("default_memory = 256", "default_memory = 384\ndefault_vcpus = 2")
            f.seek(0)
            f.write(text)
        script = ("grep -c ^processor /proc/cpuinfo; cat /sys/devices/system/cpu/online; "
                  "awk '/MemTotal/ {print $2}' /proc/meminfo")
        processors, online, memory = self.run_container("sh", "-c", script).stdout.split()
        self.assertEqual((processors, online), ("2", "0-1"))
        # What the kernel itself takes is not in MemTotal.
        self.assertLess(int(memory), 384 << 10)
        self.assertGreater(int(memory), (384 - 80) << 10)

    def test_guest_has_the_time_of_the_host(self):
        container = self.running()
        before = time.time()
        guest = float(self.in_guest(container, "date +%s"))
        after = time.time()
        self.assertGreater(guest, before - 2)
        self.assertLess(guest, after + 2)
        self.kata("delete", "--force", container)


class Vsock(KvmTest):
    def guest_cid(self, container):
        device = next(a for a in self.vmm_arguments(container) if a.startswith("vhost-vsock-pci,"))
        return int(re.search(r"guest-cid=(\d+)", device).group(1))

    def connections(self, container):
        """Peers of the sandbox server's established vsock connections."""
        sockets = subprocess.run(["ss", "--vsock", "--numeric", "--processes", "--no-header"], capture_output=True,
                                 text=True, check=True).stdout
        return [line.split()[5] for line in sockets.splitlines()
                if line.split()[1] == "ESTAB" and f"pid={self.server_pid(container)}," in line]

    def test_agent_is_called_over_vsock(self):
        container = self.running()
        command_line = self.in_guest(container, "cat /proc/cmdline")
        self.assertRegex(command_line, r"\bagent\.server_addr=vsock://2:\d+")
        self.assertNotIn("serial://", command_line)
        peers = self.connections(container)
        self.assertEqual([peer.split(":")[0] for peer in peers], [str(self.guest_cid(container))])
        # Nobody else of this host can call the agent.
        with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as other, self.assertRaises(ConnectionResetError):
            other.connect((self.guest_cid(container), AGENT_PORT))
        with open(os.path.join(self.dir, "log.json"), encoding="utf-8") as f:
            self.assertEqual([r for r in map(json.loads, f) if r["level"] == "error"], [])
        self.kata("delete", "--force", container)

    def test_guests_have_addresses_of_their_own(self):
        first = self.running()
        second = self.running()
        self.assertNotEqual(self.guest_cid(first), self.guest_cid(second))
        self.assertEqual(self.in_guest(first, "echo first"), "first\n")
        self.assertEqual(self.in_guest(second, "echo second"), "second\n")
        self.kata("delete", "--force", first)
        self.kata("delete", "--force", second)

    def test_only_the_guest_itself_can_be_the_agent(self):
        """Every guest and every process of the host can connect to the port that the agent calls."""
        initrd = os.path.join(self.dir, "initrd")
        tree = os.path.join(self.dir, "tree")
        os.makedirs(tree)
        shutil.copy("/bin/busybox", os.path.join(tree, "busybox"))
        with open(os.path.join(tree, "init"), "w", encoding="utf-8") as f:
            f.write("#!/busybox sh\nexec /busybox sleep 1000\n")
        os.chmod(os.path.join(tree, "init"), 0o755)
        with open(initrd, "wb") as f:
            subprocess.run("find . | cpio -o -H newc --quiet", shell=True, cwd=tree, stdout=f, check=True)
        self.write_configuration(initrd=initrd, agent=f"dial_timeout = {TIMEOUT_S}")
        process = self.start_run()
        _, command = self.wait_vmm()
        port = int(re.search(r"agent\.server_addr=vsock://2:(\d+)", command).group(1))
        with connect_locally(port) as connection:
            connection.sendall(b"ready\n")
            _, stderr = process.communicate(timeout=harness.COMMAND_TIMEOUT_S)
        self.assertNotEqual(process.returncode, 0)
        self.assertIn(f"no answer within {TIMEOUT_S} s", stderr)

    def test_agent_serves_the_host_alone(self):
        """In a guest whose kernel has the loopback of vsock, processes of containers reach the agent's port."""
        port = 4321
        agent = subprocess.Popen(
            ["unshare", "--mount", "--ipc", "--uts", os.path.join(harness.BUILD_DIR, "bin/kata-agent")],
            env=dict(self.environment, KATA_AGENT_SERVER_ADDR=f"vsock://-1:{port}"),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            with connect_locally(port) as connection:
                connection.settimeout(harness.SETTLE_TIMEOUT_S)
                self.assertEqual(connection.recv(1), b"", "the agent keeps the connection")
        finally:
            agent.kill()
            agent.communicate()

    def test_serial_channel_where_vsock_is_missing(self):
        device = "/dev/vhost-vsock"
        number = os.stat(device).st_rdev
        os.unlink(device)
        self.addCleanup(os.mknod, device, 0o600 | stat.S_IFCHR, number)
        result = self.run_container("cat", "/proc/cmdline")
        self.assertIn("agent.server_addr=serial://", result.stdout)
        self.assertIn("tsc=reliable", result.stdout)

    def test_vmm_killed_while_the_agent_is_awaited(self):
        process = self.start_run()
        pid, _ = self.wait_vmm()
        os.kill(pid, signal.SIGKILL)
        _, stderr = process.communicate(timeout=harness.COMMAND_TIMEOUT_S)
        self.assertNotEqual(process.returncode, 0)
        self.assertIn("signal 9", stderr)


class Interfaces(NetworkTest):
    """What this host's kernel has beyond that of test_network's."""

    def test_ipvlan(self):
        self.replace_by_child(["ipvlan", "mode", "l2"])
        self.check_traffic()

    def test_vhost_net(self):
        for setting, devices in (("", 2), ("disable_vhost_net = true", 0)):
            with self.subTest(setting=setting):
                self.write_configuration(hypervisor="default_vcpus = 2\n" + setting)
                container = self.start("sleep", "600")
                descriptors = f"/proc/{self.vmm_pid(container)}/fd"
                links = [os.readlink(os.path.join(descriptors, name)) for name in os.listdir(descriptors)]
                # One for each pair of queues.
                self.assertEqual(links.count("/dev/vhost-net"), devices)
                self.kill_and_delete(container)
        self.write_configuration()
        self.check_traffic()


class ControlGroups(KvmTest):
    def test_host_has_cgroup_v2_with_all_controllers(self):
        with open("/proc/self/mountinfo", encoding="utf-8") as f:
            kinds = {line.split()[4]: line.split(" - ")[1].split()[0] for line in f}
        self.assertEqual(kinds["/sys/fs/cgroup"], "cgroup2")
        with open("/sys/fs/cgroup/cgroup.subtree_control", encoding="utf-8") as f:
            self.assertLessEqual({"cpu", "cpuset", "io", "memory", "pids"}, set(f.read().split()))


if __name__ == "__main__":
    harness.main()
