"""Where the two test suites come from, and how one program of each is run.

Both are fetched through the ordinary package clients into the project's cache outside of the checkout, and built there
once per version. Nothing of them is part of this repository.
"""

import contextlib
import glob
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import tarfile
import tempfile

CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
                     "kata-containers-cpp/conformance")
RUNTIME_TOOLS = "github.com/opencontainers/runtime-tools"
RUNTIME_TOOLS_VERSION = "v0.9.1-0.20250523060157-0ea5ed0382a2"
FETCH_TIMEOUT_S = 900


class SuiteError(Exception):
    """A suite cannot be had here: one line that names what is missing."""


def call(command, **options):
    """Runs a command for its standard output; its own words are the error."""
    try:
        return subprocess.run(command, check=True, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=FETCH_TIMEOUT_S, **options).stdout
    except FileNotFoundError:
        raise SuiteError(f"'{command[0]}' is not installed") from None
    except subprocess.CalledProcessError as e:
        words = (e.stderr.strip() or e.stdout.strip()).splitlines()
        raise SuiteError(f"{' '.join(command[:3])}: exit {e.returncode}: {words[-1] if words else ''}") from None


def go(*arguments, cwd, **environment):
    # The machine's own compiler, or none: the client must not fetch another one.
    return call(["go", *arguments], cwd=cwd, env=dict(
        os.environ, GOTOOLCHAIN="local", GOMODCACHE=os.path.join(CACHE, "modules"), GOFLAGS="-modcacherw -buildvcs=false",
        **environment))


@contextlib.contextmanager
def built_once(name):
    """The directory of this name in the cache: (path, None) when it is there, else (path, empty directory to fill)."""
    path = os.path.join(CACHE, name)
    if os.path.isdir(path):
        yield path, None
        return
    os.makedirs(CACHE, exist_ok=True)
    building = tempfile.mkdtemp(prefix=name + ".", dir=CACHE)
    os.chmod(building, 0o755)
    try:
        yield path, building
        os.rename(building, path)
    finally:
        shutil.rmtree(building, ignore_errors=True)


class Validation:
    """The validation programs of runtime-tools: one process each, TAP on standard output."""

    name = "validation"
    title = "OCI runtime-tools"
    deadline_s = 300
    own_state_root = False  # the wrapper says --root

    def __init__(self):
        with built_once("runtime-tools-" + RUNTIME_TOOLS_VERSION) as (self.dir, building):
            if building:
                self.build(building)
        self.version = RUNTIME_TOOLS_VERSION

    @staticmethod
    def build(target):
        module = json.loads(go("mod", "download", "-json", f"{RUNTIME_TOOLS}@{RUNTIME_TOOLS_VERSION}", cwd=target))["Dir"]
        programs = os.path.join(target, "programs") + "/"
        go("build", "-mod=readonly", "-o", programs, "./validation/...", cwd=module)
        # It runs inside of the containers, which have no C library.
        go("build", "-mod=readonly", "-o", target, "./cmd/runtimetest", cwd=module, CGO_ENABLED="0")
        for archive in glob.glob(os.path.join(module, "rootfs-*.tar.gz")):
            shutil.copy(archive, target)

    def programs(self):
        return sorted(os.listdir(os.path.join(self.dir, "programs")))

    def command(self, program):
        return [os.path.join(self.dir, "programs", program)]

    def environment(self, wrapper):
        return dict(RUNTIME=wrapper)


class Bats:
    """runc's own suite in the version of the installed package: one bats file at a time."""

    name = "bats"
    title = "The tests of runc"
    # Of a whole file: with a deadline for each test bats starts a process that a test's own `wait` waits for.
    deadline_s = 1200
    own_state_root = True  # its helper says --root

    def __init__(self):
        self.version = call(["dpkg-query", "-W", "-f", "${Version}", "runc"])
        call(["bats", "--version"])
        with built_once(f"runc-{self.version}-patched") as (self.dir, building):
            if building:
                self.build(building)
        self.tests = os.path.join(self.dir, "source/tests/integration")

    def build(self, target):
        source = os.path.join(target, "source")
        fetch_source("runc", self.version, target, source)
        go("build", "-mod=mod", "-o", "contrib/cmd/recvtty/recvtty", "./contrib/cmd/recvtty", cwd=source)
        data = os.path.join(source, "tests/integration/testdata")
        end_own_recvtty(os.path.join(source, "tests/integration/update.bats"))
        arch = go("env", "GOARCH", cwd=source).strip()
        make_busybox_image(os.path.join(data, f"busybox-{arch}.tar.xz"))
        # Only hooks.bats wants a whole distribution, and it is not run; the suite stops without the file.
        with tarfile.open(os.path.join(data, f"debian-{arch}.tar.xz"), "w:xz"):
            pass

    def programs(self):
        return sorted(os.path.basename(p) for p in glob.glob(os.path.join(self.tests, "*.bats")))

    def command(self, program):
        # Many of the tests need a terminal; script(1) makes one.
        return ["script", "--quiet", "--return", "--command",
                shlex.join(["bats", "--tap", os.path.join(self.tests, program)]), "/dev/null"]

    def environment(self, wrapper):
        return dict(RUNC=wrapper, TERM="dumb")


def fetch_source(package, version, work, target):
    """Unpacks a Debian source package, with its patches, into target."""
    work = os.path.join(work, "apt")
    os.makedirs(os.path.join(work, "lists/partial"))
    os.makedirs(os.path.join(work, "cache/archives/partial"))
    # The archive that the binary package came from has its source; the machine need not list it.
    sources, in_version = [], False
    for line in call(["apt-cache", "policy", package]).splitlines():
        if found := re.match(r"[ *]{4} ?(\S+) -?\d+$", line):
            in_version = found[1] == version
        elif in_version and (found := re.match(r" +-?\d+ (\S+) (\S+)/(\S+) \S+ Packages$", line)):
            sources.append("deb-src " + " ".join(found.groups()))
    if not sources:
        raise SuiteError(f"no configured archive has {package} {version}; run 'apt-get update'")
    with open(os.path.join(work, "sources.list"), "w", encoding="utf-8") as f:
        f.write("\n".join(sources) + "\n")
    options = []
    for key, value in (("Dir::Etc::sourcelist", "sources.list"), ("Dir::State::lists", "lists"), ("Dir::Cache", "cache")):
        options += ["-o", f"{key}={os.path.join(work, value)}"]
    options += ["-o", "Dir::Etc::sourceparts=-", "-o", "APT::Sandbox::User=root"]
    call(["apt-get", "-q", *options, "update"])
    call(["apt-get", "-q", *options, "source", "--download-only", f"{package}={version}"], cwd=work)
    call(["dpkg-source", "-x", glob.glob(os.path.join(work, "*.dsc"))[0], target])
    shutil.rmtree(work)


def end_own_recvtty(path):
    """One test starts a recvtty of its own and ends it only when it passes; else bats waits for it for ever."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    head = "function teardown() {\n"
    if head not in text or "TMP_RECVTTY_PID" not in text:
        raise SuiteError(f"{path}: not the file that is to be patched")
    end = '\tif [ -s "${TMP_RECVTTY_PID:-}" ]; then kill -9 "$(cat "$TMP_RECVTTY_PID")" || true; fi\n'
    with open(path, "w", encoding="utf-8") as f:
        f.write(text.replace(head, head + end, 1))


def make_busybox_image(path):
    """What the suite would download: a root file system of busybox alone."""
    with tempfile.TemporaryDirectory() as root:
        for name in ("bin", "dev", "etc", "home", "root", "tmp", "usr/sbin", "var/spool/mail", "var/www"):
            os.makedirs(os.path.join(root, name))
        os.chmod(root, 0o755)
        os.chmod(os.path.join(root, "tmp"), 0o1777)
        shutil.copy("/bin/busybox", os.path.join(root, "bin/busybox"))
        for applet in call(["/bin/busybox", "--list"]).split():
            if applet != "busybox":
                os.link(os.path.join(root, "bin/busybox"), os.path.join(root, "bin", applet))
        for name, text in (("passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("group", "root:x:0:\n")):
            with open(os.path.join(root, "etc", name), "w", encoding="utf-8") as f:
                f.write(text)
        with tarfile.open(path, "w:xz") as archive:
            archive.add(root, ".")


def machine():
    return f"Linux {platform.release().split('-')[0]}, {platform.machine()}"
