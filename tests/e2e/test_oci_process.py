"""The process's world as config.json describes it: what runc 1.1 can do is compared with runc, the rest with the
specification."""

import fcntl
import json
import os
import pty
import shutil
import struct
import subprocess
import termios

import harness
from harness import KataTest, wait_until


def read_terminal(master):
    """What a pty master shows until its other side is gone."""
    text = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        if not data:
            break
        text += data
    return text.decode(errors="replace")


class OciProcess(KataTest):
    def configured(self, script, **sections):
        """A bundle that runs a shell script, with members of config.json replaced ("linux.resources" style names
        written with two underscores)."""
        bundle = self.bundle("sh", "-c", script)
        for name, value in sections.items():
            *path, last = name.split("__")
            section = bundle.config
            for part in path:
                section = section[part]
            section[last] = value
        bundle.write()
        return bundle

    def runc(self, bundle, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(["runc", "--root", os.path.join(self.dir, "runc"), "run", "--bundle", bundle.path,
                               self.new_id()], text=True, check=True, timeout=harness.COMMAND_TIMEOUT_S,
                              **options)

    def assert_same_as_runc(self, bundle, ignore=lambda line: False):
        ours = self.kata("run", "--bundle", bundle.path, self.new_id())
        theirs = self.runc(bundle, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        keep = lambda text: [l for l in text.splitlines() if not ignore(l)]
        self.maxDiff = None
        self.assertEqual(keep(ours.stdout), keep(theirs.stdout))
        self.assertEqual(keep(ours.stderr), keep(theirs.stderr))

    def on_a_terminal(self, command, environment=None):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 99, 0, 0))
        process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment,
                                   start_new_session=True)
        os.close(slave)
        text = read_terminal(master)
        os.close(master)
        self.assertEqual(process.wait(timeout=harness.COMMAND_TIMEOUT_S), 0, text)
        return text

    def test_terminal_is_the_one_of_runc(self):
        bundle = self.configured(
            "tty; readlink /proc/self/fd/0; stat -c '%a %u:%g %t' /dev/pts/0; stat -c '%a %t:%T' /dev/console;"
            "ls /dev/pts; ls -l /dev/ptmx | awk '{print $NF}'; awk '$5==\"/dev/console\"{print $4,$5,$6}' "
            "/proc/self/mountinfo; echo by-name > $(tty)", process__terminal=True)
        bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000}
        bundle.write()
        ours = self.on_a_terminal(self.command("run", "--bundle", bundle.path, self.new_id()), self.environment)
        theirs = self.on_a_terminal(["runc", "--root", os.path.join(self.dir, "runc"), "run", "--bundle",
                                     bundle.path, self.new_id()])
        self.assertEqual(ours.splitlines()[0], "/dev/pts/0")
        self.maxDiff = None
        self.assertEqual(ours.splitlines(), theirs.splitlines())

    def test_identity_and_rights(self):
        caps = ["CAP_NET_RAW", "CAP_CHOWN", "CAP_AUDIT_WRITE"]
        bundle = self.configured(
            "id; umask; grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups)' /proc/self/status; cat /proc/self/oom_score_adj;"
            "cat /proc/self/limits | grep -E 'open files|locked|core' | tr -s ' '; env | sort; pwd;"
            "readlink /proc/self/cwd; cat /proc/self/setgroups",
            process__user={"uid": 1000, "gid": 1001, "umask": 0o137, "additionalGids": [5, 2000]},
            process__capabilities={"bounding": caps, "effective": caps[:1], "inheritable": caps[:2],
                                   "permitted": caps[:2], "ambient": caps[:1]},
            process__noNewPrivileges=False, process__oomScoreAdj=321, process__cwd="/tmp",
            process__env=["PATH=/bin", "A=1", "A=2", "EMPTY="],
            process__rlimits=[{"type": "RLIMIT_NOFILE", "hard": 512, "soft": 256},
                              {"type": "RLIMIT_CORE", "hard": 1024, "soft": 0},
                              {"type": "RLIMIT_MEMLOCK", "hard": 65536, "soft": 32768}])
        self.assert_same_as_runc(bundle)

    def test_missing_working_directory_is_made(self):
        bundle = self.configured("pwd; stat -c '%a %u:%g' .", process__cwd="/work/new", root__readonly=True)
        ours = self.run_container(bundle=bundle).stdout
        shutil.rmtree(os.path.join(bundle.rootfs, "work"))
        self.assertEqual(ours, self.runc(bundle, stdout=subprocess.PIPE).stdout)

    def test_oom_score_is_also_that_of_the_processes_on_the_host(self):
        bundle = self.bundle("sleep", "1000", oomScoreAdj=321)
        container = self.create(bundle)
        self.kata("start", container)
        self.kata("exec", "--detach", "--pid-file", self.pid_file("exec"), container, "sleep", "1000",
                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        state = self.saved_state(container)
        processes = {name: state[name]["pid"] for name in ("shim", "server", "vmm")}
        processes["exec"] = self.pid("exec")
        for name, pid in processes.items():
            with open(f"/proc/{pid}/oom_score_adj", encoding="utf-8") as f:
                self.assertEqual(f.read(), "321\n", name)
        self.kata("delete", "--force", container)

    def test_megabytes_of_arguments_and_environment(self):
        """More than the host's programs could be given by the limits that this test runs with."""
        bundle = self.configured("", process__args=["sh", "-c", "echo $#; env | wc -c"] + ["x" * 1000] * 2200,
                                 process__env=["PATH=/bin"] + [f"V{i}=" + "x" * 1000 for i in range(1500)],
                                 process__rlimits=[{"type": "RLIMIT_STACK", "hard": 64 << 20, "soft": 64 << 20}])
        self.assert_same_as_runc(bundle)

    def test_mounts(self):
        bundle = self.configured(
            # Whether /proc/keys is there to be masked, and how /dev/null is mounted, is the kernel's and the host's.
            "awk '$5 !~ \"^/(sys|proc/(keys|timer_list|kcore)|$)\" {print $5,$6,$8 == \"-\" ? $7 : \"\"}' /proc/self/mountinfo | sort;"
            "cat /etc/resolv.conf; cat /copied/file; stat -c '%a %u:%g' /copied /copied/file; ls /run/made;"
            "for d in /rro /plain; do echo x > $d/sub/new || echo $d refused; done; echo x > /file || echo refused;"
            "echo x > /ro/x || echo refused; ls -d /outside 2>&1")
        source = os.path.join(self.dir, "volume")
        os.makedirs(os.path.join(source, "sub"))
        with open(os.path.join(source, "file"), "w", encoding="utf-8") as f:
            f.write("from the host\n")
        os.makedirs(os.path.join(bundle.rootfs, "copied"), 0o750)
        with open(os.path.join(bundle.rootfs, "copied/file"), "w", encoding="utf-8") as f:
            f.write("copied up\n")
        os.symlink("../run/resolve/stub", os.path.join(bundle.rootfs, "etc/resolv.conf"))
        os.symlink("/run/made", os.path.join(bundle.rootfs, "link"))
        os.symlink("../../../../../../outside", os.path.join(bundle.rootfs, "up"))
        add = bundle.add_mount
        add(destination="/etc/resolv.conf", type="bind", source=source + "/file", options=["bind", "ro"])
        add(destination="/file", type="bind", source=source + "/file", options=["rbind", "ro", "nosuid"])
        add(destination="/link/below", type="tmpfs", source="tmpfs", options=["size=64k", "noexec"])
        add(destination="/up", type="tmpfs", source="tmpfs", options=["nosuid", "nodev", "mode=700"])
        add(destination="/copied", type="tmpfs", source="tmpfs", options=["tmpcopyup", "size=1m"])
        add(destination="/rro", type="bind", source=source, options=["rbind", "rro", "rnosuid", "rnodev"])
        add(destination="/plain", type="bind", source=source, options=["rbind", "rprivate", "noatime"])
        add(destination="/ro", type="tmpfs", source="tmpfs", options=["ro"])
        self.assert_same_as_runc(bundle)

    def test_devices_and_protected_paths(self):
        bundle = self.configured(
            "ls -l /dev/own /dev/pipe /dev/null /dev/fd /dev/stdin | awk '{print $1,$3,$4,$5,$6,$NF}';"
            "echo x > /dev/own && echo written; echo 1 > /proc/sys/net/ipv4/ip_forward || echo refused;"
            "cat /etc/secret; ls -A /var/hidden; touch /var/hidden/x || echo refused; echo x > /etc/fixed || echo refused;"
            "mknod /bin/kmsg$$ c 1 11; head -c1 /bin/kmsg$$ || echo device refused; rm /bin/kmsg$$")
        for name in ("secret", "fixed"):
            with open(os.path.join(bundle.rootfs, "etc", name), "w", encoding="utf-8") as f:
                f.write("content\n")
        os.makedirs(os.path.join(bundle.rootfs, "var/hidden/below"))
        linux = bundle.config["linux"]
        linux["devices"] = [{"path": "/dev/own", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 5, "gid": 6},
                            {"path": "/dev/pipe", "type": "p", "fileMode": 0o622}]
        linux["maskedPaths"] += ["/etc/secret", "/var/hidden", "/nosuch"]
        linux["readonlyPaths"] += ["/etc/fixed", "/nosuch"]
        linux["resources"]["devices"] = [{"allow": False, "access": "rwm"}]
        for capability_set in ("bounding", "effective", "permitted"):
            bundle.config["process"]["capabilities"][capability_set].append("CAP_MKNOD")
        bundle.write()
        self.assert_same_as_runc(bundle)

    def test_seccomp_operators(self):
        values = lambda op, value, two=0: [{"index": 0, "value": value, "valueTwo": two, "op": op}]
        rules = [(95, "SCMP_CMP_EQ", 7, 0), (71, "SCMP_CMP_GT", 100, 0), (61, "SCMP_CMP_MASKED_EQ", 0xf, 0xd)]
        bundle = self.configured(
            "mkdir /tmp/d; grep Seccomp: /proc/self/status; sh -c 'kill -0 7'; sh -c 'kill -0 101'; sh -c 'kill -0 29';"
            "sh -c 'kill -0 999999'; ln -s a /tmp/link; echo status $?",
            linux__seccomp={
                "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
                "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95},
                             {"names": ["symlink", "symlinkat"], "action": "SCMP_ACT_KILL_PROCESS"}] +
                            [{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno,
                              "args": values(op, value, two)} for errno, op, value, two in rules]})
        # How a shell names a signal's death is the same program's text in both.
        self.assert_same_as_runc(bundle)

    def test_seccomp_notification_is_refused(self):
        bundle = self.configured("true", linux__seccomp={
            "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]})
        self.assert_one_line_error(self.run_container(bundle=bundle, check=False), "SCMP_ACT_NOTIFY", "not supported")

    def test_names_sysctls_and_scheduling(self):
        bundle = self.configured(
            "hostname; cat /proc/sys/kernel/domainname /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_unprivileged_port_start;"
            "uname -m; awk '{print $19,$41}' /proc/self/stat; ionice -p $$; awk '{print ($1 > 5000000)}' /proc/uptime",
            hostname="box", domainname="example.test",
            linux__sysctl={"kernel.msgmax": "4321", "net.ipv4.ip_unprivileged_port_start": "80"},
            linux__personality={"domain": "LINUX32"}, linux__timeOffsets={"boottime": {"secs": 6000000}},
            process__scheduler={"policy": "SCHED_BATCH", "nice": 5},
            process__ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 6})
        bundle.config["linux"]["namespaces"].append({"type": "time"})
        bundle.write()
        lines = self.run_container(bundle=bundle).stdout.splitlines()
        self.assertEqual(lines[:5], ["box", "example.test", "4321", "80", "i686"])
        self.assertEqual(lines[5:], ["5 3", "best-effort: prio 6", "1"])

    def test_user_namespace(self):
        mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        bundle = self.configured(
            "id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '; touch /tmp/mine; stat -c %u:%g /tmp/mine;"
            "hostname; echo x > /dev/null && echo device; ls -l /dev/null | awk '{print $1}'; id -u > /dev/shm/x && echo shm",
            hostname="mapped", linux__uidMappings=mapping, linux__gidMappings=mapping)
        bundle.config["linux"]["namespaces"].append({"type": "user"})
        bundle.write()
        for path, _, files in os.walk(bundle.rootfs):
            for name in ["", *files]:
                os.lchown(os.path.join(path, name), 100000, 100000)
        os.chmod(self.dir, 0o755)
        self.assert_same_as_runc(bundle)
        self.assertEqual(os.stat(os.path.join(bundle.rootfs, "tmp/mine")).st_uid, 100000)

    def test_joining_the_user_namespace_of_another_container(self):
        mapping = lambda first: [{"containerID": 0, "hostID": first, "size": 1000}]
        target = self.configured("sleep 600", linux__uidMappings=mapping(100000), linux__gidMappings=mapping(200000))
        target.config["linux"]["namespaces"].append({"type": "user"})
        target.write()
        container = self.create(target)
        self.kata("start", container)
        path = f"/proc/{self.pid(container)}/ns/user"
        exec_pid = os.path.join(self.dir, "exec.pid")
        self.kata("exec", "--detach", "--pid-file", exec_pid, container, "sleep", "600", stdout=subprocess.DEVNULL,
                  stderr=subprocess.DEVNULL)
        with open(exec_pid, encoding="utf-8") as f:
            self.assertEqual(os.readlink(f"/proc/{f.read()}/ns/user"), os.readlink(path))
        volume = os.path.join(self.dir, "volume")
        os.makedirs(volume)
        # The mappings mean nothing beside a path; Podman adds one of this kind.
        joining = self.configured("cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '; stat -c %u:%g /volume; echo x > /volume/x",
                                  linux__uidMappings=[{"containerID": 0, "hostID": 0, "size": 1}])
        joining.config["linux"]["namespaces"].append({"type": "user", "path": path})
        joining.add_mount(destination="/volume", type="bind", source=volume, options=["bind", "idmap"])
        result = self.run_container(bundle=joining)
        self.assertEqual(result.stdout, " 0 100000 1000\n 0 200000 1000\n0:0\n", result.stderr)
        self.assertEqual(os.stat(os.path.join(volume, "x")).st_uid, 0)
        # Of the host's own a container gets what one without an entry gets.
        joining.config["linux"]["namespaces"][-1]["path"] = "/proc/self/ns/user"
        joining.config["mounts"].pop()
        joining.config["process"]["args"][2] = "tr -s ' ' < /proc/self/uid_map"
        joining.write()
        self.assertEqual(self.run_container(bundle=joining).stdout, " 0 0 4294967295\n")
        self.kata("delete", "--force", container)

    def test_start_container_hooks(self):
        bundle = self.configured("cat /tmp/hook; echo program", annotations={"key": "value"}, hooks={
            "startContainer": [
                {"path": "/bin/sh", "args": ["sh", "-c", "cat > /tmp/hook; echo >> /tmp/hook; echo $A $(id -u) >> /tmp/hook"],
                 "env": ["A=from-config", "PATH=/bin"], "timeout": 60}]})
        state, rest = self.run_container(bundle=bundle).stdout.split("\n", 1)
        state = json.loads(state)
        self.assertEqual((state["status"], state["pid"], state["annotations"]), ("created", 1, {"key": "value"}))
        self.assertEqual(rest, "from-config 0\nprogram\n")

    def test_a_start_container_hook_that_fails_ends_the_container(self):
        bundle = self.configured("touch /tmp/ran", hooks={
            "startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "echo no luck >&2; exit 3"]}]})
        result = self.run_container(bundle=bundle, check=False)
        self.assert_one_line_error(result, "startContainer[0]", "/bin/sh", "exit status 3", "no luck")
        self.assertFalse(os.path.exists(os.path.join(bundle.rootfs, "tmp/ran")))

    def test_cgroup_resources(self):
        files = ["memory.max", "memory.low", "memory.swap.max", "memory.high", "cpu.weight", "cpu.max", "cpu.max.burst",
                 "pids.max", "io.weight", "hugetlb.2MB.max", "cgroup.procs"]
        bundle = self.configured(
            f"cd /sys/fs/cgroup; for f in {' '.join(files)}; do echo $f: $(cat $f 2>&1); done; cat /proc/self/cgroup",
            linux__resources={
                "memory": {"limit": 134217728, "reservation": 67108864, "swap": 201326592},
                "cpu": {"shares": 2048, "quota": 60000, "period": 100000, "burst": 20000},
                "pids": {"limit": 77}, "blockIO": {"weight": 500},
                "hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}], "unified": {"memory.high": "100663296"}})
        bundle.config["linux"]["namespaces"].append({"type": "cgroup"})
        bundle.write()
        lines = dict(l.split(": ", 1) for l in self.run_container(bundle=bundle).stdout.splitlines() if ": " in l)
        self.assertEqual({name: lines[name] for name in files if name != "memory.swap.max"}, {
            "memory.max": "134217728", "memory.low": "67108864", "memory.high": "100663296", "cpu.weight": "174",
            "cpu.max": "60000 100000", "cpu.max.burst": "20000", "pids.max": "77", "io.weight": "default 4950",
            "hugetlb.2MB.max": "4194304", "cgroup.procs": lines["cgroup.procs"]})
        # Without swap the kernel has no limit of it.
        self.assertIn(lines["memory.swap.max"], ("67108864", "cat: can't open 'memory.swap.max': No such file or directory"))
        self.assertEqual(lines["cgroup.procs"].split()[0], "1")


class BadConfig(KataTest):
    """Each field with a value that it cannot have: refused by name, no VM started, nothing left."""

    CASES = [
        ("process.args", [], "process.args"),
        ("process.args", [""] * 2 + ["x" * 200000], "process.args[2]"),
        ("process.env", ["NOEQUALS"], "process.env[0]"),
        ("process.env", [f"V{i}=" + "x" * 100000 for i in range(105)], "process.env"),
        ("process.cwd", "relative", "process.cwd"),
        ("process.user.uid", -1, "process.user.uid"),
        ("process.user.uid", "root", "process.user.uid"),
        ("process.user.umask", 4096, "process.user.umask"),
        ("process.rlimits", [{"type": "RLIMIT_NOSUCH", "hard": 1, "soft": 1}], "process.rlimits[0].type"),
        ("process.rlimits", [{"type": "RLIMIT_NOFILE", "hard": 1, "soft": 2}], "process.rlimits[0].soft"),
        ("process.oomScoreAdj", 2000, "process.oomScoreAdj"),
        ("process.consoleSize", {"height": "x", "width": 1}, "process.consoleSize.height"),
        ("process.scheduler", {"policy": "SCHED_NOSUCH"}, "process.scheduler.policy"),
        ("process.scheduler", {"policy": "SCHED_OTHER", "priority": 5}, "process.scheduler.priority"),
        ("process.scheduler", {"policy": "SCHED_RR", "runtime": 5}, "process.scheduler.runtime"),
        ("process.ioPriority", {"class": "IOPRIO_CLASS_BE", "priority": 9}, "process.ioPriority.priority"),
        ("process.execCPUAffinity", {"initial": "abc"}, "process.execCPUAffinity.initial"),
        ("root", None, "root"),
        ("mounts", [{"destination": f"/m{i}", "type": "tmpfs"} for i in range(100000)], "mounts"),
        ("mounts", [{"destination": "/x\0y", "type": "tmpfs"}], "mounts[0].destination"),
        ("mounts", [{"destination": "/x", "type": "bind", "source": "/", "uidMappings":
                     [{"containerID": 0, "hostID": 0, "size": 1}]}], "gidMappings"),
        ("mounts", [{"destination": "/a/..", "type": "tmpfs"}], "mounts[0].destination"),
        ("mounts", [{"destination": "/up/../proc/sys", "type": "tmpfs"}], "mounts[0].destination"),
        ("mounts", [{"destination": "/proc", "type": "tmpfs"}], "mounts[0].type"),
        ("mounts", [{"destination": "/proc", "type": "bind", "source": "/tmp", "options": ["bind"]}],
         "cannot be mounted because it is not of type proc"),
        ("mounts", [{"destination": "/x"}], "mounts[0].type"),
        ("mounts", [{"destination": "/x", "type": "proc", "options": ["tmpcopyup"]}], "mounts[0].options"),
        ("hooks", {"startContainer": [{"path": "relative"}]}, "hooks.startContainer[0].path"),
        ("hooks", {"startContainer": [{"path": "/x", "timeout": 0}]}, "hooks.startContainer[0].timeout"),
        ("linux.namespaces", [{"type": "nosuch"}], "linux.namespaces[0].type"),
        ("linux.namespaces", [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts", "path": "/proc/self/ns/net"}],
         "linux.namespaces[3].path"),
        ("linux.namespaces", [{"type": "pid"}, {"type": "network"}, {"type": "ipc", "path": "/nosuch/ns"}], "/nosuch/ns"),
        ("linux.namespaces", [{"type": "pid"}, {"type": "pid"}], "linux.namespaces[1].type"),
        ("linux.uidMappings", [{"containerID": 0, "hostID": 0, "size": 1}], "linux.uidMappings"),
        ("linux.devices", [{"path": "/dev/x", "type": "z"}], "linux.devices[0].type"),
        ("linux.sysctl", {"../../etc/passwd": "x"}, "linux.sysctl"),
        ("linux.resources", {"memory": {"limit": 2 ** 70}}, "linux.resources.memory.limit"),
        ("linux.resources", {"memory": {"limit": 1.5}}, "linux.resources.memory.limit"),
        ("linux.resources", {"unified": {"a/b": "1"}}, "linux.resources.unified"),
        ("linux.resources", {"hugepageLimits": [{"pageSize": "../x", "limit": 1}]}, "hugepageLimits[0].pageSize"),
        ("linux.seccomp", {"defaultAction": "SCMP_ACT_NOSUCH"}, "linux.seccomp.defaultAction"),
        ("linux.seccomp", {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 70000}, "linux.seccomp.defaultErrnoRet"),
        ("linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_NOSUCH"]},
         "linux.seccomp.architectures[0]"),
        ("linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_NOSUCH"]},
         "linux.seccomp.flags[0]"),
        ("linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"}, "linux.seccomp.listenerPath"),
        ("linux.rootfsPropagation", "sideways", "linux.rootfsPropagation"),
        ("linux.maskedPaths", ["relative"], "linux.maskedPaths[0]"),
        ("linux.personality", {"domain": "BSD"}, "linux.personality.domain"),
        ("linux.timeOffsets", {"boottime": {"secs": 1}}, "linux.timeOffsets"),
        ("linux.intelRdt", {"l3CacheSchema": "L3:0=f"}, "linux.intelRdt"),
        ("linux.resources", {"rdma": {"mlx5_1": {"hcaHandles": 3}}}, "linux.resources.rdma"),
        ("windows", {"layerFolders": []}, "windows"),
        ("solaris", {}, "solaris"),
        ("vm", {"kernel": {"path": "/x"}}, "vm"),
        ("zos", {"namespaces": []}, "zos"),
        ("process.args", ["true", "a\0b"], "process.args[1]"),
        ("process.env", ["A=\0"], "process.env[0]"),
        ("root.path", "root\0fs", "root.path"),
        ("hostname", "a\0b", "hostname"),
        ("hostname", "x" * 300, "hostname"),
        ("domainname", "x" * 65, "domainname"),
        ("annotations", {"a\0b": "x"}, "annotations"),
        ("annotations", {"a": "x" * (5 << 20)}, "annotations"),
        ("process.env", [f"V{i}=" + "x" * 100000 for i in range(50)], "process.env: 5000"),
        ("linux.devices", [{"path": "/dev/x", "type": "c", "fileMode": -1}], "linux.devices[0].fileMode"),
        ("linux.cgroupsPath", "/a/../../b", "linux.cgroupsPath"),
        ("linux.cgroupsPath", "/" + "x" * 5000, "linux.cgroupsPath"),
        ("linux.devices", [{"path": "/dev/x", "type": "c", "major": 2 ** 40}], "linux.devices[0].major"),
        ("linux.resources", {"devices": [{"allow": True, "type": "q", "access": "rwm"}]}, "linux.resources.devices[0].type"),
        ("linux.resources", {"cpu": {"quota": "max"}}, "linux.resources.cpu.quota"),
        ("linux.resources", {"cpu": {"cpus": "0,,1"}}, "linux.resources.cpu.cpus"),
        ("linux.resources", {"cpu": {"idle": 2}}, "linux.resources.cpu.idle"),
        ("linux.resources", {"blockIO": {"weight": 5000}}, "linux.resources.blockIO.weight"),
        ("linux.seccomp", {"defaultAction": "SCMP_ACT_NOTIFY"}, "linux.seccomp"),
        ("linux.uidMappings", {"0": 1}, "linux.uidMappings"),
        ("linux.readonlyPaths", "/proc", "linux.readonlyPaths"),
        ("mounts", [{"destination": "/x", "type": "bind", "source": "/", "options": ["bind", "idmap"]}], "'idmap' needs uidMappings"),
        ("process.capabilities", {"bounding": "CAP_KILL"}, "process.capabilities.bounding"),
        ("process.terminal", "yes", "process.terminal"),
    ]

    def test_every_field_is_named(self):
        bundle = self.bundle("true")
        for name, value, text in self.CASES:
            config = json.loads(json.dumps(bundle.config))
            *path, last = name.split(".")
            section = config
            for part in path:
                section = section[part]
            section[last] = value
            with open(bundle.config_path, "w", encoding="utf-8") as f:
                json.dump(config, f)
            with self.subTest(name=name, value=repr(value)[:60]):
                result = self.kata("create", "--bundle", bundle.path, self.new_id(), check=False)
                self.assert_one_line_error(result, text)
                self.assertEqual(self.leftovers(), [])

    def test_a_member_given_twice(self):
        bundle = self.bundle("true")
        with open(bundle.config_path, encoding="utf-8") as f:
            text = f.read()
        with open(bundle.config_path, "w", encoding="utf-8") as f:
            f.write(text.replace('"root":', '"root": {"path": "/"}, "root":', 1))
        result = self.kata("create", "--bundle", bundle.path, self.new_id(), check=False)
        self.assert_one_line_error(result, "root", "twice")

    def test_what_only_the_guest_finds_out(self):
        for change, texts in (
                (dict(mounts=[{"destination": "/proc", "type": "proc", "source": "proc"},
                              {"destination": "/x", "type": "nosuchfs", "source": "x"}]), ["/x", "nosuchfs"]),
                (dict(process=dict(args=["/nosuch"])), ["/nosuch", "no such file"]),
                (dict(process=dict(cwd="/etc/passwd")), ["/etc/passwd", "Not a directory"]),
                (dict(linux=dict(sysctl={"kernel.nosuch": "1"})), ["kernel.nosuch"])):
            with self.subTest(change=change):
                bundle = self.bundle("true")
                for name, value in change.items():
                    if isinstance(value, dict):
                        bundle.config[name].update(value)
                    else:
                        bundle.config[name] = value
                bundle.write()
                self.assert_one_line_error(self.run_container(bundle=bundle, check=False), *texts)
                wait_until(lambda: not self.leftovers(), "the refused container's last traces to go")


if __name__ == "__main__":
    harness.main()
