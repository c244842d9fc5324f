"""Podman with kata-runtime: what its users type."""

import json
import os
import shutil

import harness
from engine_cases import BrokenSettings, Devices, Failures, Statistics
from engines import IMAGE, PodmanTest
from harness import wait_until
from network_tables import own_addresses, normalized, SCRIPT
from service_manager import NOTIFY, ServiceManager


class IPv6:
    def test_ipv6(self):
        network = self.marker + "-6"
        self.podman("network", "create", "--ipv6", "--subnet", "fd00:6::/64", network)
        self.addCleanup(shutil.rmtree, "/var/lib/cni/networks/" + network, ignore_errors=True)
        self.podman_run("-d", "--name", "web", "--network", network, IMAGE, "sh", "-c",
                        "mkdir /w; echo hello > /w/index.html; exec httpd -f -p 80 -h /w")
        address = json.loads(self.podman("inspect", "web").stdout)[0]["NetworkSettings"]["Networks"][network]["GlobalIPv6Address"]
        self.assertIn(address, self.podman("exec", "web", "ip", "-6", "address").stdout)
        for runtime in ("runc", "kata"):
            page = self.podman("run", "--rm", *self.runtime_flags(runtime), "--network", network, IMAGE, "sh", "-c",
                               f"until wget -q -O - http://[{address}]/; do sleep 0.2; done")
            self.assertEqual(page.stdout, "hello\n")


class Podman(IPv6, Statistics, Failures, BrokenSettings, Devices, PodmanTest):
    def test_run_exec_stop(self):
        self.assertNotEqual(self.podman_run("--network", "none", IMAGE, "uname", "-r").stdout.strip(), os.uname().release)
        self.assertEqual(self.podman_run("--network", "none", IMAGE, "sh", "-c", "exit 9", check=False).returncode, 9)
        self.podman_run("-d", "--name", "box", "--network", "none", IMAGE, "sh", "-c",
                        "trap 'exit 5' TERM; while :; do echo tick; sleep 0.2; done")
        self.assertEqual(self.podman("exec", "box", "sh", "-c", "exit 3", check=False).returncode, 3)
        self.assertIn("box", self.podman("ps").stdout)
        self.podman("pause", "box")
        self.podman("unpause", "box")
        self.assertIn("tick", self.podman("logs", "box").stdout)
        # What stands on the host for the container's processes, and nothing else of the host.
        self.podman("exec", "-d", "box", "sleep", "999")
        wait_until(lambda: "sleep 999" in self.podman("top", "box", "args").stdout, "the second process")
        top = [line.split()[:2] for line in self.podman("top", "box", "pid", "args").stdout.splitlines()[1:]]
        self.assertEqual([top[0], [args for _, args in top]], [["1", "sh"], ["sh", "sleep"]])
        # The guest's own list, by a program in the container.
        self.assertIn("sleep 999", self.podman("top", "box", "-o", "pid,args").stdout)
        # Both ways while it runs.
        self.podman("cp", self.configuration, "box:/root/copied")
        self.assertIn("[hypervisor.qemu]", self.podman("exec", "box", "cat", "/root/copied").stdout)
        self.podman("exec", "box", "sh", "-c", "echo back > /root/back")
        self.podman("cp", "box:/root/back", os.path.join(self.dir, "back"))
        with open(os.path.join(self.dir, "back"), encoding="utf-8") as f:
            self.assertEqual(f.read(), "back\n")
        self.podman("stop", "box")

    def test_info_finds_the_runtime_where_it_is_installed(self):
        installed = os.path.join(self.dir, "installed")
        os.mkdir(installed)
        shutil.copy(harness.RUNTIME, installed)
        settings = os.path.join(self.dir, "none.conf")
        with open(settings, "w", encoding="utf-8"):
            pass
        command = self.engine_command(["--runtime", "kata", "info", "--format", "{{json .Host.OCIRuntime}}"])
        its_mounts = self.host_command()
        shown = self.run_engine(
            [*its_mounts, "unshare", "--mount", "sh", "-c",
             f'mount -t overlay -o lowerdir={installed}:/usr/bin overlay /usr/bin && exec "$@"',
             "sh", "env", "CONTAINERS_CONF=" + settings, *command[len(its_mounts):]])
        runtime = json.loads(shown.stdout)
        self.assertEqual((runtime["name"], runtime["path"]), ("kata", "/usr/bin/kata-runtime"))
        self.assertIn("kata-runtime version", runtime["version"])

    def serve(self, name, *options):
        """A container that answers with its name, over HTTP and over UDP."""
        udp = ('socket(S, 2, 2, 17) && bind(S, pack("Sna4x8", 2, 81, "\\0\\0\\0\\0")) or die;'
               f'while ($peer = recv(S, $data, 99, 0)) {{ send(S, "{name}", 0, $peer) }}')
        self.podman_run("-d", "--name", name, *options, IMAGE, "sh", "-c",
                        f"mkdir /w; echo {name} > /w/index.html; perl -e '{udp}' & exec httpd -f -p 80 -h /w")

    def assert_reaches(self, client, name, server):
        """By the name server of their network."""
        script = 'wget -q -O - http://$(getent ahostsv4 $0 | head -n 1 | cut -d " " -f 1)/'
        wait_until(lambda: self.podman("exec", client, "sh", "-c", script, name, check=False).stdout.strip() == server,
                   f"{client} to reach {name}", harness.COMMAND_TIMEOUT_S)

    def test_networks(self):
        self.serve("plain", "-p", "127.0.0.1:8080:80", "-p", "8081:81/udp", "--dns", "192.0.2.53")
        self.assertIn("nameserver 192.0.2.53\n", self.podman("exec", "plain", "cat", "/etc/resolv.conf").stdout)
        published = self.inside("busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/")
        wait_until(lambda: self.run_engine(published, check=False).stdout == "plain\n", "the published port")
        address = self.podman("inspect", "--format", "{{.NetworkSettings.IPAddress}}", "plain").stdout.strip()
        self.assertIn(address, self.podman("exec", "plain", "ip", "address").stdout)
        ask = ("import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(1); s.connect(('127.0.0.1', 8081));"
               "s.send(b'x'); print(s.recv(99).decode())")
        wait_until(lambda: self.run_engine(self.inside("python3", "-c", ask), check=False).stdout == "plain\n",
                   "the published datagram port")
        for network in ("blue", "red"):
            self.podman("network", "create", network)
        self.serve("one", "--network", "blue", "--network-alias", "first")
        self.serve("two", "--network", "blue,red")
        self.podman("run", "-d", "--name", "three", "--network", "red", "--cgroup-parent",
                    "/" + self.marker, IMAGE, "sleep", "1000")
        self.assert_reaches("one", "two", "two")
        self.assert_reaches("two", "first", "one")
        self.assert_reaches("three", "two", "two")
        self.podman("network", "connect", "--alias", "late", "red", "one")
        self.assert_reaches("three", "late", "one")
        self.podman("network", "disconnect", "blue", "one")
        wait_until(lambda: "eth0" not in self.podman("exec", "one", "ls", "/sys/class/net").stdout, "the first to go",
                   harness.COMMAND_TIMEOUT_S)
        self.assert_reaches("three", "late", "one")

    def test_tables_are_those_under_runc(self):
        self.podman("network", "create", "--ipv6", "--subnet", "10.89.6.0/24", "--subnet", "fd00:6::/64", "six")
        for network in (self.marker, "six", "none"):
            names = []
            for runtime in ("/usr/sbin/runc", "kata"):
                names.append(f"{os.path.basename(runtime)}-{network}")
                self.podman("run", "-d", "--name", names[-1], "--runtime", runtime, "--cgroup-parent", "/" + self.marker,
                            "--network", network, IMAGE, "sleep", "1000")

            def tables(names=tuple(names)):
                settings = [json.loads(self.podman("inspect", name).stdout)[0]["NetworkSettings"] for name in names]
                return [normalized(self.podman("exec", name, "sh", "-c", SCRIPT).stdout, own_addresses(of.get("Networks", {})))
                        for name, of in zip(names, settings)]
            with self.subTest(network=network):
                try:
                    wait_until(lambda tables=tables: (pair := tables())[0] == pair[1], "equal tables", harness.SETTLE_TIMEOUT_S)
                except AssertionError:
                    self.assertEqual(*tables())

    def test_service_manager(self):
        """Podman's conmon stands between the container and the manager, and passes on that the container is ready."""
        manager = ServiceManager(os.path.join(self.dir, "manager"))
        self.addCleanup(manager.close)
        self.environment["NOTIFY_SOCKET"] = os.path.join(self.dir, "manager")
        for runtime in ("runc", "kata"):
            with self.subTest(runtime=runtime):
                self.podman("run", "-d", "--name", runtime, *self.runtime_flags(runtime), "--network", "none",
                            "--sdnotify=container", IMAGE, "sh", "-c",
                            NOTIFY + "until [ -e /go ]; do sleep 0.1; done; notify STATUS=up; notify READY=1; exec sleep 1000")
                self.assertNotIn("READY=1", manager.messages)
                self.podman("exec", runtime, "touch", "/go")
                wait_until(lambda: "READY=1" in manager.messages, "the container to be ready", harness.COMMAND_TIMEOUT_S)
                messages = [message.split("=")[0] for message in manager.messages]
                manager.messages.clear()
                self.assertEqual(messages, ["MAINPID", "READY"])

    def test_network_none(self):
        self.assertEqual(self.podman_run("--network", "none", IMAGE, "ls", "/sys/class/net").stdout.split(), ["lo"])

    def test_refusals(self):
        self.podman_run("-d", "--name", "box", "--network", "none", IMAGE, "sleep", "1000")
        for kind, option in (("network", "--network"), ("pid", "--pid"), ("ipc", "--ipc")):
            network = () if kind == "network" else ("--network", "none")
            for value, text in (("host", f"host {kind} "),
                                ("container:box", f"the {kind} namespace of another container cannot be shared")):
                refused = self.podman_run(*network, option, value, IMAGE, "true", check=False)
                self.assertEqual(refused.returncode, 126, refused.stderr)
                self.assertIn(text, refused.stderr)

    def pods(self, *args, **options):
        return self.podman("--runtime", "kata", *args, **options).stdout

    def remove_pod(self, name):
        self.podman("pod", "stop", "--time", "0", name)
        # Its processes may still be ending, and keep their control groups busy.
        wait_until(lambda: self.podman("pod", "rm", "--force", "--time", "0", name, check=False).returncode == 0,
                   "the pod to be removed")

    def test_pod(self):
        self.pods("pod", "create", "--name", "pod", "--cgroup-parent", "/" + self.marker, "-p", "127.0.0.1:8080:80")
        self.pods("run", "-d", "--pod", "pod", "--name", "web", IMAGE, "sh", "-c",
                  "mkdir /w; echo hello > /w/index.html; echo shared > /dev/shm/file; exec httpd -f -p 80 -h /w")
        # Beside it, in the same virtual machine.
        script = "cat /dev/shm/file; hostname; until wget -q -O - http://127.0.0.1/; do sleep 0.1; done"
        beside = self.pods("run", "--rm", "--pod", "pod", IMAGE, "sh", "-c", script)
        self.assertEqual(beside.split(), ["shared", "pod", "hello"])
        self.assertEqual(len(self.machines()), 1)
        published = self.run_engine(self.inside("busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/"))
        self.assertEqual(published.stdout, "hello\n")
        # Exit codes and restarts of a container do not touch the others.
        self.assertEqual(self.podman("--runtime", "kata", "run", "--rm", "--pod", "pod", IMAGE, "sh", "-c",
                                     "exit 7", check=False).returncode, 7)
        missing = self.podman("--runtime", "kata", "run", "--rm", "--pod", "pod", IMAGE, "nosuch",
                              check=False)
        self.assertIn("executable file not found", missing.stderr)
        self.pods("restart", "--time", "0", "web")
        self.assertEqual(self.pods("exec", "web", "cat", "/dev/shm/file"), "shared\n")
        self.pods("pod", "stop", "--time", "0", "pod")
        wait_until(lambda: not self.machines(), "the virtual machine to end")
        self.pods("pod", "start", "pod")
        self.assertEqual(self.pods("exec", "web", "cat", "/w/index.html"), "hello\n")
        self.remove_pod("pod")

    def test_overlays_in_a_pod(self):
        """Those of a further container are mounted by the server that runs already, and go with the container."""
        volume = os.path.join(self.dir, "volume")
        os.mkdir(volume)
        self.pods("pod", "create", "--name", "pod", "--cgroup-parent", "/" + self.marker, "--network", "none")
        self.pods("run", "-d", "--pod", "pod", "--name", "stays", "-v", volume + ":/v:O", IMAGE, "sh", "-c",
                  "echo first > /v/file; exec sleep 1000")
        other = os.path.join(self.dir, "cid")
        later = self.pods("run", "--rm", "--cidfile", other, "--pod", "pod", "-v", volume + ":/v:O",
                          "--mount", f"type=image,source={IMAGE},destination=/image", IMAGE,
                          "sh", "-c", "ls -A /v; echo second > /v/file; cat /v/file; ls /image/bin/sh")
        self.assertEqual(later, "second\n/image/bin/sh\n")
        with open(other, encoding="utf-8") as f:
            container = f.read().strip()
        wait_until(lambda: not self.traces_of(container), "the traces of the container that has ended to go")
        self.assertEqual(self.pods("exec", "stays", "cat", "/v/file"), "first\n")
        self.assertEqual(os.listdir(volume), [])
        self.remove_pod("pod")

    def test_overlay_in_a_user_namespace(self):
        """Here runc's container would have to reach the directories with its own rights."""
        volume = os.path.join(self.dir, "volume")
        os.mkdir(volume)
        with open(os.path.join(volume, "file"), "w", encoding="utf-8") as f:
            f.write("host\n")
        for path in (volume, os.path.join(volume, "file")):
            os.chown(path, 10000, 10007)
        ids = "0:10000:5000"
        changed = self.podman_run("--network", "none", "--uidmap", ids, "--gidmap", ids, "-v", volume + ":/v:O", IMAGE, "sh", "-c",
                                  "stat -c %u:%g /v /v/file; echo more >> /v/file; cat /v/file; touch /v/new; ls /v")
        self.assertEqual(changed.stdout, "0:7\n0:7\nhost\nmore\nfile\nnew\n")
        self.assertEqual(os.listdir(volume), ["file"])

    def test_pod_with_one_pid_namespace(self):
        self.pods("pod", "create", "--name", "pod", "--cgroup-parent", "/" + self.marker, "--network", "none",
                  "--share", "ipc,net,pid")
        self.pods("run", "-d", "--pod", "pod", "--name", "stays", IMAGE, "sleep", "4242")
        # One that comes and goes sees it, and takes nothing along.
        for _ in range(2):
            processes = self.pods("run", "--rm", "--pod", "pod", IMAGE, "ps", "-o", "pid,args")
            self.assertIn("sleep 4242", processes)
        self.pods("rm", "--force", "--time", "0", "stays")
        self.assertNotIn("sleep 4242", self.pods("run", "--rm", "--pod", "pod", IMAGE, "ps", "-o", "pid,args"))
        self.remove_pod("pod")

    def test_pod_of_another_runtime(self):
        self.podman("--runtime", "runc", "pod", "create", "--name", "pod", "--cgroup-parent", "/" + self.marker)
        refused = self.podman("--runtime", "kata", "run", "--pod", "pod", IMAGE, "true", check=False)
        self.assertIn("create the pod with this runtime", refused.stderr)
        self.remove_pod("pod")

    def test_play_kube(self):
        path = os.path.join(self.dir, "pod.json")
        command = ["sh", "-c", "echo $NAME > /tmp/index.html; exec httpd -f -p $PORT -h /tmp"]
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": self.marker}, "spec": {"containers": [
                {"name": name, "image": IMAGE, "command": command,
                 "env": [{"name": "NAME", "value": name}, {"name": "PORT", "value": str(port)}]}
                for name, port in (("a", 81), ("b", 82))]}}, f)
        self.pods("play", "kube", path)
        self.assertEqual(len(self.machines()), 1)
        for client, server, port in (("a", "b", 82), ("b", "a", 81)):
            fetch = ("exec", f"{self.marker}-{client}", "wget", "-q", "-O", "-", f"http://127.0.0.1:{port}/")
            wait_until(lambda: self.podman(*fetch, check=False).stdout.strip() == server, f"{client} to reach {server}")
        self.pods("play", "kube", "--down", path)


class PodmanCni(IPv6, PodmanTest):
    """With the older way of setting networks up; it has no name server."""

    network_backend = "cni"

    def test_networks(self):
        self.podman_run("-d", "--name", "web", "-p", "127.0.0.1:8080:80", IMAGE, "sh", "-c",
                        "mkdir /w; echo hello > /w/index.html; exec httpd -f -p 80 -h /w")
        published = self.inside("busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/")
        wait_until(lambda: self.run_engine(published, check=False).stdout == "hello\n", "the published port")
        networks = json.loads(self.podman("inspect", "web").stdout)[0]["NetworkSettings"]["Networks"]
        inside = self.podman("exec", "web", "ip", "address").stdout
        address = networks[self.marker]["IPAddress"]
        self.assertIn(address, inside)
        self.podman("network", "create", self.marker + "-2")
        self.addCleanup(shutil.rmtree, f"/var/lib/cni/networks/{self.marker}-2", ignore_errors=True)
        fetch = ("wget", "-q", "-O", "-", f"http://{address}/")
        two = self.podman_run("--network", f"{self.marker},{self.marker}-2", IMAGE, "sh", "-c",
                              "ls /sys/class/net | grep -c eth; " + " ".join(fetch))
        self.assertEqual(two.stdout, "2\nhello\n")


if __name__ == "__main__":
    harness.main()
