"""A room for one test program: namespaces of its own, a deadline, and a look at what it leaves behind.

The program runs in new pid, mount, network and cgroup namespaces. Every process that it or a runtime starts is a
descendant of the room's process 1, every mount is in the room's table, every control group is below the room's own:
whatever is there after the program was left by it, and all of it goes with the room. Other work on the machine is neither
seen nor touched, and nothing beyond the loopback interface can be reached.
"""

import contextlib
import json
import os
import subprocess
import sys
import time

# How long the last traces may take to go: a virtual machine under load needs a while. The tests of this file wait less.
SETTLE_TIMEOUT_S = float(os.environ.get("KATA_CONFORMANCE_SETTLE_S", "20"))


def cgroup_mounts():
    """(mount point, type, options of the hierarchy) of every control group file system, outermost first."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        for line in f:
            fields = line.split()
            kind, _, options = fields[fields.index("-") + 1:][:3]
            if kind in ("cgroup", "cgroup2"):
                found.append((fields[4], kind, [o for o in options.split(",") if o not in ("rw", "ro")]))
    return found


def own_cgroup(options, kind):
    """The path of this process in one hierarchy."""
    with open("/proc/self/cgroup", encoding="utf-8") as f:
        for line in f:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if (controllers == "") if kind == "cgroup2" else (controllers and set(controllers.split(",")) <= set(options)):
                return path
    return "/"


class Room:
    """What parent and room agree on. run() may be called once."""

    def __init__(self, name, directory):
        """The name is that of the control groups; files go to the directory, which exists."""
        self.name = name
        self.dir = directory
        self.cgroups = []

    def run(self, command, output, errors, deadline_s, cwd, env, watched):
        """Runs the command to its end or deadline; stdout and stderr go to the two files.

        watched: directories that have to be empty or absent afterwards. Returns a dict: exit (None when the deadline
        passed; negative for a signal), seconds, left (a line for each trace).
        """
        order = dict(command=command, output=output, errors=errors, deadline_s=deadline_s, watched=watched)
        result_path = os.path.join(self.dir, "result.json")
        try:
            for point, kind, options in cgroup_mounts():
                parent = point + own_cgroup(options, kind)
                self.cgroups.append(os.path.join(parent, self.name))
                make_cgroup(parent, self.cgroups[-1])
            # The shell moves itself before it becomes the room, so that the namespace's root is the room's group.
            enter = 'for g; do echo 0 >"$g/cgroup.procs" || exit 125; done; exec unshare --pid --mount --net ' \
                    '--cgroup --fork --kill-child --mount-proc "$PYTHON" -B "$ROOM"'
            # run() kills it when this process is told to end, and with it the room's process 1 and all others.
            done = subprocess.run(["sh", "-c", enter, "sh", *self.cgroups], cwd=cwd, stdin=subprocess.DEVNULL,
                                  env=dict(env, PYTHON=sys.executable, ROOM=os.path.abspath(__file__),
                                           ORDER=json.dumps(order), RESULT=result_path), check=False,
                                  timeout=deadline_s + 4 * SETTLE_TIMEOUT_S)
            if not os.path.exists(result_path):
                raise RuntimeError(f"the room of {command[0]} ended with {done.returncode} and without a result")
            with open(result_path, encoding="utf-8") as f:
                return json.load(f)
        finally:
            for group in self.cgroups:
                remove_cgroup(group)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(result_path)


def make_cgroup(parent, path):
    os.mkdir(path)
    # A new cpuset (v1) is empty, and no process can enter it, until it is told its processors and memory nodes.
    for file in ("cpuset.cpus", "cpuset.mems"):
        if os.path.exists(os.path.join(path, "cgroup.clone_children")) and os.path.exists(os.path.join(path, file)):
            with open(os.path.join(parent, file), encoding="ascii") as source:
                value = source.read()
            with open(os.path.join(path, file), "w", encoding="ascii") as target:
                target.write(value)


def remove_cgroup(path):
    """Removes a group and those below it; the last process may still be on its way out."""
    end = time.monotonic() + SETTLE_TIMEOUT_S
    while True:
        for directory, _, _ in os.walk(path, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)
        if not os.path.exists(path):
            return
        if time.monotonic() > end:
            raise RuntimeError(f"control group {path} cannot be removed")
        time.sleep(0.1)


# What follows runs as process 1 of the room.

def remount_cgroups():
    """Shows the hierarchies from the room's own groups on, as they are in a freshly booted system."""
    mounts = cgroup_mounts()
    for point, _, _ in reversed(mounts):
        subprocess.run(["umount", point], check=True)
    for point, kind, options in mounts:
        if kind == "cgroup" and any(o.startswith("name=") for o in options):
            options = ["none", *options]
        arguments = ["-o", ",".join(options)] if kind == "cgroup" else []
        subprocess.run(["mount", "-t", kind, *arguments, kind, point], check=True)


def mount_table():
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        return {(line.split()[0], line.split()[4]) for line in f}


def interfaces():
    with open("/proc/net/dev", encoding="utf-8") as f:
        return {line.split(":")[0].strip() for line in f if ":" in line}


def other_processes():
    """(pid, command line) of all but process 1; zombies wait only for the next reap()."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or name == "1":
            continue
        with contextlib.suppress(OSError):
            with open(f"/proc/{name}/cmdline", encoding="utf-8", errors="replace") as f:
                command = f.read().replace("\0", " ").strip()
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as f:
                state = f.read().rsplit(")", 1)[1].split()[0]
            if state != "Z":
                found.append((int(name), command))
    return found


def reap():
    """Collects what has ended: pid → wait status."""
    ended = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = status


def thaw():
    """Lets frozen processes run again, which else (in version 1) not even SIGKILL ends."""
    for point, kind, _ in cgroup_mounts():
        name, value = ("cgroup.freeze", "0") if kind == "cgroup2" else ("freezer.state", "THAWED")
        for directory, _, files in os.walk(point):
            if name in files:
                with contextlib.suppress(OSError), open(os.path.join(directory, name), "w", encoding="ascii") as f:
                    f.write(value)


def traces(mounts_before, interfaces_before, watched):
    left = [f"process {command[:120] or '?'}" for _, command in other_processes()]
    left += [f"mount {point}" for _, point in sorted(mount_table() - mounts_before)]
    left += [f"interface {name}" for name in sorted(interfaces() - interfaces_before)]
    for point, _, _ in cgroup_mounts():
        for directory, names, _ in os.walk(point):
            left += [f"cgroup {os.path.join(directory, name)}" for name in names]
    for directory in watched:
        if os.path.isdir(directory):
            left += [f"state {name}" for name in sorted(os.listdir(directory))]
    return left


def inside(order, result_path):
    remount_cgroups()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    mounts_before, interfaces_before = mount_table(), interfaces()
    for name in ("PYTHON", "ROOM"):
        os.environ.pop(name)
    start = time.monotonic()
    with open(order["output"], "wb") as output, open(order["errors"], "wb") as errors:
        program = subprocess.Popen(order["command"], stdout=output, stderr=errors, start_new_session=True)
    status = None
    while status is None and time.monotonic() - start < order["deadline_s"]:
        status = reap().get(program.pid)
        if status is None:
            time.sleep(0.05)
    program.returncode = 0  # reap() has collected it: the Popen object must not wait for it
    seconds = time.monotonic() - start
    thaw()

    end = time.monotonic() + SETTLE_TIMEOUT_S
    while left := traces(mounts_before, interfaces_before, order["watched"]):
        if status is None or time.monotonic() > end:
            break
        time.sleep(0.1)
        reap()
    with open(result_path, "w", encoding="utf-8") as f:
        json.dump(dict(exit=None if status is None else os.waitstatus_to_exitcode(status), seconds=round(seconds, 1),
                       left=left), f)


if __name__ == "__main__":
    inside(json.loads(os.environ.pop("ORDER")), os.environ.pop("RESULT"))
