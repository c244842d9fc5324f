"""Docker with kata-runtime as a runtime: what differs from runc. What does not is in test_parity."""

import fcntl
import json
import os
import subprocess

import harness
from engine_cases import Containers, Statistics
from engines import DockerTest, IMAGE
from harness import wait_until
from network_tables import own_addresses, normalized, SCRIPT


class Networks(Containers):
    def networks_of(self, name):
        return json.loads(self.docker("inspect", name).stdout)[0]["NetworkSettings"]["Networks"]

    def serve(self, name, runtime, *options):
        """A container that answers with its name over HTTP."""
        self.docker("run", "-d", "--name", name, "--runtime", runtime, *options, IMAGE, "sh", "-c",
                    f"mkdir /w; echo {name} > /w/index.html; exec httpd -f -p 80 -h /w")

    def assert_fetches(self, client, url, expected):
        self.assert_answers(self.engine_command(("exec", client, "wget", "-q", "-O", "-", url)), f"'{client}' to fetch {url}",
                            expected)

    def assert_all_fetch(self, network, address, url):
        """Each of these containers from itself and the others."""
        urls = {name: url.format(self.networks_of(name)[network][address]) for name in ("one", "two", "three")}
        for client in urls:
            for server in urls:
                self.assert_fetches(client, urls[server], server)

    def assert_published(self, url, expected):
        self.assert_answers(self.inside("busybox", "wget", "-q", "-O", "-", url), f"an answer at {url}", expected)

    def assert_answers(self, command, what, expected):
        wait_until(lambda: self.run_engine(command, check=False).stdout == expected + "\n", what, harness.COMMAND_TIMEOUT_S)

    def test_run(self):
        # A kernel of its own, in a machine as large as the container's limits ask for; 256 MiB and one processor without.
        script = "uname -r; awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo; nproc"
        kernel, memory, processors = self.docker_run(
            "--network", "none", "--memory", "400m", "--cpus", "2", IMAGE, "sh", "-c", script).stdout.split()
        self.assertNotEqual(kernel, os.uname().release)
        self.assertTrue(400 < int(memory) < 470, memory)
        self.assertEqual(processors, "2")

    def test_interfaces_run_from_the_start(self):
        """A program that asks for running ones, as Java's do, finds them however early it asks."""
        for _ in range(3):
            self.assertEqual(self.docker_run(IMAGE, "cat", "/sys/class/net/eth0/operstate").stdout, "up\n")

    def test_networks(self):
        self.docker("network", "create", "--ipv6", "--subnet", "fd00:5::/64", "blue")
        self.docker("run", "-d", "--name", "web", "--runtime", "kata", "--network", "blue", "-p", "127.0.0.1:8080:80", IMAGE,
                    "sh", "-c", "mkdir /w; echo hello > /w/index.html; httpd -f -p 80 -h /w")
        settings = json.loads(self.docker("inspect", "web").stdout)[0]["NetworkSettings"]["Networks"]["blue"]
        inside = self.docker("exec", "web", "ip", "addr", "show", "dev", "eth0").stdout
        for value in (settings["IPAddress"], settings["GlobalIPv6Address"], settings["MacAddress"], "mtu 1500"):
            self.assertIn(value, inside)
        # From a container under runc, from one in a virtual machine, and through the published port.
        fetch = ("wget", "-q", "-O", "-", f"http://{settings['IPAddress']}/")
        self.assertEqual(self.docker("run", "--rm", "--network", "blue", IMAGE, *fetch).stdout, "hello\n")
        self.assertEqual(self.docker_run("--network", "blue", IMAGE, *fetch).stdout, "hello\n")
        self.assertEqual(self.fetch("127.0.0.1:8080"), "hello\n")
        # A network that comes while the container runs.
        self.docker("network", "create", "red")
        self.docker("network", "connect", "red", "web")
        address = json.loads(self.docker("inspect", "web").stdout)[0]["NetworkSettings"]["Networks"]["red"]["IPAddress"]
        wait_until(lambda: address in self.docker("exec", "web", "ip", "addr").stdout, "the second network's address")
        self.docker("network", "disconnect", "blue", "web")
        wait_until(lambda: "eth0" not in self.docker("exec", "web", "ip", "addr").stdout, "the first network to go")
        self.docker("network", "disconnect", "red", "web")
        wait_until(lambda: address not in self.docker("exec", "web", "ip", "addr").stdout, "the second network to go")

    def test_tables_are_those_under_runc(self):
        self.docker("network", "create", "blue")
        self.docker("network", "create", "--ipv6", "--subnet", "fd00:6::/64", "six")
        for network in ("bridge", "blue", "six", "none"):
            for runtime in ("runc", "kata"):
                self.docker("run", "-d", "--name", runtime + "-" + network, "--runtime", runtime, "--network", network, IMAGE,
                            "sleep", "1000")

            def tables(network=network):
                return [normalized(self.docker("exec", name, "sh", "-c", SCRIPT).stdout, own_addresses(self.networks_of(name)))
                        for name in ("runc-" + network, "kata-" + network)]
            with self.subTest(network=network):
                self.assert_same(tables)
        # A second network, with IPv6 beside one without.
        for runtime in ("runc", "kata"):
            self.docker("network", "connect", "six", runtime + "-blue")
        with self.subTest(network="two"):
            self.assert_same(tables, "blue")
        self.docker("rm", "--force", *self.docker("ps", "-aq").stdout.split())

    def assert_same(self, tables, *args):
        try:
            wait_until(lambda: (pair := tables(*args))[0] == pair[1], "equal tables", harness.SETTLE_TIMEOUT_S)
        except AssertionError:
            self.assertEqual(*tables(*args))

    def test_traffic_on_the_default_bridge(self):
        for name, runtime in (("one", "kata"), ("two", "runc"), ("three", "kata")):
            self.serve(name, runtime, *(("-p", "127.0.0.1:8085:80") if name == "three" else ()))
        self.assert_all_fetch("bridge", "IPAddress", "http://{}/")
        self.assert_published("http://127.0.0.1:8085/", "three")

    def test_traffic_over_ipv6(self):
        self.docker("network", "create", "--ipv6", "--subnet", "fd00:6::/64", "six")
        self.serve("one", "kata", "--network", "six", "-p", "[::1]:8080:80")
        self.serve("two", "runc", "--network", "six")
        self.serve("three", "kata", "--network", "six")
        self.assert_all_fetch("six", "GlobalIPv6Address", "http://[{}]/")
        self.assert_published("http://[::1]:8080/", "one")

    def test_names_after_a_network_has_gone_and_come(self):
        self.docker("network", "create", "green")
        self.docker("network", "create", "other")
        for name, runtime in (("one", "kata"), ("two", "runc")):
            self.serve(name, runtime, "--network", "green", "--dns", "127.0.0.1")
        look_up = self.engine_command(("exec", "one", "getent", "ahostsv4", "two"))
        wait_until(lambda: self.run_engine(look_up, check=False).returncode == 0, "the name", harness.COMMAND_TIMEOUT_S)
        self.docker("network", "disconnect", "green", "one")
        self.assertNotEqual(self.run_engine(look_up, check=False).returncode, 0)
        self.docker("network", "connect", "--alias", "first", "green", "one")
        wait_until(lambda: self.run_engine(look_up, check=False).returncode == 0, "the name again", harness.COMMAND_TIMEOUT_S)
        self.assert_fetches("two", "http://first/", "one")

    def test_a_driver_that_cannot_be_joined(self):
        self.write_configuration(runtime='internetworking_model = "macvtap"')
        for command in (("add", "lower", "type", "veth", "peer", "name", "far"), ("set", "lower", "up"), ("set", "far", "up")):
            subprocess.run(["ip", "-n", self.namespace, "link", *command], check=True)
        self.docker("network", "create", "--driver", "macvlan", "--subnet", "192.0.2.0/24", "--opt", "parent=lower", "lan")
        refused = self.docker("run", "--name", "box", "--runtime", "kata", "--network", "lan", IMAGE, "true", check=False)
        self.assertEqual(refused.returncode, 125, refused.stderr)
        self.assertIn("join interface 'eth0': a macvlan interface cannot carry a macvtap device", refused.stderr)
        self.docker("rm", "box")

    def test_drivers_and_ports_for_datagrams(self):
        self.docker("network", "create", "--opt", "com.docker.network.driver.mtu=1300", "bridged")
        # Children of a device that has a far end, as a cable. Docker publishes ports in the network that it takes the
        # default route from: the first by name.
        for command in (("add", "lower", "type", "veth", "peer", "name", "far"), ("set", "lower", "up"), ("set", "far", "up")):
            subprocess.run(["ip", "-n", self.namespace, "link", *command], check=True)
        self.docker("network", "create", "--driver", "macvlan", "--subnet", "192.0.2.0/24", "--opt", "parent=lower", "lan")
        self.docker("run", "-d", "--name", "plain", "--network", "lan", "--ip", "192.0.2.10", IMAGE, "sh", "-c",
                    "mkdir /w; echo hello > /w/index.html; exec httpd -f -p 80 -h /w")
        answer = ('socket(S, 2, 2, 17) && bind(S, pack("Snx12", 2, 81)) or die;'
                  'while ($peer = recv(S, $data, 99, 0)) { send(S, "got $data", 0, $peer) }')
        self.docker("create", "--name", "box", "--runtime", "kata", "--network", "bridged", "-p", "127.0.0.1:8081:81/udp", IMAGE,
                    "perl", "-e", answer)
        self.docker("network", "connect", "--ip", "192.0.2.11", "lan", "box")
        self.docker("start", "box")
        sizes = self.docker("exec", "box", "sh", "-c", "cat /sys/class/net/*/mtu").stdout.split()
        self.assertEqual(sorted(sizes), ["1300", "1500", "65536"])
        page = self.docker("exec", "box", "wget", "-q", "-O", "-", "http://192.0.2.10/")
        self.assertEqual(page.stdout, "hello\n")
        self.assertIn(" 0% packet loss", self.docker("exec", "plain", "ping", "-c", "2", "-W", "30", "192.0.2.11").stdout)
        ask = ("import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(1); s.connect(('127.0.0.1', 8081));"
               "s.send(b'x'); print(s.recv(99).decode())")
        wait_until(lambda: self.run_engine(self.inside("python3", "-c", ask), check=False).stdout == "got x\n",
                   "the published datagram port", harness.COMMAND_TIMEOUT_S)

    def test_names_between_containers(self):
        """Docker's name server listens on the host's side of the container's network namespace."""
        self.docker("network", "create", "green")
        for name, runtime in (("one", "kata"), ("two", "kata"), ("three", "runc")):
            # The second comes to the network only while it runs. Nobody serves at the outside name server.
            self.docker("run", "-d", "--name", name, "--runtime", runtime, "--dns", "127.0.0.1",
                        *(() if name == "two" else ("--network", "green", "--network-alias", "alias-" + name)), IMAGE,
                        "sh", "-c", f"mkdir /w; echo {name} > /w/index.html; exec httpd -f -p 80 -h /w")
        self.docker("network", "connect", "--alias", "alias-two", "green", "two")
        fetch = 'wget -q -O - http://$(getent ahostsv4 $0 | head -n 1 | cut -d " " -f 1)/'
        for client in ("one", "two", "three"):
            for server in ("one", "two", "three"):
                for name in (server, "alias-" + server):
                    wait_until(lambda: self.docker("exec", client, "sh", "-c", fetch, name, check=False).stdout.strip()
                               == server, f"{client} to reach {name}", harness.COMMAND_TIMEOUT_S)
        lookup = ("getent", "ahostsv4", "three")
        expected = self.docker("exec", "three", *lookup).stdout
        self.assertEqual(self.docker("exec", "-e", "RES_OPTIONS=use-vc", "one", *lookup).stdout, expected)
        # The port stays free for a server of the container's own.
        self.docker("exec", "-d", "one", "nc", "-ll", "-p", "53", "-e", "echo", "own")
        wait_until(lambda: self.docker("exec", "three", "nc", "one", "53", check=False).stdout == "own\n", "port 53")
        self.assertEqual(self.docker("exec", "-e", "RES_OPTIONS=use-vc", "one", *lookup).stdout, expected)
        for client in ("three", "one"):
            outside = self.docker("exec", client, "getent", "ahostsv4", "name.example", check=False)
            self.assertEqual((outside.returncode, outside.stdout), (2, ""), outside.stderr)

    def test_namespaces_of_the_host_are_refused(self):
        for kind, option in (("network", "--network"), ("pid", "--pid"), ("ipc", "--ipc")):
            network = () if kind == "network" else ("--network", "none")
            refused = self.docker_run(*network, option, "host", IMAGE, "true", check=False)
            self.assertEqual(refused.returncode, 125, refused.stderr)
            self.assertIn(f"host {kind} ", refused.stderr)
        # What another container has: of either runtime.
        for runtime in ("kata", "runc"):
            self.docker("run", "-d", "--name", runtime + "-box", "--runtime", runtime, "--network", "none", "--ipc",
                        "shareable", IMAGE, "sleep", "1000")
            for kind, option in (("network", "--network"), ("pid", "--pid"), ("ipc", "--ipc")):
                network = () if kind == "network" else ("--network", "none")
                refused = self.docker_run(*network, option, f"container:{runtime}-box", IMAGE, "true", check=False)
                self.assertEqual(refused.returncode, 125, refused.stderr)
                self.assertIn(f"the {kind} namespace of another container cannot be shared", refused.stderr)


class Docker(Networks, Statistics, DockerTest):
    pass


class DockerWithLocks(DockerTest):
    """As docs/docker.md says: with an option of QEMU's virtiofsd locks hold beyond the container, if they do not wait."""

    def write_configuration(self, **settings):
        super().write_configuration(**{"virtiofsd": "/usr/lib/qemu/virtiofsd",
                                       "hypervisor": 'virtio_fs_extra_args = ["-o", "flock"]', **settings})

    def test_locks_of_the_host(self):
        path = os.path.join(self.dir, "lock")
        take = ("perl", "-e", 'open F, ">", "/lock" or die; foreach (6, 2) { print flock(F, $_) ? "taken" : "$!", "\n" }')

        def in_container():
            return self.docker_run("--network", "none", "-v", path + ":/lock", IMAGE, *take).stdout.splitlines()
        with open(path, "w", encoding="utf-8") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            self.assertEqual(in_container(), ["Resource temporarily unavailable", "Operation not supported"])
        self.assertEqual(in_container(), ["taken", "Operation not supported"])


if __name__ == "__main__":
    harness.main()
