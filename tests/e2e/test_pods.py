"""Containers of one pod, created as an engine does: what they share and what they have for themselves."""

import os
import signal
import subprocess

import harness
from harness import KataTest, wait_until


class Pods(KataTest):
    def setUp(self):
        super().setUp()
        bundle = self.bundle("sleep", "1000")
        bundle.config["hostname"] = "pause"
        bundle.write()
        self.pause = self.create(bundle)
        self.kata("start", self.pause)
        self.addCleanup(self.kata, "delete", "--force", self.pause)

    def member_bundle(self, *args, hostname=None, joins=None, **resources):
        """`joins`: namespace type -> the container whose one it is, or a path."""
        bundle = self.bundle(*args)
        bundle.config["annotations"] = {"io.kubernetes.cri-o.ContainerType": "container",
                                        "io.kubernetes.cri-o.SandboxID": self.pause}
        if hostname:
            bundle.config["hostname"] = hostname
        files = {"network": "net", "mount": "mnt"}
        namespaces = {entry["type"]: entry for entry in bundle.config["linux"]["namespaces"]}
        for kind, target in ({"network": self.pause} | (joins or {})).items():
            namespaces[kind] = {"type": kind}
            if target:
                path = target if "/" in target else f"/proc/{self.pid(target)}/ns/{files.get(kind, kind)}"
                namespaces[kind]["path"] = path
        bundle.config["linux"]["namespaces"] = list(namespaces.values())
        bundle.config["linux"].setdefault("resources", {}).update(resources)
        bundle.write()
        return bundle

    def member(self, *args, **options):
        container = self.create(self.member_bundle(*(args or ("sleep", "1000")), **options))
        self.addCleanup(self.kata, "delete", "--force", container)
        self.kata("start", container)
        return container

    def namespaces(self, container):
        kinds = ("ipc", "uts", "pid", "cgroup", "time")
        script = "hostname; for n in " + " ".join(kinds) + "; do readlink /proc/self/ns/$n; done"
        hostname, *links = self.kata("exec", container, "sh", "-c", script).stdout.split()
        return {"hostname": hostname, **dict(zip(kinds, links))}

    def test_namespaces(self):
        alone = self.member(hostname="alone", joins={"time": None})
        with_pause = self.member(hostname="pause", joins={"ipc": self.pause, "uts": self.pause, "cgroup": self.pause,
                                                          "pid": self.pause})
        with_alone = self.member(hostname="alone", joins={kind: alone for kind in ("ipc", "uts", "cgroup", "time", "pid")})
        pause, first, second, third = [self.namespaces(c) for c in (self.pause, alone, with_pause, with_alone)]
        self.assertEqual((pause["hostname"], first["hostname"]), ("pause", "alone"))
        for kind in ("ipc", "uts", "pid", "cgroup", "time"):
            self.assertNotEqual(pause[kind], first[kind], kind)
        self.assertEqual(second, pause)
        self.assertEqual(third, first)

    def test_what_is_not_in_the_machine_is_refused(self):
        other = subprocess.Popen(["unshare", "--uts", "--ipc", "--time", "--cgroup", "sleep", "1000"])
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        own = os.readlink("/proc/self/ns/uts")
        wait_until(lambda: os.readlink(f"/proc/{other.pid}/ns/uts") != own, "the other namespaces")
        for kind in ("uts", "ipc", "time", "cgroup", "mount"):
            path = f"/proc/{other.pid}/ns/" + {"mount": "mnt", "time": "time_for_children"}.get(kind, kind)
            bundle = self.member_bundle("true", joins={kind: path})
            with self.subTest(kind=kind):
                self.assert_one_line_error(
                    self.kata("create", "--bundle", bundle.path, self.new_id(), check=False,
                              stdout=subprocess.DEVNULL), f"{kind} namespace", path)

    def host_memory_file(self, container, *names):
        """Of the container's control groups on the host the file that goes by one of these names."""
        directories = self.saved_state(container)["cgroups"].values()
        for path in [os.path.join(d, name) for d in directories for name in names]:
            if os.path.exists(path):
                with open(path, encoding="utf-8") as f:
                    return f.read()
        return self.fail("no memory control group")

    def host_memory_limit(self, container):
        return int(self.host_memory_file(container, "memory.limit_in_bytes", "memory.max"))

    def test_limit_of_the_vmm_follows_the_machine(self):
        self.kata("update", "--memory", str(128 << 20), self.pause)
        before = self.host_memory_limit(self.pause)
        member = self.member(memory={"limit": 1 << 30})
        self.assertGreaterEqual(self.host_memory_limit(self.pause), before + (900 << 20))
        self.kata("delete", "--force", member)
        wait_until(lambda: self.host_memory_limit(self.pause) < before + (100 << 20), "the limit to be lowered again")

    def slow_member_bundle(self):
        """Its creation takes the time of a hook that says when it has begun; the poststop hook says so, too."""
        bundle = self.member_bundle("sleep", "1000")
        trace = os.path.join(self.dir, "trace")

        def hook(script):
            return [{"path": "/bin/sh", "args": ["sh", "-c", script]}]

        bundle.config["hooks"] = {"createRuntime": hook(f"echo begun >> {trace}; exec sleep 1000"),
                                  "poststop": hook(f"echo poststop >> {trace}")}
        bundle.write()
        with open(trace, "w", encoding="utf-8"):
            pass
        return bundle, trace

    def interrupt_creation(self, number):
        bundle, trace = self.slow_member_bundle()

        def traced():
            with open(trace, encoding="utf-8") as f:
                return f.read().split()
        container = self.new_id()
        create = subprocess.Popen(self.command("create", "--bundle", bundle.path, container), env=self.environment,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: traced() == ["begun"], "the hook to run")
        create.send_signal(number)
        create.wait(harness.COMMAND_TIMEOUT_S)
        wait_until(lambda: traced() == ["begun", "poststop"], "the poststop hook")
        wait_until(lambda: not os.path.exists(os.path.join(self.root, container)), "the state directory to go")
        wait_until(lambda: not harness.cgroups_with(container), "the control groups to go")
        self.assertEqual(self.state(self.pause)["status"], "running")

    def test_a_creation_that_is_killed_leaves_nothing(self):
        self.interrupt_creation(signal.SIGKILL)

    def test_a_creation_that_is_interrupted_leaves_nothing(self):
        self.interrupt_creation(signal.SIGTERM)

    def oom_kills(self, container):
        """As engines see them: in its control group on the host."""
        lines = self.host_memory_file(container, "memory.oom_control", "memory.events").splitlines()
        return int(dict(line.split() for line in lines)["oom_kill"])

    def test_an_oom_kill_beside_many(self):
        memory = {"limit": 40 << 20, "swap": 40 << 20}
        busy = self.member("sh", "-c", "while :; do tail /dev/zero; done", memory=memory)
        for _ in range(2):
            container = self.member("tail", "/dev/zero", memory=memory)
            self.wait_status(container, "stopped")
            wait_until(lambda c=container: self.oom_kills(c) > 0, "the kill to be shown on the host")
        self.assertEqual(self.state(busy)["status"], "running")


if __name__ == "__main__":
    harness.main()
