"""Trees of Debian packages: root file systems for images and for engines of another release, without a registry.

The packages come from the mirror that this machine's apt is set up with, and are unpacked, not configured: what of their
set-up a test needs it does itself. A tree is made once per list of packages and kept outside of the checkout, as the guest's
kernel is.
"""

import fcntl
import glob
import hashlib
import os
import re
import shutil
import subprocess
import tempfile

CACHE = os.environ.get("KATA_CACHE_DIR") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "kata-containers-cpp")
RELEASE = "bookworm"
TIMEOUT_S = 1800


def debian_tree(packages, release=RELEASE):
    """The directory of a tree that holds `packages` and all they depend on. It is shared: not to be written to."""
    key = hashlib.sha256(" ".join([release, *sorted(packages)]).encode()).hexdigest()[:16]
    path = os.path.join(CACHE, f"debian-{release}-{key}")
    os.makedirs(CACHE, exist_ok=True)
    with open(path + ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.isdir(path):
            make_tree(path, packages, release)
    return path


def make_tree(path, packages, release):
    work = tempfile.mkdtemp(prefix="kata-debian-", dir=CACHE)
    try:
        # apt gives up its privileges for downloads.
        os.chmod(work, 0o755)
        for archive in download(work, packages, release):
            subprocess.run(["dpkg-deb", "--extract", archive, os.path.join(work, "tree")], check=True)
        set_up(os.path.join(work, "tree"))
        os.rename(os.path.join(work, "tree"), path)
    finally:
        shutil.rmtree(work)


def download(work, packages, release):
    """Archives of the packages, by an apt that knows of no installed ones."""
    for name in ("lists/partial", "cache/archives/partial", "tree", "parts"):
        os.makedirs(os.path.join(work, name))
    status = os.path.join(work, "status")
    with open(status, "w", encoding="utf-8"):
        pass
    options = [f"Dir::State={work}", f"Dir::State::lists={work}/lists", f"Dir::State::status={status}",
               f"Dir::Cache={work}/cache", "Dir::Etc::sourcelist=/dev/null", f"Dir::Etc::sourceparts={work}/parts",
               "APT::Install-Recommends=false", "APT::Sandbox::User=root", "Debug::NoLocking=true"]
    with open(os.path.join(work, "parts/debian.sources"), "w", encoding="utf-8") as f:
        f.write(sources(release))
    apt = ["apt-get", "-qq"] + [word for option in options for word in ("-o", option)]
    # apt-listbugs and the like belong to the machine's own installation.
    for command in (["update"], ["--download-only", "--yes", "install", *packages]):
        subprocess.run(apt + command, check=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT_S)
    return sorted(glob.glob(os.path.join(work, "cache/archives/*.deb")))


def sources(release):
    """This machine's sources of Debian, for `release`."""
    texts = []
    for path in sorted(glob.glob("/etc/apt/sources.list.d/*.sources")):
        with open(path, encoding="utf-8") as f:
            texts += [s for s in f.read().split("\n\n") if re.search(rf"^Suites:.*\b{RELEASE}\b", s, re.MULTILINE)]
    if not texts:
        raise RuntimeError(f"apt has no source of '{RELEASE}' in /etc/apt/sources.list.d")
    return re.sub(rf"\b{RELEASE}\b", release, "\n\n".join(texts))


def set_up(tree):
    """What the packages' own scripts would do that every program needs."""
    for name in ("bin", "sbin", "lib", "lib64"):
        merge_into_usr(tree, name)
    for name, mode in (("tmp", 0o1777), ("proc", 0o755), ("sys", 0o755), ("dev", 0o755), ("run", 0o755), ("root", 0o700),
                       ("etc", 0o755), ("mnt", 0o755), ("var/tmp", 0o1777)):
        directory = os.path.join(tree, name)
        os.makedirs(directory, exist_ok=True)
        os.chmod(directory, mode)
    for name in ("passwd", "group"):
        shutil.copy(os.path.join(tree, f"usr/share/base-passwd/{name}.master"), os.path.join(tree, "etc", name))
    subprocess.run(["ldconfig", "-r", tree], check=True)


def merge_into_usr(tree, name):
    """Packages of Debian 12 still have files in /bin, which is a link to /usr/bin."""
    directory, target = os.path.join(tree, name), os.path.join(tree, "usr", name)
    if os.path.isdir(directory) and not os.path.islink(directory):
        os.makedirs(target, exist_ok=True)
        subprocess.run(["cp", "-a", directory + "/.", target], check=True)
        shutil.rmtree(directory)
    if not os.path.lexists(directory):
        os.makedirs(target, exist_ok=True)
        os.symlink("usr/" + name, directory)
