"""Docker with kata-runtime as a runtime: what its users type."""

import json
import os

import harness
from engines import DockerTest, IMAGE
from harness import wait_until


class Docker(DockerTest):
    def test_run(self):
        host = os.uname().release
        self.assertNotEqual(self.docker_run("--network", "none", IMAGE, "uname", "-r").stdout.strip(), host)
        self.assertEqual(self.docker_run("--network", "none", IMAGE, "sh", "-c", "exit 7", check=False).returncode, 7)
        self.assertEqual(self.docker_run("-i", "--network", "none", IMAGE, "cat", input="hello\n").stdout, "hello\n")
        self.assertEqual(self.docker_run("-t", "--network", "none", IMAGE, "tty").stdout.strip(), "/dev/pts/0")

    def test_run_options(self):
        source = os.path.join(self.dir, "source")
        os.mkdir(source)
        with open(os.path.join(source, "file"), "w", encoding="utf-8") as f:
            f.write("from the host\n")
        script = ("id; pwd; echo $A; hostname; grep foo /etc/hosts; ulimit -n; cat /proc/sys/kernel/msgmax;"
                  "grep CapEff /proc/self/status; df /dev/shm | tail -1 | awk '{print $2}'; cat /host/file;"
                  "touch /host/x 2>/dev/null || echo ro; touch /volume/x && echo rw; touch /x 2>/dev/null || echo ro;"
                  "touch /t/x && df /t | tail -1 | awk '{print $2}'; tr '\\0' ' ' </proc/1/cmdline | cut -d' ' -f1;"
                  "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max /sys/fs/cgroup/cpu.max; nproc;"
                  # The VM is as large as the container's limit asks for; 256 MiB is what it has without.
                  "awk '/MemTotal/ {print ($2 > 400 * 1024 && $2 < 470 * 1024)}' /proc/meminfo")
        result = self.docker_run(
            "--network", "none", "--read-only", "--tmpfs", "/t:size=1m,mode=1777", "-v", source + ":/host:ro",
            "-v", "data:/volume", "--ulimit", "nofile=123:456", "--sysctl", "kernel.msgmax=4096", "--group-add", "9",
            "-w", "/tmp", "-e", "A=b", "--hostname", "box", "--add-host", "foo:192.0.2.1", "--shm-size", "32m",
            "--cap-drop", "ALL", "--pids-limit", "50", "--memory", "400m", "--cpus", "2", "--init", IMAGE, "sh", "-c",
            script)
        self.assertEqual(result.stdout.splitlines(), [
            "uid=0(root) gid=0(root) groups=0(root),9", "/tmp", "b", "box", "192.0.2.1\tfoo", "123", "4096",
            "CapEff:\t0000000000000000", "32768", "from the host", "ro", "rw", "ro", "1024", "/sbin/docker-init",
            "419430400", "50", "200000 100000", "2", "1"])
        user = self.docker_run("--network", "none", "--user", "5:6", "--entrypoint", "/bin/id", IMAGE)
        self.assertEqual(user.stdout.strip(), "uid=5 gid=6 groups=6")

    def test_life_of_a_container(self):
        self.docker("run", "-d", "--name", "box", "--runtime", "kata", "--network", "none", "--health-cmd", "true",
                    "--health-interval", "1s", IMAGE, "sh", "-c",
                    "trap 'echo usr1' USR1; trap 'exit 3' TERM; while :; do echo tick; sleep 0.2; done")
        self.assertEqual(self.docker("exec", "box", "sh", "-c", "echo $0; exit 4", check=False).returncode, 4)
        self.assertEqual(self.docker("exec", "-t", "box", "tty").stdout.strip(), "/dev/pts/0")
        self.assertIn("kata-shim", self.docker("top", "box").stdout)
        self.assertIn("%", self.docker("stats", "--no-stream", "box").stdout)
        wait_until(lambda: "(healthy)" in self.docker("ps").stdout, "the health check", harness.COMMAND_TIMEOUT_S)
        self.docker("pause", "box")
        self.assertIn("(Paused)", self.docker("ps").stdout)
        self.docker("unpause", "box")
        self.docker("cp", self.configuration, "box:/root/copied")
        self.assertIn("[hypervisor.qemu]", self.docker("exec", "box", "cat", "/root/copied").stdout)
        self.assertIn("/root/copied", self.docker("diff", "box").stdout)
        self.docker("kill", "--signal", "USR1", "box")
        wait_until(lambda: "usr1" in self.docker("logs", "box").stdout, "the signal to be handled")
        self.docker("stop", "box")
        state = json.loads(self.docker("inspect", "box").stdout)[0]
        self.assertEqual((state["State"]["Status"], state["State"]["ExitCode"], state["HostConfig"]["Runtime"]),
                         ("exited", 3, "kata"))
        self.docker("restart", "box")
        self.assertEqual(self.docker("exec", "box", "cat", "/proc/1/comm").stdout.strip(), "sh")
        self.docker("kill", "box")
        self.assertEqual(self.docker("wait", "box").stdout.strip(), "137")
        self.docker("rm", "box")

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
        published = self.run_engine(self.inside("busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/"))
        self.assertEqual(published.stdout, "hello\n")
        # A network that comes while the container runs.
        self.docker("network", "create", "red")
        self.docker("network", "connect", "red", "web")
        address = json.loads(self.docker("inspect", "web").stdout)[0]["NetworkSettings"]["Networks"]["red"]["IPAddress"]
        wait_until(lambda: address in self.docker("exec", "web", "ip", "addr").stdout, "the second network's address")
        self.docker("network", "disconnect", "blue", "web")
        wait_until(lambda: "eth0" not in self.docker("exec", "web", "ip", "addr").stdout, "the first network to go")
        self.docker("network", "disconnect", "red", "web")
        wait_until(lambda: address not in self.docker("exec", "web", "ip", "addr").stdout, "the second network to go")

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

    def test_refusals_and_exit_codes(self):
        missing = self.docker_run("--network", "none", IMAGE, "nosuch", check=False)
        self.assertEqual((missing.returncode, "executable file not found in $PATH" in missing.stderr), (127, True),
                         missing.stderr)
        denied = self.docker_run("--network", "none", IMAGE, "/etc/passwd", check=False)
        self.assertEqual((denied.returncode, "permission denied" in denied.stderr), (126, True), denied.stderr)
        for kind, option in (("network", "--network"), ("pid", "--pid"), ("ipc", "--ipc")):
            network = () if kind == "network" else ("--network", "none")
            refused = self.docker_run(*network, option, "host", IMAGE, "true", check=False)
            self.assertEqual(refused.returncode, 125, refused.stderr)
            self.assertIn(f"host {kind} ", refused.stderr)


if __name__ == "__main__":
    harness.main()
