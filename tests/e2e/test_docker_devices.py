"""Docker: devices, privileged containers, and kata as the default runtime."""

import os

import harness
from engine_cases import Devices
from engines import DockerTest, IMAGE


class PrivilegedExec:
    def test_privileged_exec(self):
        """Not in the parity table: runc cannot give what the host's root lacks, as often in a container."""
        self.docker("run", "-d", "--name", "box", "--runtime", "kata", "--network", "none", "--user", "user", IMAGE,
                    "sleep", "1000")
        show = ("grep", "-E", "Cap(Eff|Bnd)", "/proc/self/status")
        plain = self.docker("exec", "box", *show).stdout.split()
        self.assertEqual(plain, ["CapEff:", "0000000000000000", "CapBnd:", "00000000a80425fb"])
        for user, effective in (("root", self.all_capabilities()), ("user", "0000000000000000")):
            out = self.docker("exec", "--privileged", "--user", user, "box", *show).stdout.split()
            self.assertEqual(out, ["CapEff:", effective, "CapBnd:", self.all_capabilities()])
        # The filter of system calls stays, as under runc: mount(2) would be refused.
        set_mtu = ("--user", "root", "box", "ip", "link", "set", "lo", "mtu", "9000")
        self.assertIn("not permitted", self.docker("exec", *set_mtu, check=False).stderr)
        self.docker("exec", "--privileged", *set_mtu)


class DefaultRuntime:
    daemon_options = {"default-runtime": "kata"}
    DOCKERFILE = f"""
FROM {IMAGE}
ENV A=b
WORKDIR /work
COPY Dockerfile .
RUN chmod 1777 /tmp && uname -r > kernel && echo $A > value && chown 5:6 value && ln -s value link
USER 5
RUN id -u > /tmp/user && cat value
CMD ["cat", "/work/kernel", "link", "/tmp/user"]
"""

    def build(self, buildkit):
        """What the built image shows: the kernel that its steps ran on, and what they made."""
        context = os.path.join(self.dir, "context")
        os.mkdir(context)
        with open(os.path.join(context, "Dockerfile"), "w", encoding="utf-8") as f:
            f.write(self.DOCKERFILE)
        self.environment["DOCKER_BUILDKIT"] = buildkit
        self.docker("build", "--network", "none", "--tag", "localhost/built", context)
        return self.docker("run", "--rm", "--network", "none", "localhost/built").stdout.split()

    def test_build(self):
        kernel, *made = self.build("0")
        self.assertNotEqual(kernel, os.uname().release)
        self.assertEqual(made, ["b", "5"])
        failed = self.docker("build", "--network", "none", "-", input=f"FROM {IMAGE}\nRUN exit 7\n", check=False)
        self.assertIn("non-zero code: 7", failed.stderr)


class DefaultRuntimeWithBuildKit(DefaultRuntime):
    def test_build_with_buildkit(self):
        """Its steps are run by a runc of its own, whatever the daemon's default is; what is built runs in a machine."""
        self.assertEqual(self.build("1"), [os.uname().release, "b", "5"])
        kernel = self.docker("run", "--rm", "--network", "none", "localhost/built", "uname", "-r").stdout.strip()
        self.assertNotEqual(kernel, os.uname().release)


class DockerDevices(Devices, PrivilegedExec, DockerTest):
    def all_capabilities(self):
        """As far as this Docker knows them."""
        return "0000003fffffffff"


class DockerDefaultRuntime(DefaultRuntime, DockerTest):
    pass


if __name__ == "__main__":
    harness.main()
