"""A container against its own guest: it must not reach the agent, nor use up what the agent needs."""

import json
import os
import subprocess
import time

import harness
from harness import KataTest, wait_until

ALL_CAPABILITIES = [f"CAP_{name}" for name in (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE").split()]


# Opens descriptors of one kind after the other in processes of their own until there are no more.
HOARD = """
import ctypes, os, select, socket, sys, time
libc = ctypes.CDLL(None, use_errno=True)

def call(name, *args):
    fd = getattr(libc, name)(*args)
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return fd

epolls = []
def epoll_watch():
    if not epolls or len(epolls[-1][1]) > 1000:
        epolls.append((select.epoll(), []))
    r, w = os.pipe()
    epolls[-1][0].register(r)
    epolls[-1][1].append(r)

def inotify_watch():
    fd = call("inotify_init1", 0)
    call("inotify_add_watch", fd, b"/tmp", 2)

kinds = {
    "file": lambda: os.open("/dev/null", os.O_RDONLY),
    "pipe": os.pipe,
    "unix": lambda: [s.detach() for s in socket.socketpair()],
    "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach(),
    "eventfd": lambda: call("eventfd", 0, 0),
    "epoll": epoll_watch,
    "inotify": inotify_watch,
    "pty": lambda: os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY),
}
for name, take in kinds.items():
    r, w = os.pipe()
    if os.fork() == 0:
        os.close(r)
        count = 0
        try:
            while count < (60000 if name == "file" else 5000):
                take()
                count += 1
            why = "enough"
        except OSError as error:
            why = error.strerror
        os.write(w, f"{name}: {count} ({why})\\n".encode())
        os.close(w)
        time.sleep(100000)
    os.close(w)
    sys.stdout.write(os.read(r, 1000).decode())
    os.close(r)
print("all taken", flush=True)
time.sleep(100000)
"""
WATCH = """
import ctypes, os, select
libc = ctypes.CDLL(None)
assert libc.inotify_add_watch(libc.inotify_init1(0), b"/tmp", 2) >= 0, "inotify"
r, w = os.pipe()
select.epoll().register(r)
print("watches")
"""


# Keys of the root user until there are no more; small ones first, which cost the kernel the most.
KEYS = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
count = 0
for size in (1, 30000, 1000, 1):
    payload = b"x" * size
    while count < 2000000 and libc.syscall(248, b"user", b"k%d" % count, payload, size, -4) >= 0:
        count += 1
    print(size, count, os.strerror(ctypes.get_errno()), flush=True)
print("all taken", flush=True)
time.sleep(100000)
"""


# Ways to keep whoever opens a file of one's own control group waiting, as the agent does.
OBSTRUCT = """
import ctypes, fcntl, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
FAN_CLASS_CONTENT, FAN_MARK_ADD, FAN_MARK_FILESYSTEM = 0x4, 0x1, 0x100
FAN_OPEN, FAN_OPEN_PERM, FAN_ONDIR = 0x20, 0x10000, 0x40000000

def lease(kind):
    fcntl.fcntl(os.open("/sys/fs/cgroup/memory.events", os.O_RDONLY), fcntl.F_SETLEASE, kind)

def mark(events):
    fd = libc.fanotify_init(FAN_CLASS_CONTENT, os.O_RDONLY)
    flags = FAN_MARK_ADD | FAN_MARK_FILESYSTEM
    if fd < 0 or libc.fanotify_mark(fd, flags, ctypes.c_uint64(events | FAN_ONDIR), -100, b"/sys/fs/cgroup") < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

for name, attempt, argument in (("write lease", lease, fcntl.F_WRLCK), ("read lease", lease, fcntl.F_RDLCK),
                                ("permission", mark, FAN_OPEN_PERM), ("notification", mark, FAN_OPEN)):
    try:
        attempt(argument)
        print(name, "possible")
    except OSError as error:
        print(name, error.strerror)
print("all tried", flush=True)
time.sleep(100000)
"""


class Isolation(KataTest):
    def powerful(self, *args):
        """A bundle whose process may do everything that the kernel lets the root of a container do."""
        bundle = self.bundle(*args)
        bundle.config["process"]["capabilities"] = {
            name: ALL_CAPABILITIES for name in ("bounding", "effective", "permitted", "inheritable")}
        bundle.config["process"]["noNewPrivileges"] = False
        bundle.config["linux"]["maskedPaths"] = []
        bundle.config["linux"]["readonlyPaths"] = []
        bundle.write()
        return bundle

    def started(self, bundle):
        container = self.create(bundle)
        self.kata("start", container)
        return container

    def end(self, container):
        """Kills and deletes within the time of a command, whatever the container does."""
        self.kata("kill", container, "KILL")
        self.wait_status(container, "stopped")
        self.kata("delete", container)

    def test_sees_nothing_of_the_agent(self):
        result = self.run_container(bundle=self.powerful("sh", "-c", """
            echo mounts $(awk '{print $5}' /proc/self/mountinfo | grep -cE '^/run/kata|/rootfs|^/new_root')
            echo processes $(ls -d /proc/[0-9]* | wc -l) $(ps -o args | grep -c kata-agent)
            echo files $(ls -d /run/kata* /var/run/kata* /init /etc/kata* 2>/dev/null | wc -l)
            echo sockets $(grep -v '^Num' /proc/net/unix | wc -l)
            echo cgroup $(cat /proc/self/cgroup)
            cd /; cd ../../../..; pwd
            kill -KILL -1; echo alive
            """))
        lines = dict((l.split(" ", 1) + [""])[:2] for l in result.stdout.splitlines())
        self.assertEqual(lines["mounts"], "0")
        # The shell, and what it runs while it counts.
        self.assertLessEqual(int(lines["processes"].split()[0]), 5)
        self.assertEqual(lines["files"], "0")
        self.assertEqual(lines["sockets"], "0")
        self.assertIn("/", lines)
        self.assertIn("alive", lines)

    def test_channel_and_console_cannot_be_opened(self):
        """Nodes may be made, as under runc, but the device rules decide what opens."""
        result = self.run_container(bundle=self.powerful("sh", "-c", """
            ports=$(awk '$2 == "virtio-portsdev" {print $1}' /proc/devices)
            for device in "$ports 1" "$ports 2" "4 64" "5 1" "1 1" "1 11" "10 183"; do
              mknod /dev/probe c $device && (: < /dev/probe) 2>&1 | sed 's/.*: //'; rm /dev/probe
            done
            mknod /dev/probe c 1 5 && head -c1 /dev/probe | wc -c"""))
        self.assertEqual(result.stdout.splitlines(), ["Operation not permitted"] * 7 + ["1"])

    def test_limits_of_the_own_cgroup_cannot_be_changed(self):
        bundle = self.powerful("sh", "-c", "mkdir /cg && mount -t cgroup2 cgroup2 /cg && cat /cg/memory.max && "
                               "(echo max > /cg/memory.max) 2>&1 | sed 's/.*: //'; cat /cg/memory.max")
        bundle.config["linux"]["resources"]["memory"] = {"limit": 67108864}
        bundle.config["linux"]["namespaces"].append({"type": "cgroup"})
        bundle.write()
        self.assertEqual(self.run_container(bundle=bundle).stdout.splitlines(),
                         ["67108864", "Operation not permitted", "67108864"])

    def test_the_agents_program_cannot_be_overwritten(self):
        """CVE-2019-5736: before it executes the container's program, init runs that of the agent."""
        container = self.create(self.powerful("sleep", "600"))
        result = self.kata("exec", container, "sh", "-c", """
            readlink /proc/1/exe
            (echo broken > /proc/1/exe) 2>&1 && echo written
            head -c4 /proc/1/exe | tail -c3
            mount -o remount,rw /proc/1/root/ 2>/dev/null; (echo broken >> /proc/1/exe) 2>&1 && echo written
            true""")
        self.assertNotIn("written", result.stdout)
        self.assertIn("ELF", result.stdout, "the agent's program was not even found")
        self.kata("start", container)
        # The agent's program still works: every exec runs it.
        self.assertEqual(self.kata("exec", container, "echo", "works").stdout, "works\n")
        self.end(container)

    def test_descriptors_of_the_agent_lead_to_no_program(self):
        """CVE-2024-21626: the kernel resolves a program's path before it closes what is close-on-exec."""
        container = self.started(self.powerful("sleep", "600"))
        for fd in range(3, 12):
            program = (f"/proc/self/fd/{fd}/../../../../../../run/kata-containers/shared/containers/{container}/rootfs"
                       "/bin/busybox")
            result = self.kata("exec", container, program, "true", check=False)
            self.assertNotEqual(result.returncode, 0, f"descriptor {fd} leads to the agent's files")
            self.assertRegex(result.stderr, "(?i)no such file|not a directory")
        self.end(container)

    def test_a_fork_bomb_leaves_the_agent_responsive(self):
        # Memory may run out before processes do: then the bomb is to be hit, not init, which would end it all.
        bundle = self.bundle("sh", "-c", """
            echo started
            bomb() { bomb & bomb & wait; }
            (echo 1000 > /proc/self/oom_score_adj; bomb 2>/dev/null) &
            sleep 100000""", oomScoreAdj=-900)
        bundle.config["process"]["rlimits"] = []
        bundle.config["linux"]["resources"] = {}
        bundle.write()
        container = self.started(bundle)
        wait_until(lambda: "started" in self.read_output(container), "the bomb", harness.COMMAND_TIMEOUT_S)
        # No process is left for the container, so an answer may be an error, but there is one.
        for _ in range(2):
            self.kata("exec", container, "true", check=False)
        self.assertEqual(self.state(container)["status"], "running")
        self.end(container)

    def test_use_of_all_memory_ends_the_process_that_used_it(self):
        result = self.run_container("sh", "-c", "tail /dev/zero; echo ended $?; tail /dev/zero; echo ended $?", check=False)
        self.assertEqual((result.returncode, result.stdout), (0, "ended 137\nended 137\n"), result.stderr)

    def test_memory_that_no_process_gives_back(self):
        """A full tmpfs, of a container whose processes the OOM killer must spare."""
        bundle = self.bundle("sh", "-c", "i=0; while dd if=/dev/zero of=/big/$i bs=1M count=8 2>/dev/null; do "
                             "i=$((i+1)); echo $i; done; echo full; sleep 600", oomScoreAdj=-1000)
        bundle.config["linux"]["resources"] = {}
        bundle.add_mount(destination="/big", type="tmpfs", source="tmpfs", options=["size=4g"])
        container = self.started(bundle)
        seen = []

        def stands_still():
            seen.append(self.read_output(container))
            time.sleep(1)
            return len(seen) > 8 and len(seen[-1]) > 20 and len(set(seen[-8:])) == 1
        wait_until(stands_still, "the memory to be full", harness.COMMAND_TIMEOUT_S)
        # It may not get the memory to start, or be without end at reading again what had to make room, as on a host.
        with subprocess.Popen(self.command("exec", container, "true"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, env=self.environment) as process:
            try:
                process.wait(timeout=harness.SETTLE_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                pass
            self.assertEqual(self.state(container)["status"], "running")
            self.end(container)
            process.wait(timeout=harness.COMMAND_TIMEOUT_S)

    def test_open_files_of_every_kind_leave_others_theirs(self):
        """What the kernel counts for all together, or for the user root wherever it is, must not be used up by one."""
        bundle = self.bundle("python3", "-c", HOARD, env=["PATH=/usr/bin:/bin"])
        bundle.config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "hard": 200000, "soft": 200000}]
        bundle.config["linux"]["resources"] = {"memory": {"limit": 256 << 20}}
        for path in ("/usr", "/lib", "/lib64"):
            if os.path.exists(path):
                bundle.add_mount(destination=path, type="bind", source=path, options=["rbind", "ro"])
        container = self.started(bundle)
        wait_until(lambda: "all taken" in self.read_output(container), "the files to be open", harness.COMMAND_TIMEOUT_S)
        taken = dict(line.split(": ", 1) for line in self.read_output(container).splitlines() if ": " in line)
        # The kernel by itself would stop a guest of this size at half of that.
        self.assertEqual(taken["file"], "60000 (enough)")
        # By processes that may be given no more than any other container's: without CAP_SYS_ADMIN.
        for flags in ([], ["--tty"]):
            result = self.kata("exec", *flags, container, "sh", "-c", "cat /etc/group | head -n1; mknod /tmp/p p; echo works",
                               check=False)
            self.assertIn("works", result.stdout, result.stderr)
            self.kata("exec", container, "rm", "/tmp/p")
        result = self.kata("exec", container, "python3", "-c", WATCH, check=False)
        self.assertEqual(result.stdout, "watches\n", result.stderr)
        self.assertGreater(json.loads(self.kata("events", "--stats", container).stdout)["data"]["pids"]["current"], 1)
        self.assertEqual(self.state(container)["status"], "running")
        self.end(container)

    def test_keys_of_root_leave_others_theirs(self):
        """The kernel counts the keys of a user in all containers together, and no control group has their memory."""
        bundle = self.bundle("/usr/bin/python3", "-c", KEYS)
        for path in ("/usr", "/lib", "/lib64"):
            if os.path.exists(path):
                bundle.add_mount(destination=path, type="bind", source=path, options=["rbind", "ro"])
        container = self.started(bundle)
        wait_until(lambda: "all taken" in self.read_output(container), "the keys to be taken", harness.COMMAND_TIMEOUT_S)
        self.assertIn("Disk quota exceeded", self.read_output(container))
        for flags in ([], ["--tty"]):
            result = self.kata("exec", *flags, container, "echo", "works", check=False)
            self.assertIn("works", result.stdout, result.stderr)
        free = self.kata("exec", container, "awk", "/MemAvailable/ {print $2}", "/proc/meminfo").stdout
        self.assertGreater(int(free), 100 << 10)
        self.end(container)

    def test_the_agent_does_not_wait_for_who_holds_a_file(self):
        bundle = self.powerful("/usr/bin/python3", "-c", OBSTRUCT)
        for path in ("/usr", "/lib", "/lib64"):
            if os.path.exists(path):
                bundle.add_mount(destination=path, type="bind", source=path, options=["rbind", "ro"])
        bundle.add_mount(destination="/sys/fs/cgroup", type="cgroup", source="cgroup", options=["ro"])
        container = self.started(bundle)
        wait_until(lambda: "all tried" in self.read_output(container), "the attempts", harness.COMMAND_TIMEOUT_S)
        self.assertEqual(self.read_output(container).splitlines(), [
            "write lease Invalid argument", "read lease Invalid argument", "permission Invalid argument",
            "notification possible", "all tried"])
        self.kata("exec", container, "true")
        self.end(container)

    def test_a_container_that_uses_all_processors_can_be_ended(self):
        container = self.started(self.bundle("sh", "-c", "for i in 1 2 3 4 5 6 7 8; do while :; do :; done & done; wait"))
        self.assertEqual(self.kata("exec", container, "echo", "answers").stdout, "answers\n")
        self.end(container)


if __name__ == "__main__":
    harness.main()
