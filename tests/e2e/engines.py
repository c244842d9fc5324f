"""Real container engines for the end-to-end tests, each in a network namespace and directories of the test's own.

Everything that an engine starts carries the test's marker in its environment, so that the leak check of the harness finds
what is left of it.
"""

import glob
import itertools
import json
import os
import shutil
import signal
import subprocess
import tarfile

import harness
from debian_tree import debian_tree
from harness import KataTest, wait_until

IMAGE = "localhost/busybox:latest"
CGROUPS = "/sys/fs/cgroup"


class EngineTest(KataTest):
    """A KataTest with a network namespace for an engine, and an image to run."""

    def setUp(self):
        super().setUp()
        # Engines put their mounts below, and report paths without symbolic links.
        self.namespace = self.marker
        self.network_namespace(self.namespace)
        subprocess.run(["ip", "-n", self.namespace, "link", "set", "lo", "up"], check=True)

    def inside(self, *command):
        """The command in the engine's network namespace; `ip netns exec` would hide the cgroup mounts."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *command]

    mounts = None  # of the engine, where it has a mount namespace of its own

    def host_command(self, *command):
        """The command among the mounts that the engine sees."""
        return ["nsenter", "--mount=" + self.mounts, *command] if self.mounts else list(command)

    def hold_mounts(self, script):
        """Gives the engine a mount namespace in which the script has run; a process holds it until its input ends."""
        holder = subprocess.Popen(["unshare", "--mount", "--propagation", "slave", "sh", "-c", f"{script} && echo mounted && exec cat"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.environment)

        def end():
            holder.communicate(timeout=harness.COMMAND_TIMEOUT_S)
        self.addCleanup(end)
        self.assertEqual(holder.stdout.readline(), "mounted\n")
        self.mounts = f"/proc/{holder.pid}/ns/mnt"

    def image_archive(self):
        """A tar of a busybox root file system with what that lacks: names (it crashes) and datagrams."""
        rootfs = os.path.join(self.dir, "image")
        harness.make_rootfs(rootfs)
        # For programs of the host's /usr, where that is bound.
        for name in ("lib", "lib64"):
            os.makedirs(os.path.join(rootfs, "usr", name), exist_ok=True)
            os.symlink("usr/" + name, os.path.join(rootfs, name))
        for program in ("/usr/bin/getent", "/usr/bin/perl"):
            self.copy_program(program, rootfs)
        path = os.path.join(self.dir, "image.tar")
        with tarfile.open(path, "w") as archive:
            archive.add(rootfs, arcname=".")
        shutil.rmtree(rootfs)
        return path

    @staticmethod
    def copy_program(path, rootfs):
        """A program and its libraries, which are found where they are on this machine."""
        shutil.copy(path, os.path.join(rootfs, "bin"))
        listed = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
        for library in (word for line in listed.splitlines() for word in line.split() if word.startswith("/")):
            os.makedirs(rootfs + os.path.dirname(library), exist_ok=True)
            shutil.copy(library, rootfs + library)

    # What `run` ends with when the runtime has refused the container.
    refused = 125

    def engine_command(self, args):
        """The command line of the engine's client."""
        raise NotImplementedError

    def runtimes(self):
        """Configuration files by the names of runtimes that the engine gets."""
        return {"kata": self.configuration}

    def runtime_flags(self, runtime="kata"):
        """What `run` and `create` need."""
        return ["--runtime", runtime]

    def engine(self, *args, **options):
        """The engine's client with these arguments, run to its end. It fails unless the code is 0, or `check` is False."""
        return self.run_engine(self.engine_command(args), **options)

    def run_rm(self, *args, **options):
        """`run --rm` under kata; the image is named in `args`."""
        return self.engine("run", "--rm", *self.runtime_flags(), *args, **options)

    def run_engine(self, command, check=True, **options):
        options.setdefault("timeout", harness.COMMAND_TIMEOUT_S)
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        result = subprocess.run(command, capture_output=True, text=True, check=False, env=self.environment, **options)
        if check and result.returncode != 0:
            self.fail(f"{' '.join(command)}: exit {result.returncode}: {result.stderr}{self.engine_log()}")
        return result

    def engine_log(self):
        return ""

    def links(self):
        """The names of the interfaces in the engine's network namespace."""
        links = json.loads(self.run_engine(self.inside("ip", "-json", "link")).stdout)
        return sorted(link["ifname"] for link in links)

    def mount_lines(self):
        """The lines of mountinfo of each mount namespace that this process or one of the engine's is in. Others may have copies
        of mounts in theirs, which are not ours to remove."""
        lines = {}
        for pid in [os.getpid(), *(pid for pid, _ in harness.processes_with(self.marker))]:
            try:
                namespace = os.readlink(f"/proc/{pid}/ns/mnt")
                if namespace in lines:
                    continue
                with open(f"/proc/{pid}/mountinfo", encoding="utf-8") as f:
                    lines[namespace] = f.readlines()
            except OSError:  # it has ended
                pass
        return list(itertools.chain.from_iterable(lines.values()))

    def traces_of(self, container):
        """What on the host knows the id: of a container that is removed nothing may. Files are the engine's to remove."""
        sockets = self.run_engine(self.inside("cat", "/proc/net/unix")).stdout
        return ([f"process {pid}: {command[:200]}" for pid, command in harness.processes_with(container)]
                + [f"mount {line.split()[4]}" for line in self.mount_lines() if container in line]
                + [f"socket {line.split()[-1]}" for line in sockets.splitlines() if container in line]
                + [f"control group {path}" for path in harness.cgroups_with(container)])

    def remove_cgroups(self):
        """The parents that an engine makes for its containers and leaves; one that stays in use is a leak."""
        def all_removed():
            for path in harness.cgroups_with(self.marker):
                for directory, _, files in os.walk(path, topdown=False):
                    if "cgroup.procs" not in files:
                        # Podman writes below directories of controllers that are not mounted: plain files.
                        shutil.rmtree(directory, ignore_errors=True)
                        continue
                    try:
                        os.rmdir(directory)
                    except OSError:  # a container in it is still being taken away
                        pass
            return not harness.cgroups_with(self.marker)
        wait_until(all_removed, "the engine's control groups to be empty")


class DockerTest(EngineTest):
    """Starts dockerd with kata-runtime as the runtime "kata"."""

    daemon_options = {}

    def setUp(self):
        super().setUp()
        self.socket = os.path.join(self.dir, "docker.sock")
        self.exec_root = os.path.join(self.dir, "exec")
        configuration = {
            "data-root": os.path.join(self.dir, "data"), "exec-root": self.exec_root,
            "pidfile": os.path.join(self.dir, "docker.pid"), "hosts": ["unix://" + self.socket],
            "cgroup-parent": "/" + self.marker,
            "runtimes": {name: {"path": harness.RUNTIME, "runtimeArgs": ["--config", configuration]}
                         for name, configuration in self.runtimes().items()},
            **self.daemon_options}
        with open(os.path.join(self.dir, "daemon.json"), "w", encoding="utf-8") as f:
            json.dump(configuration, f)
        self.start_daemon()
        self.addCleanup(self.stop_daemon)
        with open(self.image_archive(), "rb") as archive:
            self.docker("import", "--change", 'CMD ["/bin/sh"]', "--change", "ENV PATH=/bin", "-", IMAGE, stdin=archive)

    def start_daemon(self):
        command = self.inside(*self.daemon_command(), "--config-file", os.path.join(self.dir, "daemon.json"))
        with open(os.path.join(self.dir, "dockerd.log"), "ab") as log:
            # In "/": containerd looks for its shims in its working directory first.
            self.daemon = subprocess.Popen(command, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                           env=self.environment, start_new_session=True)
        wait_until(lambda: self.daemon.poll() is not None or self.docker("version", check=False).returncode == 0,
                   "dockerd to answer", harness.COMMAND_TIMEOUT_S)

    def containerd_pid(self):
        """Of the containerd that dockerd manages."""
        with open(os.path.join(self.exec_root, "containerd/containerd.pid"), encoding="utf-8") as f:
            return int(f.read())

    def restart_daemon(self, number):
        """Ends the daemon, and the containerd that it manages, by a signal and starts it again."""
        containerd = self.containerd_pid()
        self.daemon.send_signal(number)
        self.daemon.wait(harness.COMMAND_TIMEOUT_S)
        if number == signal.SIGKILL:
            os.kill(containerd, number)
        wait_until(lambda: not os.path.exists(f"/proc/{containerd}"), "containerd to end", harness.COMMAND_TIMEOUT_S)
        if os.path.exists(os.path.join(self.dir, "docker.pid")):
            os.unlink(os.path.join(self.dir, "docker.pid"))
        self.start_daemon()

    def daemon_command(self):
        return ["/usr/sbin/dockerd"]

    def engine_command(self, args):
        return ["/usr/bin/docker", "--host", "unix://" + self.socket, *args]

    docker = EngineTest.engine
    docker_run = EngineTest.run_rm

    def engine_log(self):
        with open(os.path.join(self.dir, "dockerd.log"), encoding="utf-8", errors="replace") as f:
            return "\ndockerd:\n" + "".join(f.readlines()[-30:])

    def stop_daemon(self):
        containers = self.docker("ps", "--all", "--quiet", check=False).stdout.split()
        if containers:
            self.docker("rm", "--force", "--volumes", *containers, check=False)
        self.daemon.send_signal(signal.SIGTERM)
        try:
            self.daemon.wait(harness.COMMAND_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()
        self.remove_cgroups()
        # dockerd keeps its own network namespace by name once a container has asked for it.
        # So it does with the mount that it makes of its data, when it was killed before.
        for mount in (os.path.join(self.exec_root, "netns/default"), os.path.join(self.dir, "data")):
            subprocess.run(["umount", mount], stderr=subprocess.DEVNULL, check=False)
        left = [os.path.join(root, name) for root, names, _ in os.walk(self.exec_root) for name in names
                if root.endswith("runtime-runc/moby")]
        self.assertEqual(left, [], "state directories are left")


class NewerDockerTest(DockerTest):
    """Docker of Debian 13, and that release's virtiofsd. Their programs and libraries lie over those of this machine in a mount
    namespace for the daemon and its clients: a newer C library serves older programs, as QEMU and kata-runtime, too."""

    PACKAGES = ["docker.io", "docker-cli", "docker-buildx", "docker-compose", "containerd", "runc", "iptables", "virtiofsd"]

    def write_configuration(self, **settings):
        super().write_configuration(**{"virtiofsd": "/usr/libexec/virtiofsd", **settings})

    def start_daemon(self):
        if self.mounts is None:
            # It outlives daemons that a test restarts: containers keep their mounts.
            lower = debian_tree(self.PACKAGES, "trixie") + "/usr:/usr"
            self.hold_mounts(f"mount -t overlay -o lowerdir={lower} overlay /usr")
        super().start_daemon()
        self.assertRegex(self.docker("version", "--format", "{{.Server.Version}}").stdout, "^2[6-9]")

    def daemon_command(self):
        return self.host_command(*super().daemon_command())

    def engine_command(self, args):
        return self.host_command(*super().engine_command(args))


class PodmanTest(EngineTest):
    """Podman with storage of its own; it has no daemon."""

    network_backend = "netavark"
    refused = 126

    def setUp(self):
        super().setUp()
        # netavark and iptables keep books and locks of the machine there, whatever Podman is told, and tests run side by side.
        self.hold_mounts("mkdir -p /run/containers && mount -t tmpfs tmpfs /run/containers && touch /run/xtables.lock && "
                         f"touch {self.dir}/xtables.lock && mount --bind {self.dir}/xtables.lock /run/xtables.lock")
        # Podman takes plain directories, which engines leave where a controller of version 1 is not mounted, for
        # control groups, and cannot remove the pods in them.
        if not os.path.exists(CGROUPS + "/cgroup.procs"):
            for path in glob.glob(CGROUPS + "/*"):
                if not os.path.ismount(path) and not os.path.islink(path):
                    shutil.rmtree(path, ignore_errors=True)
        settings = os.path.join(self.dir, "containers.conf")
        with open(settings, "w", encoding="utf-8") as f:
            # Containers under runc would get limits that this process cannot raise.
            f.write(f'[network]\nnetwork_backend = "{self.network_backend}"\ndefault_network = "{self.marker}"\n'
                    '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n'
                    # "kata" is found without this at /usr/bin/kata-runtime.
                    "[engine.runtimes]\n" + "".join(map(self.runtime_setting, *zip(*self.runtimes().items()))))
        # CNI's plugin for addresses keeps its own books.
        self.addCleanup(shutil.rmtree, "/var/lib/cni/networks/" + self.marker, ignore_errors=True)
        self.environment["CONTAINERS_CONF"] = settings
        self.addCleanup(self.remove_all)
        with open(self.image_archive(), "rb") as archive:
            self.podman("import", "--change", 'CMD ["/bin/sh"]', "--change", "ENV PATH=/bin", "-", IMAGE, stdin=archive)

    def runtime_setting(self, name, configuration):
        """Podman has no arguments for its runtimes."""
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(f'#!/bin/sh\nexec {harness.RUNTIME} --config {configuration} "$@"\n')
        os.chmod(path, 0o755)
        return f'{name} = ["{path}"]\n'

    def engine_command(self, args):
        directory = os.path.join(self.dir, "podman")
        flags = ["--root", directory + "/root", "--runroot", directory + "/run", "--tmpdir", directory + "/tmp",
                 "--network-config-dir", directory + "/networks", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]
        return self.host_command(*self.inside("podman", *flags, *args))

    def runtime_flags(self, runtime="kata"):
        # Where there are several of one name Podman asks each; runc is not among the settings' runtimes.
        path = "/usr/sbin/runc" if runtime == "runc" else runtime
        return ["--runtime", path, "--cgroup-parent", "/" + self.marker]

    podman = EngineTest.engine
    podman_run = EngineTest.run_rm

    def remove_all(self):
        self.podman("pod", "rm", "--force", "--all", "--time", "0", check=False)
        self.podman("rm", "--force", "--all", "--time", "0", check=False)
        self.remove_cgroups()
        # Of pods that have no other parent.
        for directory in glob.glob(CGROUPS + "/*/libpod_parent"):
            try:
                os.rmdir(directory)
            except OSError:  # somebody else's pod
                pass
