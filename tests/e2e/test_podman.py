"""Podman with kata-runtime: what its users type."""

import json
import os

import harness
from engines import IMAGE, PodmanTest
from harness import wait_until


class Podman(PodmanTest):
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
        self.podman("stop", "box")

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
        self.serve("plain", "-p", "127.0.0.1:8080:80", "-p", "8081:81/udp")
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
        self.podman("run", "-d", "--name", "three", "--network", "red", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--cgroup-parent",
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

    def test_network_none(self):
        self.assertEqual(self.podman_run("--network", "none", IMAGE, "ls", "/sys/class/net").stdout.split(), ["lo"])


class PodmanCni(PodmanTest):
    """With the older way of setting networks up; it has no name server."""

    network_backend = "cni"

    def test_networks(self):
        self.podman("network", "create", "blue")
        self.podman_run("-d", "--name", "web", "--network", "podman,blue", "-p", "127.0.0.1:8080:80", IMAGE, "sh", "-c",
                        "mkdir /w; echo hello > /w/index.html; exec httpd -f -p 80 -h /w")
        published = self.inside("busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/")
        wait_until(lambda: self.run_engine(published, check=False).stdout == "hello\n", "the published port")
        networks = json.loads(self.podman("inspect", "web").stdout)[0]["NetworkSettings"]["Networks"]
        inside = self.podman("exec", "web", "ip", "address").stdout
        for settings in networks.values():
            self.assertIn(settings["IPAddress"], inside)
        fetch = ("wget", "-q", "-O", "-", f"http://{networks['blue']['IPAddress']}/")
        self.assertEqual(self.podman_run("--network", "blue", IMAGE, *fetch).stdout, "hello\n")


if __name__ == "__main__":
    harness.main()
