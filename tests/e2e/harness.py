"""What the end-to-end tests share: bundles, the programs under test, and the check that nothing leaked.

The build directory is named by KATA_BUILD_DIR (set by ctest); its bin/ and guest/ are tested as they are.
"""

import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import uuid

BUILD_DIR = os.environ.get("KATA_BUILD_DIR", os.path.join(os.path.dirname(__file__), "../../build/release"))
BUILD_DIR = os.path.abspath(BUILD_DIR)
RUNTIME = os.path.join(BUILD_DIR, "bin/kata-runtime")
KERNEL = os.path.join(BUILD_DIR, "guest/vmlinux")
INITRD = os.path.join(BUILD_DIR, "guest/initrd.img")
QEMU = "/usr/bin/qemu-system-x86_64"
# KATA_TEST_VIRTIOFSD names another one: there are two programs of this name, in C and in Rust.
VIRTIOFSD = next((p for p in (os.environ.get("KATA_TEST_VIRTIOFSD", ""), "/usr/lib/qemu/virtiofsd",
                              "/usr/libexec/virtiofsd") if os.path.exists(p)), "")

# Generous: a loaded machine under software emulation must pass too. KATA_TEST_TIME_FACTOR stretches them for machines
# that are slower still, as one that is emulated itself.
TIME_FACTOR = int(os.environ.get("KATA_TEST_TIME_FACTOR", "1"))
COMMAND_TIMEOUT_S = 180 * TIME_FACTOR
SETTLE_TIMEOUT_S = 20 * TIME_FACTOR

CONFIGURATION = """
[hypervisor.qemu]
path = "{qemu}"
kernel = "{kernel}"
initrd = "{initrd}"
machine_type = "q35"
default_memory = 256
shared_fs = "{shared_fs}"
virtio_fs_daemon = "{virtiofsd}"
{hypervisor}

[agent.kata]
{agent}

[runtime]
{runtime}
"""


def wait_until(condition, what, timeout_s=SETTLE_TIMEOUT_S):
    """Waits until condition() is true; fails naming what was waited for."""
    end = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout_s} s for {what}")
        time.sleep(0.05)


def processes_with(marker):
    """(pid, command line) of every process that carries the marker in its environment or command line."""
    found = []
    for path in glob.glob("/proc/[0-9]*"):
        pid = int(os.path.basename(path))
        if pid == os.getpid():
            continue
        try:
            with open(path + "/cmdline", "rb") as f:
                command = f.read()
            with open(path + "/environ", "rb") as f:
                environment = f.read()
            with open(path + "/stat", "rb") as f:
                state = f.read().rsplit(b")", 1)[1].split()[0]
        except OSError:
            continue
        if state != b"Z" and (marker.encode() in environment or marker.encode() in command):
            found.append((pid, command.replace(b"\0", b" ").decode(errors="replace")))
    return found


def cgroups_with(marker):
    """The directories, children in front of their parents."""
    found = []
    for directory, names, _ in os.walk("/sys/fs/cgroup", topdown=False):
        found += [os.path.join(directory, n) for n in names if marker in n]
    return found


def files_with(marker):
    """Where programs keep what is to be gone after a while."""
    return [path for pattern in ("/run/*{}*", "/run/*/*{}*", "/run/*/*/*{}*", "/tmp/*{}*", "/var/tmp/*{}*", "/dev/shm/*{}*")
            for path in glob.glob(pattern.format(marker))]


def runc_containers_with(marker):
    """Ids in runc's own state directory, where Podman has them, whose bundle's path holds the marker."""
    found = []
    for path in glob.glob("/run/runc/*/state.json"):
        try:
            with open(path, encoding="utf-8") as f:
                if marker in f.read():
                    found.append(os.path.basename(os.path.dirname(path)))
        except FileNotFoundError:
            pass
    return found


def network_leftovers(namespace):
    """What the runtime adds to a network namespace: devices of its own, and queueing disciplines on those of others."""
    def lines(*command):
        return subprocess.run(command, capture_output=True, text=True, check=True,
                              timeout=COMMAND_TIMEOUT_S).stdout.splitlines()
    return ([f"interface {line}" for line in lines("ip", "-n", namespace, "-o", "link") if "_kata" in line] +
            [line for line in lines("tc", "-n", namespace, "qdisc") if "ingress" in line])


class Bundle:
    """An OCI bundle on disk: a busybox root file system and a config.json to change."""

    def __init__(self, directory, args, **process):
        self.path = directory
        self.rootfs = os.path.join(directory, "rootfs")
        os.makedirs(directory)
        make_rootfs(self.rootfs)
        subprocess.run([RUNTIME, "spec"], cwd=directory, check=True, timeout=COMMAND_TIMEOUT_S)
        with open(self.config_path, encoding="utf-8") as f:
            self.config = json.load(f)
        self.config["process"]["terminal"] = False
        self.config["process"]["args"] = args
        self.config["process"].update(process)
        self.config["root"] = {"path": "rootfs", "readonly": False}
        self.write()

    @property
    def config_path(self):
        return os.path.join(self.path, "config.json")

    def write(self):
        with open(self.config_path, "w", encoding="utf-8") as f:
            json.dump(self.config, f)

    def add_mount(self, **mount):
        self.config["mounts"].append(mount)
        self.write()


def make_rootfs(path):
    for d in ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "var", "run", "mnt"):
        os.makedirs(os.path.join(path, d))
    busybox = os.path.join(path, "bin/busybox")
    shutil.copy("/bin/busybox", busybox)
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            os.symlink("busybox", os.path.join(path, "bin", applet))
    with open(os.path.join(path, "etc/passwd"), "w", encoding="utf-8") as f:
        f.write("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n")
    with open(os.path.join(path, "etc/group"), "w", encoding="utf-8") as f:
        f.write("root:x:0:\nuser:x:1000:\nextra:x:2000:user\n")


class KataTest(unittest.TestCase):
    """A test with a directory, a state root and a configuration of its own, and a leak check behind it."""

    shared_fs = "virtio-fs"

    @classmethod
    def setUpClass(cls):
        missing = [p for p in (RUNTIME, KERNEL, INITRD, QEMU) if not os.path.exists(p)]
        if missing:
            raise RuntimeError(f"not built or not installed: {', '.join(missing)}")

    def setUp(self):
        self.marker = "kata-e2e-" + uuid.uuid4().hex[:12]
        self.dir = os.path.realpath(tempfile.mkdtemp(prefix=self.marker + "-"))
        self.root = os.path.join(self.dir, "root")
        self.temporary = os.path.join(self.dir, "tmp")
        os.mkdir(self.temporary)
        self.environment = dict(os.environ, KATA_TEST_MARKER=self.marker, TMPDIR=self.temporary)
        self.write_configuration()
        self.ids = 0
        self.addCleanup(self.check_nothing_left)

    def write_configuration(self, hypervisor="", agent="", runtime="", **values):
        if TIME_FACTOR > 1 and "dial_timeout" not in agent:
            agent += f"\ndial_timeout = {45 * TIME_FACTOR}"
        settings = dict(qemu=QEMU, kernel=KERNEL, initrd=INITRD, virtiofsd=VIRTIOFSD, shared_fs=self.shared_fs,
                        hypervisor=hypervisor, agent=agent, runtime=runtime)
        settings.update(values)
        self.configuration = os.path.join(self.dir, "configuration.toml")
        with open(self.configuration, "w", encoding="utf-8") as f:
            f.write(CONFIGURATION.format(**settings))

    def network_namespace(self, name):
        """A network namespace of this name for the test, at the end of which there must be nothing of the runtime in it."""
        subprocess.run(["ip", "netns", "add", name], check=True)
        self.addCleanup(self.delete_network_namespace, name)

    def delete_network_namespace(self, name):
        try:
            wait_until(lambda: not network_leftovers(name), "the runtime to leave the network namespace")
        except AssertionError:
            self.fail(f"left in network namespace '{name}': {network_leftovers(name)}")
        finally:
            subprocess.run(["ip", "netns", "delete", name], check=True)

    def new_id(self):
        self.ids += 1
        return f"{self.marker}-{self.ids}"

    def bundle(self, *args, **process):
        return Bundle(os.path.join(self.dir, f"bundle{len(os.listdir(self.dir))}"), list(args), **process)

    def command(self, *args):
        return [RUNTIME, "--config", self.configuration, "--root", self.root,
                "--log", os.path.join(self.dir, "log.json"), "--log-format", "json", *args]

    def kata(self, *args, check=True, **options):
        """Runs kata-runtime to its end. stdout and stderr are captured unless said otherwise."""
        options.setdefault("timeout", COMMAND_TIMEOUT_S)
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        result = subprocess.run(self.command(*args), text=True, env=self.environment, check=False, **options)
        if check and result.returncode != 0:
            self.fail(f"kata-runtime {' '.join(args)}: exit {result.returncode}: {result.stderr}{self.log_tail()}")
        return result

    def run_container(self, *args, bundle=None, check=True, **options):
        """`kata-runtime run` of the arguments in a fresh busybox bundle."""
        bundle = bundle or self.bundle(*args)
        return self.kata("run", "--bundle", bundle.path, self.new_id(), check=check, **options)

    def create(self, bundle, *flags, container_id=None, **options):
        """`create` with stdio on files; returns the container's id."""
        container_id = container_id or self.new_id()
        with open(self.output(container_id), "wb") as out:
            result = self.kata("create", "--bundle", bundle.path, "--pid-file", self.pid_file(container_id), *flags,
                               container_id, check=False, stdout=out, stderr=subprocess.STDOUT, **options)
        if result.returncode != 0:
            self.fail(f"kata-runtime create: exit {result.returncode}: {self.read_output(container_id)}{self.log_tail()}")
        return container_id

    def pid_file(self, container_id):
        return os.path.join(self.dir, container_id + ".pid")

    def pid(self, container_id):
        with open(self.pid_file(container_id), encoding="utf-8") as f:
            return int(f.read())

    def output(self, container_id):
        return os.path.join(self.dir, container_id + ".out")

    def read_output(self, container_id):
        with open(self.output(container_id), encoding="utf-8", errors="replace") as f:
            return f.read()

    def state(self, container_id):
        return json.loads(self.kata("state", container_id).stdout)

    def wait_status(self, container_id, status):
        wait_until(lambda: self.state(container_id)["status"] == status, f"container status {status}")

    def saved_state(self, container_id):
        """What the sandbox server has written down of the container, beyond what `state` tells."""
        with open(os.path.join(self.root, container_id, "state.json"), encoding="utf-8") as f:
            return json.load(f)

    def vmm_pid(self, container_id):
        return self.saved_state(container_id)["vmm"]["pid"]

    def log_tail(self):
        try:
            with open(os.path.join(self.dir, "log.json"), encoding="utf-8", errors="replace") as f:
                return "\nlog:\n" + "".join(f.readlines()[-30:])
        except OSError:
            return ""

    def assert_one_line_error(self, result, *texts):
        """The form that users and engines rely on: not 0, one line, naming object and cause."""
        self.assertNotEqual(result.returncode, 0, result.stdout)
        lines = result.stderr.splitlines()
        self.assertEqual(len(lines), 1, f"stderr: {result.stderr!r}")
        for text in texts:
            self.assertIn(text, lines[0])

    def leftovers(self):
        left = [f"process {pid}: {command[:200]}" for pid, command in processes_with(self.marker)]
        with open("/proc/self/mountinfo", encoding="utf-8") as f:
            left += [f"mount {line.split()[4]}" for line in f if self.marker in line]
        with open("/proc/net/unix", encoding="utf-8") as f:
            left += [f"socket {line.split()[-1]}" for line in f if self.marker in line]
        left += [f"cgroup {c}" for c in cgroups_with(self.marker)]
        if os.path.isdir(self.root):
            left += [f"state directory {name}" for name in os.listdir(self.root)]
        left += [f"file {path}" for path in files_with(self.marker)
                 if path != self.dir and not path.startswith(self.dir + "/")]
        left += [f"container of runc {name}" for name in runc_containers_with(self.marker)]
        # Engines have files of their own there.
        left += [f"temporary file {name}" for name in os.listdir(self.temporary) if name.startswith("kata")]
        return left

    def check_nothing_left(self):
        try:
            wait_until(lambda: not self.leftovers(), "the container's last traces to go")
            left = []
        except AssertionError:
            left = self.leftovers()
            log = self.log_tail()
        for pid, _ in processes_with(self.marker):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for cgroup in cgroups_with(self.marker):
            try:
                os.rmdir(cgroup)
            except OSError:
                pass  # it is told below
        if left:
            self.fail("left behind: " + "; ".join(left) + log)
        shutil.rmtree(self.dir)


def main():
    unittest.main(verbosity=2, argv=[sys.argv[0], *sys.argv[1:]])
