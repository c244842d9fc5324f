"""Docker under kata and under runc: a container's start to end, a command in one, and a web server behind a published port,
asked for a small page over connections that are kept.

The client of the web server has a network namespace of its own, so that what it sends takes the way of a machine outside: the
address translation of Docker, not its proxy.
"""

import contextlib
import os
import re
import subprocess
import tarfile

import harness
from debian_tree import debian_tree
from engines import DockerTest, IMAGE
from figures import print_heading, print_ratio, print_row, take_turns, timed

RUNTIMES = ("runc", "kata")
WEB_IMAGE = "localhost/nginx"
ADDRESS, CLIENT_ADDRESS = "192.0.2.1", "192.0.2.2"
CONNECTIONS = 8
SECONDS = 3
PAGE = b"x" * 1024
SETTINGS = b"""
worker_processes auto;
daemon off;
error_log stderr;
events {}
http {
  access_log off;
  keepalive_requests 1000000000;
  server { listen 80; root /www; }
}
"""


class Engine(DockerTest):
    """dockerd, here without a test around it, and a client's network beside it."""

    def runTest(self):
        raise NotImplementedError

    def setUp(self):
        super().setUp()
        self.client = self.marker + "-client"
        ip = ("ip", "-n", self.namespace)
        for command in (("ip", "netns", "add", self.client), (*ip, "link", "add", "out", "type", "veth", "peer", "name",
                                                              "eth0", "netns", self.client),
                        (*ip, "address", "add", ADDRESS + "/24", "dev", "out"), (*ip, "link", "set", "out", "up"),
                        ("ip", "-n", self.client, "address", "add", CLIENT_ADDRESS + "/24", "dev", "eth0"),
                        ("ip", "-n", self.client, "link", "set", "eth0", "up")):
            subprocess.run(command, check=True)
        self.addCleanup(subprocess.run, ["ip", "netns", "delete", self.client], check=True)

    def timed(self, *args):
        return timed(self.engine_command(args), env=self.environment)

    def import_web_server(self):
        tree = debian_tree(["nginx", "base-passwd"])
        settings, page = (os.path.join(self.dir, name) for name in ("nginx.conf", "page"))
        for path, content in ((settings, SETTINGS), (page, PAGE)):
            with open(path, "wb") as f:
                f.write(content)
        archive = os.path.join(self.dir, "nginx.tar")
        with tarfile.open(archive, "w") as tar:
            tar.add(tree, ".", filter=lambda entry: None if entry.name == "./etc/nginx/nginx.conf" else entry)
            tar.add(settings, "./etc/nginx/nginx.conf")
            tar.add(page, "./www/page")
        self.docker("import", archive, WEB_IMAGE)

    def from_client(self, *command):
        return ["nsenter", "--net=/run/netns/" + self.client, *command]

    def answers(self, port):
        command = self.from_client("busybox", "wget", "-q", "-O", "-", f"http://{ADDRESS}:{port}/page")
        return subprocess.run(command, capture_output=True, check=False,
                              timeout=harness.COMMAND_TIMEOUT_S).stdout == PAGE

    def load(self, port):
        """(requests per second, p50 and p99 of the latency in ms) over connections that are kept."""
        command = self.from_client("chroot", debian_tree(["wrk", "base-passwd"]), "wrk", "--latency", "--threads", "1",
                                   "--connections", str(CONNECTIONS), "--duration", f"{SECONDS}s",
                                   f"http://{ADDRESS}:{port}/page")
        out = subprocess.run(command, check=True, capture_output=True, text=True, timeout=harness.COMMAND_TIMEOUT_S).stdout
        if "Non-2xx" in out or "Socket errors" in out:
            raise RuntimeError("the web server fails: " + out)
        units = {"us": 1e-3, "ms": 1, "s": 1e3}
        latency = {percent: float(value) * units[unit]
                   for percent, value, unit in re.findall(r"^ +(50|99)% +([\d.]+)(us|ms|s)$", out, re.MULTILINE)}
        return float(re.search(r"Requests/sec: +([\d.]+)", out).group(1)), latency["50"], latency["99"]


@contextlib.contextmanager
def engine():
    host = Engine()
    try:
        host.setUp()
        yield host
    finally:
        if not host.doCleanups():
            print("the engine left something behind")


def print_times(what, times):
    for runtime in RUNTIMES:
        print_row(f"{what}, {runtime}", times[runtime])
    print_ratio(f"{what}, kata / runc", times["kata"], times["runc"])


def run_and_exec(host, rounds):
    runs = take_turns({runtime: lambda runtime=runtime: host.timed("run", "--rm", "--runtime", runtime, IMAGE, "true")
                       for runtime in RUNTIMES}, rounds)
    for runtime in RUNTIMES:
        host.docker("run", "-d", "--name", runtime, "--runtime", runtime, IMAGE, "sleep", "1000000")
    execs = take_turns({runtime: lambda runtime=runtime: host.timed("exec", runtime, "true") for runtime in RUNTIMES}, rounds)
    print_heading(f"Docker: seconds, {rounds} rounds")
    print_times("docker run --rm true", runs)
    print_times("docker exec true", execs)
    host.docker("rm", "--force", *RUNTIMES)


def web_server(host, rounds):
    host.import_web_server()
    ports = {runtime: 8080 + number for number, runtime in enumerate(RUNTIMES)}
    for runtime, port in ports.items():
        # With as many processors as the host has.
        host.docker("run", "-d", "--name", runtime, "--runtime", runtime, "--cpus", str(os.cpu_count()), "-p", f"{port}:80",
                    WEB_IMAGE, "nginx")
        harness.wait_until(lambda port=port: host.answers(port), f"the web server under {runtime}", harness.COMMAND_TIMEOUT_S)
    figures = take_turns({runtime: lambda port=port: host.load(port) for runtime, port in ports.items()}, rounds)
    print_heading(f"nginx behind -p, {rounds} rounds of {SECONDS} s")
    for number, (name, digits) in enumerate((("requests per second", 0), ("p50 of latency, ms", 2), ("p99 of latency, ms", 2))):
        values = {runtime: [figure[number] for figure in figures[runtime]] for runtime in RUNTIMES}
        for runtime in RUNTIMES:
            print_row(f"{name}, {runtime}", values[runtime], digits)
        print_ratio(f"{name}, kata / runc", values["kata"], values["runc"])
    host.docker("rm", "--force", *RUNTIMES)


def run(rounds):
    with engine() as host:
        run_and_exec(host, rounds)
        web_server(host, rounds)
