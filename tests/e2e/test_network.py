"""Networks: the interfaces of a namespace, plugged into the guest, also while it runs."""

import json
import os
import subprocess

import harness
from harness import KataTest, wait_until
from network_tables import SCRIPT, normalized

MAC = "02:00:5e:10:00:0a"
SECOND_MAC = "02:00:5e:10:00:0b"


# Namespace and name of a tap, twice: frames go to and fro.
CARRIER = """
import ctypes, fcntl, os, select, struct, sys
CLONE_NEWNET, TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x40000000, 0x400454ca, 2, 0x1000
def tap(namespace, name):
    with open(namespace) as f:
        if ctypes.CDLL(None).setns(f.fileno(), CLONE_NEWNET) != 0:
            sys.exit("setns")
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return fd
one, two = tap(*sys.argv[1:3]), tap(*sys.argv[3:])
print("ready", flush=True)
while True:
    for fd in select.select([one, two], [], [])[0]:
        try:
            os.write(two if fd == one else one, os.read(fd, 65536))
        except OSError:  # the other is not up yet
            pass
"""


class NetworkTest(KataTest):
    """A network namespace for the container and one for its peer, with a veth pair between them."""

    def setUp(self):
        super().setUp()
        self.namespace = self.add_namespace("c")
        self.peer = self.add_namespace("p")
        self.add_interface("eth0", MAC, "192.0.2.{}", "2001:db8::{:x}", mtu=1400)
        self.ip(self.namespace, "route", "add", "default", "via", "192.0.2.1")
        self.ip(self.namespace, "-6", "route", "add", "default", "via", "2001:db8::1")

    def add_namespace(self, name):
        name = f"{self.marker}-{name}"
        self.network_namespace(name)
        return f"/run/netns/{name}"

    def inside(self, namespace, *command, **options):
        """Runs a command in a network namespace."""
        return subprocess.run(["nsenter", "--net=" + namespace, *command], text=True, timeout=harness.COMMAND_TIMEOUT_S,
                              **{"check": True, "stdout": subprocess.PIPE, **options}).stdout

    def ip(self, namespace, *args):
        return self.inside(namespace, "ip", *args)

    def add_interface(self, name, mac, v4, v6, mtu=1500, before=lambda: None):
        """`name` in the container's namespace as .10, its other end in the peer's as .1. `before` it gets its addresses."""
        other = "p" + name
        self.ip(self.peer, "link", "add", other, "mtu", str(mtu), "type", "veth", "peer", "name", name, "mtu", str(mtu),
                "address", mac, "netns", os.path.basename(self.namespace))
        before()
        self.set_up(name, v4, v6)

    def set_up(self, name, v4, v6):
        """Addresses of an interface and of its other end."""
        other = "p" + name
        for namespace, link, number in ((self.peer, other, 1), (self.namespace, name, 10)):
            self.ip(namespace, "address", "add", v4.format(number) + "/24", "dev", link)
            self.ip(namespace, "address", "add", v6.format(number) + "/64", "dev", link, "nodad")
            self.ip(namespace, "link", "set", link, "up")

    def replace_by_child(self, kind):
        """eth0 and its other end become children of a device that lies in the peer's namespace."""
        self.ip(self.namespace, "link", "delete", "eth0")
        self.ip(self.peer, "link", "add", "lower", "type", "veth", "peer", "name", "far")
        for link in ("lower", "far"):
            self.ip(self.peer, "link", "set", link, "up")
        for link in ("peth0", "eth0"):
            self.ip(self.peer, "link", "add", "link", "lower", "name", link, "type", *kind)
        self.ip(self.peer, "link", "set", "eth0", "netns", os.path.basename(self.namespace))
        self.set_up("eth0", "192.0.2.{}", "2001:db8::{:x}")

    def replace_by_tap(self):
        """A program carries packets between eth0, a tap, and the peer, as Podman's slirp4netns does."""
        self.ip(self.namespace, "link", "delete", "eth0")
        carrier = subprocess.Popen(["python3", "-c", CARRIER, self.namespace, "eth0", self.peer, "peth0"],
                                   stdout=subprocess.PIPE, text=True)
        self.addCleanup(carrier.communicate)
        self.addCleanup(carrier.kill)
        self.assertEqual(carrier.stdout.readline(), "ready\n")
        self.set_up("eth0", "192.0.2.{}", "2001:db8::{:x}")

    def network_bundle(self, *args):
        bundle = self.bundle(*args)
        for entry in bundle.config["linux"]["namespaces"]:
            if entry["type"] == "network":
                entry["path"] = self.namespace
        bundle.config["process"]["capabilities"]["bounding"].append("CAP_NET_RAW")
        bundle.config["process"]["capabilities"]["effective"].append("CAP_NET_RAW")
        bundle.config["process"]["capabilities"]["permitted"].append("CAP_NET_RAW")
        bundle.write()
        return bundle

    def start(self, *args):
        container_id = self.create(self.network_bundle(*args))
        self.kata("start", container_id)
        return container_id

    def guest(self, container_id, *command, check=True):
        return self.kata("exec", container_id, *command, check=check)

    def links(self):
        return {l["ifname"] for l in json.loads(self.ip(self.namespace, "-j", "link"))}

    def assert_nothing_left_in_namespace(self, expected):
        wait_until(lambda: self.links() == expected, f"the links to be {expected}, not {self.links()}")
        for link in expected - {"lo"}:
            self.assertNotIn("ingress", self.inside(self.namespace, "tc", "qdisc", "show", "dev", link))

    def serve(self, namespace, *address):
        """An HTTP server in a namespace that answers with its file."""
        directory = os.path.join(self.dir, "www")
        os.makedirs(directory, exist_ok=True)
        with open(os.path.join(directory, "file"), "w", encoding="utf-8") as f:
            f.write("served\n")
        server = subprocess.Popen(["nsenter", "--net=" + namespace, "python3", "-m", "http.server", "--directory",
                                   directory, "8080", *address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        wait_until(lambda: ":8080" in self.inside(namespace, "ss", "-tln"), "the server to listen")

    def kill_and_delete(self, container_id):
        self.kata("kill", container_id, "KILL")
        self.wait_status(container_id, "stopped")
        self.kata("delete", container_id)

    def check_traffic(self, queues=1):
        self.serve(self.peer, "--bind", "::")
        container_id = self.start("sh", "-c", "mkdir /www; echo guest > /www/file; exec httpd -f -p 80 -h /www")
        self.assertEqual(self.guest(container_id, "ls", "/sys/class/net/eth0/queues").stdout.split(),
                         [f"{kind}-{number}" for kind in ("rx", "tx") for number in range(queues)])
        self.assertEqual(self.guest(container_id, "wget", "-qO-", "http://192.0.2.1:8080/file").stdout, "served\n")
        self.assertEqual(self.guest(container_id, "wget", "-qO-", "http://[2001:db8::1]:8080/file").stdout, "served\n")
        for address in ("192.0.2.1", "2001:db8::1"):
            self.guest(container_id, "ping", "-c", "2", "-W", "30", address)
        for address in ("192.0.2.10", "2001:db8::a"):
            self.inside(self.peer, "busybox", "ping", "-c", "2", "-W", "30", address)
        for address in ("192.0.2.10", "[2001:db8::a]"):
            self.assertEqual(self.inside(self.peer, "curl", "-sS", "-m", "60", f"http://{address}/file"), "guest\n")
        self.kill_and_delete(container_id)
        self.assert_nothing_left_in_namespace({"lo", "eth0"})


class Network(NetworkTest):
    def test_guest_has_what_ip_shows(self):
        self.ip(self.namespace, "route", "add", "198.51.100.0/24", "via", "192.0.2.7")
        self.ip(self.namespace, "neighbour", "add", "192.0.2.7", "lladdr", "02:00:5e:10:00:77", "dev", "eth0")
        container_id = self.start("sleep", "1000")
        shown = self.guest(container_id, "ip", "address", "show", "eth0").stdout
        for text in ("mtu 1400", MAC, "192.0.2.10/24", "2001:db8::a/64"):
            self.assertIn(text, shown)
        routes = self.guest(container_id, "ip", "route").stdout
        for text in ("default via 192.0.2.1 dev eth0", "198.51.100.0/24 via 192.0.2.7", "192.0.2.0/24 dev eth0"):
            self.assertIn(text, routes)
        self.assertIn("default via 2001:db8::1", self.guest(container_id, "ip", "-6", "route").stdout)
        neighbours = self.guest(container_id, "ip", "neigh").stdout
        self.assertIn("02:00:5e:10:00:77", neighbours)
        self.assertIn("PERMANENT", neighbours)
        self.assertIn("tap0_kata", self.links())
        self.kill_and_delete(container_id)
        self.assert_nothing_left_in_namespace({"lo", "eth0"})

    def sysctl(self, name, value):
        self.inside(self.namespace, "sh", "-c", f"echo {value} > /proc/sys/net/ipv6/conf/{name}")

    def set_loopback_up(self):
        """As engines do; the guest's always is."""
        self.ip(self.namespace, "link", "set", "lo", "up")

    def assert_tables_are_those_of_the_namespace(self, container_id):
        own = [link for link in self.links() if link.endswith("_kata")]

        def tables():
            lines = self.inside(self.namespace, "busybox", "sh", "-c", SCRIPT).splitlines()
            expected = normalized("\n".join(line for line in lines if not any(name in line for name in own)))
            return expected, normalized(self.guest(container_id, "sh", "-c", SCRIPT).stdout)
        try:
            wait_until(lambda: (pair := tables())[0] == pair[1], "the guest's tables", harness.COMMAND_TIMEOUT_S)
        except AssertionError:
            self.assertEqual(*tables())

    def test_tables_are_those_of_the_namespace(self):
        self.set_loopback_up()
        self.ip(self.namespace, "address", "add", "203.0.113.9/24", "brd", "+", "dev", "eth0")
        self.ip(self.namespace, "route", "add", "default", "via", "192.0.2.2", "metric", "100")
        self.ip(self.namespace, "route", "add", "198.51.100.0/24", "via", "192.0.2.7", "metric", "10", "mtu", "1300")
        self.ip(self.namespace, "route", "append", "198.51.100.0/24", "via", "192.0.2.8", "metric", "10")
        self.ip(self.namespace, "route", "add", "198.51.100.0/24", "via", "192.0.2.9", "metric", "20", "proto", "static")
        self.ip(self.namespace, "-6", "route", "add", "2001:db8:7::/48", "via", "2001:db8::7", "metric", "7")
        self.sysctl("eth0/accept_ra", 0)
        self.sysctl("default/autoconf", 0)
        container_id = self.start("sleep", "1000")
        self.assert_tables_are_those_of_the_namespace(container_id)
        self.ip(self.namespace, "route", "delete", "198.51.100.0/24", "via", "192.0.2.7")
        self.ip(self.namespace, "route", "add", "198.51.100.0/24", "via", "192.0.2.6", "metric", "5")
        self.assert_tables_are_those_of_the_namespace(container_id)
        self.kill_and_delete(container_id)

    def test_ipv6_is_off_where_it_is_off_in_the_namespace(self):
        self.sysctl("all/disable_ipv6", 1)
        self.set_loopback_up()
        container_id = self.start("sleep", "1000")
        self.assertEqual(self.guest(container_id, "ip", "-6", "address").stdout, "")
        self.assert_tables_are_those_of_the_namespace(container_id)
        # One that has it beside one that does not, as Docker has it, with loopback.
        self.add_interface("eth1", SECOND_MAC, "198.51.100.{}", "2001:db8:1::{:x}", before=lambda: (
            self.sysctl("eth1/disable_ipv6", 0), self.sysctl("eth1/accept_ra", 0), self.sysctl("lo/disable_ipv6", 0)))
        wait_until(lambda: "2001:db8:1::a/64" in self.guest(container_id, "ip", "-6", "address").stdout, "eth1 to come",
                   harness.COMMAND_TIMEOUT_S)
        self.assert_tables_are_those_of_the_namespace(container_id)
        self.guest(container_id, "ping", "-c", "2", "-W", "30", "2001:db8:1::1")
        self.kill_and_delete(container_id)

    def test_more_networks_than_can_be_plugged_in(self):
        ports = 4
        container_id = self.create(self.network_bundle("sleep", "1000"))
        for number in range(1, ports + 2):
            self.add_interface(f"eth{number}", f"02:00:5e:10:01:{number:02x}", f"10.0.{number}.{{}}",
                               f"2001:db8:{number}::{{:x}}")
        refused = self.kata("start", container_id, check=False)
        self.assert_one_line_error(refused, f"interface 'eth{ports + 1}'", "no free pci port")
        self.wait_status(container_id, "created")
        # The port of one that goes is the next one's.
        self.ip(self.namespace, "link", "delete", "eth1")
        self.kata("start", container_id)
        self.assertIn(f"10.0.{ports + 1}.10/24", self.guest(container_id, "ip", "address").stdout)
        self.guest(container_id, "ping", "-c", "2", "-W", "30", f"10.0.{ports + 1}.1")
        self.kill_and_delete(container_id)

    def test_traffic_both_ways(self):
        self.check_traffic()

    def test_macvtap(self):
        self.write_configuration(runtime='internetworking_model = "macvtap"')
        self.check_traffic()

    def test_macvlan(self):
        self.replace_by_child(["macvlan", "mode", "bridge"])
        self.check_traffic()

    def test_tap(self):
        self.replace_by_tap()
        self.check_traffic()

    def test_several_queues(self):
        self.write_configuration(hypervisor="default_vcpus = 2\ndisable_vhost_net = true")
        self.check_traffic(queues=2)

    def test_model_none(self):
        self.write_configuration(runtime='internetworking_model = "none"')
        result = self.run_container(bundle=self.network_bundle("ls", "/sys/class/net"))
        self.assertNotIn("eth0", result.stdout)
        self.assert_nothing_left_in_namespace({"lo", "eth0"})

    def test_interfaces_come_and_go(self):
        container_id = self.create(self.network_bundle("sleep", "1000"))
        # Between create and start: it is there when the process begins.
        self.add_interface("eth1", SECOND_MAC, "198.51.100.{}", "2001:db8:1::{:x}")
        self.kata("start", container_id)
        shown = self.guest(container_id, "ip", "address", "show", "eth1").stdout
        for text in (SECOND_MAC, "198.51.100.10/24", "2001:db8:1::a/64"):
            self.assertIn(text, shown)
        self.guest(container_id, "ping", "-c", "2", "-W", "30", "198.51.100.1")
        self.ip(self.namespace, "link", "delete", "eth1")
        wait_until(lambda: "eth1" not in self.guest(container_id, "ls", "/sys/class/net").stdout, "eth1 to go",
                   harness.COMMAND_TIMEOUT_S)
        self.guest(container_id, "ping", "-c", "2", "-W", "30", "192.0.2.1")
        # While it runs.
        self.add_interface("eth2", SECOND_MAC, "203.0.113.{}", "2001:db8:2::{:x}")
        wait_until(lambda: "203.0.113.10/24" in self.guest(container_id, "ip", "address").stdout, "eth2 to come",
                   harness.COMMAND_TIMEOUT_S)
        self.guest(container_id, "ping", "-c", "2", "-W", "30", "203.0.113.1")
        # A later address of an interface that is there.
        self.ip(self.namespace, "address", "add", "192.0.2.11/24", "dev", "eth0")
        wait_until(lambda: "192.0.2.11/24" in self.guest(container_id, "ip", "address").stdout, "the address to come",
                   harness.COMMAND_TIMEOUT_S)
        self.assertIn("default via 192.0.2.1 ", self.guest(container_id, "ip", "route").stdout)
        # One that the machine was started with.
        self.ip(self.namespace, "link", "delete", "eth0")
        wait_until(lambda: "eth0" not in self.guest(container_id, "ls", "/sys/class/net").stdout, "eth0 to go",
                   harness.COMMAND_TIMEOUT_S)
        self.kill_and_delete(container_id)
        self.assert_nothing_left_in_namespace({"lo", "eth2"})

    def test_interface_that_cannot_be_joined(self):
        self.inside(self.namespace, "tc", "qdisc", "add", "dev", "eth0", "ingress")
        self.addCleanup(self.inside, self.namespace, "tc", "qdisc", "delete", "dev", "eth0", "ingress")
        result = self.run_container(bundle=self.network_bundle("true"), check=False)
        self.assert_one_line_error(result, "interface 'eth0'", "ingress qdisc")
        self.assertEqual(self.links(), {"lo", "eth0"})

    def test_driver_that_cannot_be_joined(self):
        self.ip(self.namespace, "tuntap", "add", "tun0", "mode", "tun")
        # Those that are down are nobody's.
        self.run_container(bundle=self.network_bundle("true"))
        container_id = self.start("sleep", "1000")
        self.ip(self.namespace, "link", "set", "tun0", "up")

        def told():
            with open(os.path.join(self.dir, "log.json"), encoding="utf-8") as f:
                return "interface 'tun0': only Ethernet can be passed on" in f.read()
        wait_until(told, "the log to name the interface that came while the container runs")
        self.guest(container_id, "ping", "-c", "2", "-W", "30", "192.0.2.1")
        self.kill_and_delete(container_id)
        result = self.run_container(bundle=self.network_bundle("true"), check=False)
        self.assert_one_line_error(result, "interface 'tun0'", "only Ethernet can be passed on to a VM (tun)")
        self.assert_nothing_left_in_namespace({"lo", "eth0", "tun0"})

    def test_macvtap_cannot_lie_on_a_macvlan(self):
        self.replace_by_child(["macvlan", "mode", "bridge"])
        self.write_configuration(runtime='internetworking_model = "macvtap"')
        result = self.run_container(bundle=self.network_bundle("true"), check=False)
        self.assert_one_line_error(result, "interface 'eth0'", "macvlan", "tcfilter")
        self.assert_nothing_left_in_namespace({"lo", "eth0"})

    def test_host_network_is_refused(self):
        bundle = self.network_bundle("true")
        for entry in bundle.config["linux"]["namespaces"]:
            if entry["type"] == "network":
                entry["path"] = "/proc/self/ns/net"
        bundle.write()
        self.assert_one_line_error(self.run_container(bundle=bundle, check=False), "host network", "publish ports")


if __name__ == "__main__":
    harness.main()
