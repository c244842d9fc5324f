"""Run inside of a container by the parity test: what a volume (the argument) can do, one line each."""

import ctypes
import errno
import fcntl
import mmap
import os
import socket
import stat
import struct
import subprocess
import sys
import time


def check_ownership():
    open("owned", "w").close()
    os.chown("owned", 12, 34)
    os.chmod("owned", 0o4751)
    info = os.stat("owned")
    return info.st_uid, info.st_gid, oct(info.st_mode)


def check_links():
    with open("original", "w") as f:
        f.write("text")
    os.link("original", "hard")
    os.symlink("original", "soft")
    os.rename("original", "renamed")
    return os.stat("hard").st_nlink, os.readlink("soft"), os.path.exists("soft"), open("hard").read()


def check_xattrs():
    open("attributes", "w").close()
    os.setxattr("attributes", "user.name", b"value\0with zero")
    os.setxattr("attributes", "trusted.name", b"root's")
    values = os.getxattr("attributes", "user.name"), sorted(os.listxattr("attributes"))
    os.removexattr("attributes", "user.name")
    return values, os.listxattr("attributes")


def in_child(function):
    pid = os.fork()
    if pid == 0:
        os._exit(function())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def check_locks():
    f, g = open("lock", "w"), open("record", "w")
    fcntl.flock(f, fcntl.LOCK_EX)
    fcntl.lockf(g, fcntl.LOCK_EX, 10, 5)

    def attempt(lock, name, *place):
        try:
            lock(open(name, "w"), fcntl.LOCK_EX | fcntl.LOCK_NB, *place)
            return 1
        except BlockingIOError:
            return 2
    results = [in_child(lambda: attempt(fcntl.flock, "lock")), in_child(lambda: attempt(fcntl.lockf, "record", 2, 6)),
               in_child(lambda: attempt(fcntl.lockf, "record", 2, 20))]
    fcntl.flock(f, fcntl.LOCK_UN)
    return results + [in_child(lambda: attempt(fcntl.flock, "lock"))]


def check_mmap():
    with open("mapped", "wb+") as f:
        f.truncate(3 * 4096)
        with mmap.mmap(f.fileno(), 0) as memory:
            memory[4096:4101] = b"first"
            memory.flush()
            f.seek(4096)
            read = f.read(5)
            pid = os.fork()
            if pid == 0:
                memory[8192:8197] = b"child"
                os._exit(0)
            os.waitpid(pid, 0)
            return read, bytes(memory[8192:8197]), open("mapped", "rb").read()[8192:8197]


def check_inotify():
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_NONBLOCK)
    libc.inotify_add_watch(fd, b".", 0x100 | 0x200 | 0x2 | 0xC0)  # create, delete, modify, moved
    with open("watched", "w") as f:
        f.write("x")
    os.rename("watched", "moved")
    os.unlink("moved")
    time.sleep(0.2)
    data, events = os.read(fd, 65536), []
    while data:
        _, mask, _, length = struct.unpack_from("iIII", data)
        events.append((hex(mask), data[16:16 + length].rstrip(b"\0").decode()))
        data = data[16 + length:]
    return events


def check_sync():
    fd = os.open("synced", os.O_CREAT | os.O_RDWR | os.O_DSYNC)
    os.write(fd, b"x" * 5000)
    os.fsync(fd)
    os.fdatasync(fd)
    directory = os.open(".", os.O_RDONLY)
    os.fsync(directory)
    os.posix_fallocate(fd, 0, 100000)
    return os.fstat(fd).st_size


def check_sparse():
    fd = os.open("sparse", os.O_CREAT | os.O_RDWR)
    os.ftruncate(fd, 50 << 20)
    os.pwrite(fd, b"end", 40 << 20)
    info = os.fstat(fd)
    return info.st_size, info.st_blocks * 512 < 1 << 20, os.lseek(fd, 0, os.SEEK_DATA), os.pread(fd, 3, 40 << 20)


def check_deleted_while_open():
    fd = os.open("gone", os.O_CREAT | os.O_RDWR)
    os.write(fd, b"still here")
    os.unlink("gone")
    os.fchmod(fd, 0o600)
    return os.pread(fd, 20, 0), os.fstat(fd).st_nlink, os.path.exists("gone")


def check_temporary_file():
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR)
    os.write(fd, b"nameless")
    return os.pread(fd, 8, 0)


def check_append():
    fds = [os.open("log", os.O_CREAT | os.O_WRONLY | os.O_APPEND) for _ in range(2)]
    for index in range(6):
        os.write(fds[index % 2], b"%d" % index)
    return open("log").read()


def check_direct():
    with mmap.mmap(-1, 8192) as memory:  # whole pages
        memory[:6] = b"direct"
        fd = os.open("direct", os.O_CREAT | os.O_RDWR | os.O_DIRECT)
        written = os.write(fd, memory)
        with mmap.mmap(-1, 8192) as other:
            return written, os.preadv(fd, [other], 0), other[:6], open("direct", "rb").read()[:6]


def check_holes():
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open("holes", os.O_CREAT | os.O_RDWR)
    os.write(fd, b"x" * (1 << 20))
    os.fsync(fd)
    if libc.fallocate(fd, 3, ctypes.c_long(4096), ctypes.c_long(1 << 19)):  # punch a hole, keep the size
        raise OSError(ctypes.get_errno(), "fallocate")
    info = os.fstat(fd)
    return info.st_size, info.st_blocks * 512 < 600 << 10, os.pread(fd, 2, 4095)


def check_access_list():
    open("listed", "w").close()
    # Version 2: the owner, user 1000, the group, the mask, the others.
    entries = [(1, 6, -1), (2, 4, 1000), (4, 4, -1), (16, 4, -1), (32, 0, -1)]
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    os.setxattr("listed", "system.posix_acl_access", value)
    return os.getxattr("listed", "system.posix_acl_access") == value, oct(os.stat("listed").st_mode)


def check_file_capabilities():
    open("capable", "w").close()
    os.setxattr("capable", "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0))
    before = os.listxattr("capable")
    with open("capable", "w") as f:
        f.write("x")  # which takes them away
    return before, os.listxattr("capable")


def check_special_files():
    os.mkfifo("fifo")
    server = socket.socket(socket.AF_UNIX)
    server.bind("socket")
    server.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect("socket")
    client.send(b"hello")
    received = server.accept()[0].recv(10)
    return stat.S_ISFIFO(os.stat("fifo").st_mode), received, stat.S_ISSOCK(os.stat("socket").st_mode)


def check_directories():
    os.makedirs("a/b/c")
    for number in range(300):
        open(f"a/b/{number:03}-{'x' * 200}", "w").close()
    names = sorted(os.listdir("a/b"))
    try:
        os.rmdir("a")
        error = 0
    except OSError as failure:
        error = errno.errorcode[failure.errno]
    os.mkdir("sticky")
    os.chmod("sticky", 0o3777)
    return len(names), names[0][:5], error, oct(os.stat("sticky").st_mode)


def check_times():
    open("old", "w").close()
    os.utime("old", ns=(1_000_000_001, 1_000_000_000_000_000_002))
    info = os.stat("old")
    return info.st_atime_ns, info.st_mtime_ns


def check_limits_of_names():
    try:
        open("y" * 256, "w").close()
    except OSError as failure:
        return errno.errorcode[failure.errno], os.statvfs(".").f_namemax
    return None


def check_program():
    with open("program", "w") as f:
        f.write("#!/bin/sh\nexit 7\n")
    os.chmod("program", 0o755)
    return subprocess.run(["./program"], check=False).returncode


def check_permissions():
    """Of a user who is not root."""
    with open("secret", "w") as f:
        f.write("x")
    os.chmod("secret", 0o600)
    os.mkdir("private", 0o700)

    def other():
        os.setgroups([])
        os.setgid(1000)
        os.setuid(1000)
        refused = 0
        for action in (lambda: open("secret"), lambda: open("private/x", "w"), lambda: os.unlink("secret"),
                       lambda: os.chown("secret", 1000, 1000)):
            try:
                action()
            except PermissionError:
                refused += 1
        return refused
    return in_child(other)


def check_further_groups():
    """A directory that is open to a group which is not the user's first."""
    os.mkdir("group")
    os.chown("group", 0, 2000)
    os.chmod("group", 0o2775)

    def member():
        os.setgroups([2000])
        os.setgid(1000)
        os.setuid(1000)
        os.chdir("group")
        with open("file", "w") as f:
            f.write("x")
        os.mkdir("directory")
        os.symlink("file", "link")
        os.mkfifo("fifo")
        return 0
    result = in_child(member)
    statuses = [(name, os.lstat(os.path.join("group", name))) for name in sorted(os.listdir("group"))]
    return result, [(name, s.st_uid, s.st_gid, oct(s.st_mode)) for name, s in statuses]


def main():
    os.umask(0o022)
    os.chdir(sys.argv[1])
    for name, check in sorted(globals().items()):
        if not name.startswith("check_"):
            continue
        try:
            result = check()
        except OSError as failure:
            result = f"{errno.errorcode[failure.errno]}: {failure}"
        print(f"{name[6:]}: {result}")


main()
