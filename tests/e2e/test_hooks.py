"""Hooks of the OCI runtime specification: when, where and with what they run, and what their failure means."""

import json
import os
import subprocess

import harness
from harness import KataTest


class Hooks(KataTest):
    def hook(self, script, **members):
        return {"path": "/bin/sh", "args": ["sh", "-c", script],
                "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", f"D={self.dir}", "HOOK=1"], **members}

    def trace(self):
        try:
            with open(os.path.join(self.dir, "trace"), encoding="utf-8") as f:
                return f.read().split()
        except FileNotFoundError:
            return []

    def file(self, name):
        with open(os.path.join(self.dir, name), encoding="utf-8") as f:
            return f.read()

    def bundle_with(self, hooks, *args):
        bundle = self.bundle(*args)
        bundle.config["hooks"] = hooks
        bundle.config["annotations"] = {"org.example.key": "value"}
        bundle.write()
        return bundle

    def test_all_points_in_order_in_their_namespaces(self):
        mark = "stat -L -c %i /proc/self/ns/net /proc/self/ns/mnt > $D/"
        # As docker's libnetwork-setkey: finds the network by the pid in the state, before the VM is there.
        setkey = ('cat > $D/state; pid=$(sed "s/.*\\"pid\\":\\([0-9]*\\).*/\\1/" $D/state); '
                  'nsenter -t $pid -n ip link add hook0 type veth peer name hook1; stat -L -c %i /proc/$pid/ns/net > $D/shim; '
                  'echo prestart >> $D/trace; ' + mark + "runtime")
        # What is mounted in the container's namespace is seen in the container only.
        create_container = ('echo createContainer >> $D/trace; mkdir $D/extra; echo from-hook > $D/extra/file; '
                            'mount --bind $D/extra mnt; ' + mark + "container")
        bundle = self.bundle_with({
            "prestart": [self.hook(setkey)],
            "createRuntime": [self.hook("echo createRuntime >> $D/trace")],
            "createContainer": [self.hook(create_container)],
            "poststart": [self.hook("cat > $D/poststart-state; echo poststart >> $D/trace")],
            "poststop": [self.hook("cat > $D/poststop-state; ls $D/root >> $D/trace; echo poststop >> $D/trace")],
        }, "sh", "-c", "cat /mnt/file; sleep 600")
        container = self.create(bundle)
        self.assertEqual(self.trace(), ["prestart", "createRuntime", "createContainer"])
        state = json.loads(self.file("state"))
        self.assertEqual(state, {"ociVersion": bundle.config["ociVersion"], "id": container, "status": "creating",
                                 "pid": self.pid(container), "bundle": bundle.path,
                                 "annotations": {"org.example.key": "value"}})
        own = [str(os.stat(f"/proc/self/ns/{kind}").st_ino) for kind in ("net", "mnt")]
        self.assertEqual(self.file("runtime").split(), own)
        net, mnt = self.file("container").split()
        self.assertEqual(net, self.file("shim").strip())
        self.assertNotIn(mnt, own)
        links = subprocess.run(["nsenter", "-t", str(self.pid(container)), "-n", "ip", "-o", "link"],
                               capture_output=True, text=True, check=True).stdout
        self.assertIn("hook0", links)

        self.kata("start", container)
        self.assertEqual(self.trace()[3:], ["poststart"])
        self.assertEqual(json.loads(self.file("poststart-state"))["status"], "running")
        harness.wait_until(lambda: self.read_output(container) == "from-hook\n", "the mount of the hook in the container")
        self.assertEqual(os.listdir(os.path.join(bundle.rootfs, "mnt")), [], "the mount must not be seen on the host")
        self.kata("kill", container, "KILL")
        self.wait_status(container, "stopped")
        self.assertEqual(self.trace()[4:], [])
        self.kata("delete", container)
        # Nothing of the container is there any more when they run.
        self.assertEqual(self.trace()[4:], ["poststop"])
        stopped = json.loads(self.file("poststop-state"))
        self.assertEqual((stopped["status"], stopped["id"], "pid" in stopped), ("stopped", container, False))

    def test_poststart_hooks_find_the_program_running(self):
        bundle = self.bundle_with({}, "sleep", "600")
        container = self.new_id()
        look = " ".join(self.command("exec", container, "cat", "/proc/1/cmdline"))
        bundle.config["hooks"]["poststart"] = [self.hook(f"{look} > $D/init 2>&1")]
        bundle.write()
        self.create(bundle, container_id=container)
        before = self.kata("exec", container, "cat", "/proc/1/cmdline").stdout
        self.assertIn("kata-agent", before)
        self.kata("start", container)
        self.assertEqual(self.file("init"), "sleep\x00" "600\x00")
        self.kata("delete", "--force", container)

    def test_start_hooks_in_the_guest(self):
        hook = {"path": "/bin/sh", "args": ["sh", "-c", "cat > /tmp/state; echo hook > /tmp/order"], "env": ["PATH=/bin"]}
        bundle = self.bundle_with({"startContainer": [hook]}, "sh", "-c", "cat /tmp/order; cat /tmp/state")
        container = self.create(bundle)
        self.kata("start", container)
        self.wait_status(container, "stopped")
        order, state = self.read_output(container).split("\n", 1)
        self.assertEqual(order, "hook")
        # The state is that of the runtime; its pid is the container's own view, as under runc.
        self.assertEqual(json.loads(state), {"ociVersion": bundle.config["ociVersion"], "id": container, "status": "created",
                                             "pid": 1, "bundle": bundle.path, "annotations": {"org.example.key": "value"}})
        self.kata("delete", container)

    def test_failures_at_creation(self):
        poststop = [self.hook("echo poststop >> $D/trace")]
        for point in ("prestart", "createRuntime", "createContainer"):
            with self.subTest(point):
                bundle = self.bundle_with({point: [self.hook("echo the cause >&2; exit 7")], "poststop": poststop}, "true")
                before = len(self.trace())
                container = self.new_id()
                result = self.kata("create", "--bundle", bundle.path, container, check=False)
                self.assert_one_line_error(result, container, f"{point} hook #0 '/bin/sh'", "exit status 7", "the cause")
                self.assertEqual(self.trace()[before:], ["poststop"])
                self.assertEqual(os.listdir(self.root), [])
        bundle = self.bundle_with({"prestart": [self.hook("sleep 1000 & sleep 1000", timeout=1)]}, "true")
        result = self.kata("create", "--bundle", bundle.path, self.new_id(), check=False)
        self.assert_one_line_error(result, "time-out of 1 s")
        bundle = self.bundle_with({"createRuntime": [{"path": "/no/such/hook"}]}, "true")
        result = self.kata("create", "--bundle", bundle.path, self.new_id(), check=False)
        self.assert_one_line_error(result, "'/no/such/hook': No such file or directory")

    def test_failures_after_the_start(self):
        bundle = self.bundle_with({"poststart": [self.hook("exit 9")],
                                   "poststop": [self.hook("exit 1"), self.hook("echo poststop >> $D/trace")]},
                                  "sleep", "600")
        container = self.create(bundle)
        result = self.kata("start", container, check=False)
        self.assert_one_line_error(result, container, "poststart hook #0", "exit status 9")
        # It is destroyed; the failure of a poststop hook is a warning, and the next one runs.
        self.assertEqual(self.trace(), ["poststop"])
        self.assert_one_line_error(self.kata("state", container, check=False), "does not exist")
        self.assertIn("poststop hook #0", self.file("log.json"))

    def test_interrupting_a_hook_ends_the_creation(self):
        bundle = self.bundle_with({"prestart": [self.hook("echo begun >> $D/trace; exec sleep 1000")],
                                   "poststop": [self.hook("echo poststop >> $D/trace")]}, "true")
        process = subprocess.Popen(self.command("create", "--bundle", bundle.path, self.new_id()), env=self.environment,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        harness.wait_until(self.trace, "the hook to begin")
        process.terminate()
        _, errors = process.communicate(timeout=harness.COMMAND_TIMEOUT_S)
        self.assertEqual(process.returncode, 1)
        self.assertIn("interrupted by SIGTERM", errors)
        self.assertEqual(self.trace(), ["begun", "poststop"])


if __name__ == "__main__":
    harness.main()
