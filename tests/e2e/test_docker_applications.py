"""Docker with what people run in it: a database, Docker itself, a composed application."""

import os
import re
import subprocess
import tarfile

import harness
from debian_tree import debian_tree
from engines import DockerTest, IMAGE
from harness import wait_until

# Programs of the host, for containers that have its /usr.
HOST_PROGRAMS = ("-v", "/usr:/usr:ro", "-v", "/etc/alternatives:/etc/alternatives:ro",
                 "-e", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/bin")


class Database:
    """Debian's PostgreSQL, its data on a volume."""

    USER = "101:101"
    # Most of the packages' files: texts, the compiler behind queries, other programming languages.
    UNUSED = re.compile(r"^\./(etc/passwd$|usr/share/(doc|locale|man|perl|zoneinfo|i18n|info)/|.*/(perl|perl5|bitcode|gconv)/|.*LLVM)")
    BIN = "/usr/lib/postgresql/15/bin/"

    def setUp(self):
        super().setUp()
        tree = debian_tree(["postgresql-15", "base-files", "base-passwd", "dash", "coreutils"])
        passwd = os.path.join(self.dir, "passwd")
        with open(passwd, "w", encoding="utf-8") as f:
            f.write("root:x:0:0::/root:/bin/sh\npostgres:x:101:101::/tmp:/bin/sh\n")
        archive = os.path.join(self.dir, "postgres.tar")
        with tarfile.open(archive, "w") as tar:
            tar.add(tree, ".", filter=lambda entry: None if self.UNUSED.search(entry.name) else entry)
            tar.add(passwd, "./etc/passwd")
        self.docker("import", "--change", f"ENV PATH={self.BIN}:/usr/bin:/bin", archive, "localhost/postgres")
        os.unlink(archive)
        self.docker("volume", "create", "data")
        self.docker_run("--network", "none", "-v", "data:/data", "localhost/postgres", "chown", self.USER, "/data")
        self.docker_run("--network", "none", "-v", "data:/data", "--user", self.USER, "localhost/postgres",
                        "initdb", "--no-locale", "--pgdata", "/data")
        self.docker("run", "-d", "--name", "db", "--runtime", "kata", "--network", "none", "--memory", "256m", "--user",
                    self.USER, "-v", "data:/data", "localhost/postgres", "postgres", "-D", "/data", "-k", "/tmp")
        self.await_ready()
        self.in_database("pgbench", "--initialize", "--init-steps", "dtGvp", "--host", "/tmp")

    def in_database(self, *command, **options):
        return self.docker("exec", "db", *command, **options)

    def await_ready(self):
        wait_until(lambda: self.in_database("pg_isready", "--host", "/tmp", check=False).returncode == 0,
                   "the database to accept connections", harness.COMMAND_TIMEOUT_S)

    def query(self, text):
        return self.in_database("psql", "-h", "/tmp", "-d", "postgres", "-At", "-c", text).stdout.strip()

    def transactions(self):
        """How many there were; all have moved money, whose sums must agree."""
        sums = [self.query(f"select coalesce(sum({column}), 0) from {table}")
                for column, table in (("abalance", "pgbench_accounts"), ("bbalance", "pgbench_branches"),
                                      ("tbalance", "pgbench_tellers"), ("delta", "pgbench_history"))]
        self.assertEqual(len(set(sums)), 1, sums)
        self.assertEqual(self.query("select count(*) from pgbench_accounts"), "100000")
        return int(self.query("select count(*) from pgbench_history"))

    def test_restart_and_kill_keep_the_data(self):
        self.in_database("pgbench", "--no-vacuum", "--client", "2", "--transactions", "50", "--host", "/tmp")
        self.assertEqual(self.transactions(), 100)
        self.docker("restart", "db")
        self.await_ready()
        self.assertEqual(self.transactions(), 100)
        # In the middle of its work.
        self.docker("exec", "-d", "db", "pgbench", "--no-vacuum", "--client", "2", "--time", "600", "--host", "/tmp")
        wait_until(lambda: int(self.query("select count(*) from pgbench_history")) > 150, "transactions",
                   harness.COMMAND_TIMEOUT_S)
        self.docker("kill", "db")
        self.docker("start", "db")
        self.await_ready()
        self.assertGreater(self.transactions(), 150)
        self.assertIn("database system was not properly shut down", self.docker("logs", "db").stderr)


class DockerInside:
    """The commands are those of docs/docker.md; the programs come from the host instead of an image."""

    START = """
        mkdir -p /sys/fs/cgroup/init
        for p in $(cat /sys/fs/cgroup/cgroup.procs); do echo $p > /sys/fs/cgroup/init/cgroup.procs; done 2>/dev/null
        sed 's/ / +/g; s/^/+/' /sys/fs/cgroup/cgroup.controllers > /sys/fs/cgroup/cgroup.subtree_control
        truncate -s 1G /docker.img && mkfs.ext4 -q /docker.img && mkdir -p /var/lib/docker
        mount -o loop /docker.img /var/lib/docker
        exec dockerd
    """

    def test_docker_in_docker(self):
        self.docker("run", "-d", "--name", "inner", "--runtime", "kata", "--network", "none", "--privileged", "--memory",
                    "512m", "--tmpfs", "/run", *HOST_PROGRAMS, "-v", self.image_archive() + ":/image.tar:ro", IMAGE,
                    "sh", "-c", self.START)

        def inner(*command, **options):
            return self.docker("exec", "inner", "docker", *command, **options)

        def answers():
            running = self.docker("inspect", "--format", "{{.State.Running}}", "inner").stdout.strip()
            log = self.docker("logs", "inner").stderr
            self.assertEqual(running, "true", log)
            # Processes that come while it hands its control groups on would be in the way of that.
            return "API listen on" in log and inner("version", check=False).returncode == 0
        wait_until(answers, "the inner dockerd to answer", harness.COMMAND_TIMEOUT_S)
        self.assertIn("overlay2", inner("info").stdout)
        inner("import", "--change", "ENV PATH=/bin", "/image.tar", "inner")
        kernel = self.docker("exec", "inner", "uname", "-r").stdout
        out = inner("run", "--rm", "--memory", "64m", "--pids-limit", "20", "inner", "sh", "-c",
                    "uname -r; cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max; ip -o link | grep -c eth0").stdout
        self.assertEqual(out, f"{kernel}{64 << 20}\n20\n1\n")
        inner("run", "-d", "--name", "box", "-p", "8080:80", "inner", "sh", "-c",
              "mkdir /w; echo hello > /w/index.html; httpd -f -p 80 -h /w")
        fetched = self.docker("exec", "inner", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/", check=False)
        self.assertEqual(fetched.stdout, "hello\n", fetched.stderr)
        inner("stop", "-t", "1", "box")


class ComposedApplication:
    """A test of whatever Docker the class is mixed with."""

    FILE = """
version: "3.8"
services:
  database:
    image: {image}
    runtime: runc
    command: sh -c "echo stored > /data/file; httpd -f -p 5432 -h /data"
    volumes: [data:/data]
  worker:
    image: {image}
    runtime: kata
    command: sh -c "echo working; sleep 1000"
    deploy:
      resources:
        limits: {{cpus: "1.0", memory: 512M}}
  public:
    image: {image}
    runtime: kata
    command: sh -c "mkdir /w; echo hello > /w/index.html; httpd -f -p 80 -h /w"
    depends_on: [database]
    ports: ["127.0.0.1:8081:80"]
    volumes: [pages:/pages]
    healthcheck: {{test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1/"], interval: 1s, timeout: 20s, retries: 60}}
volumes: {{data: {{}}, pages: {{}}}}
"""

    def compose(self, *args, **options):
        environment = dict(self.environment, DOCKER_HOST="unix://" + self.socket)
        environment["COMPOSE_ANSI"] = "never"
        result = subprocess.run([*self.compose_command(), "--project-name", "app", "--file", self.file, *args],
                                capture_output=True, text=True, check=False, env=environment, cwd=self.dir,
                                timeout=harness.COMMAND_TIMEOUT_S, stdin=subprocess.DEVNULL, **options)
        if result.returncode != 0:
            self.fail(f"compose {' '.join(args)}: exit {result.returncode}: {result.stderr}{self.engine_log()}")
        return result.stdout

    def test_application(self):
        self.file = os.path.join(self.dir, "compose.yml")
        with open(self.file, "w", encoding="utf-8") as f:
            f.write(self.FILE.format(image=IMAGE))
        self.compose("up", "--detach")
        host = os.uname().release
        for service, same in (("database", True), ("worker", False), ("public", False)):
            kernel = self.compose("exec", "-T", service, "uname", "-r").strip()
            self.assertEqual(kernel == host, same, service)
        limits = self.compose("exec", "-T", "worker", "cat", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/cpu.max")
        self.assertEqual(limits, f"{512 << 20}\n100000 100000\n")
        wait_until(lambda: "(healthy)" in self.docker("ps").stdout, "the health check", harness.COMMAND_TIMEOUT_S)
        page = self.run_engine(self.inside("busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8081/"))
        self.assertEqual(page.stdout, "hello\n")
        # From a virtual machine to the container beside.
        containers = self.docker("ps", "--filter", "label=com.docker.compose.service=database", "--quiet").stdout.split()
        address = self.docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
                              *containers).stdout.strip()
        self.assertEqual(self.compose("exec", "-T", "public", "wget", "-q", "-O", "-",
                                      f"http://{address}:5432/file"), "stored\n")
        self.assertIn("working", self.compose("logs", "worker"))
        self.compose("restart", "--timeout", "1", "worker")
        wait_until(lambda: self.compose("logs", "--no-color", "worker").count("working") == 2, "the second start's output")
        self.compose("down", "--timeout", "1", "--volumes")
        self.assertEqual(self.docker("ps", "--all", "--quiet").stdout + self.docker("volume", "ls", "--quiet").stdout, "")


class Postgres(Database, DockerTest):
    pass


class DockerInDocker(DockerInside, DockerTest):
    pass


class Compose(ComposedApplication, DockerTest):
    def compose_command(self):
        return ["/usr/bin/docker-compose"]


if __name__ == "__main__":
    harness.main()
