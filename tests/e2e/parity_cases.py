"""The table of the engine-parity test (parity.py says how to read it)."""

import shlex

from parity import Case, Step


def script(text):
    """`sh -c text` as arguments in a step's command."""
    return "sh -c " + shlex.quote(text.strip().replace("\n", "; ")).replace("{", "{{").replace("}", "}}")


def show(*lines):
    """A script that prints "label: value" for every "label command"; a value of several lines becomes one."""
    body = ['s() { l=$1; shift; printf "%s: %s\\n" "$l" "$(eval "$@" 2>&1 | tr "\\n" "|")"; }',
            # The value of a control group's file: version 1 below its controller (runc on such a host), or version 2.
            'first() { for f; do [ ! -e /sys/fs/cgroup/$f ] || { cat /sys/fs/cgroup/$f; return; }; done; }']
    for line in lines:
        label, command = line.split(" ", 1)
        body.append(f"s {label} {shlex.quote(command)}")
    return script("\n".join(body))


# Runs until a signal: TERM ends it, USR1 is answered.
LOOP = script("""
trap 'exit 3' TERM
trap 'echo usr1' USR1
echo begin
while :; do sleep 0.1; done
""")
READY = Step("logs {box}", until="begin")

# Without those that cannot be caught, SIGCHLD, which comes by itself, and two that the C library keeps for itself.
# SIGCONT comes first: the kernel drops it when a signal that stops comes before it was taken (kill(2)).
SIGNALS = [18] + [n for n in range(1, 65) if n not in (9, 17, 18, 19, 32, 33)]

# What options do to the process and its surroundings.
OPTIONS = Case("options", [
    Step("{run} --rm -i --init --read-only --tmpfs /t:size=1m,mode=1777 --shm-size 32m --ulimit nofile=123:456 "
         "--ulimit core=0 --ulimit nproc=4096:4096 --sysctl kernel.msgmax=4096 --group-add 9 -w /tmp -e A=b -e EMPTY= --hostname box "
         "--add-host foo:192.0.2.1 --cap-drop ALL --cap-add CHOWN --cap-add NET_RAW --security-opt no-new-privileges "
         "--pids-limit 50 --memory 400m --memory-swap 500m --memory-reservation 100m --cpus 1.5 --cpuset-cpus 0-1 "
         "--cpu-shares 512 "
         "--oom-score-adj 100 --label a=b --cidfile {dir}/cid --device /dev/zero:/dev/myzero:r {image} " + show(
             "id id", "cwd pwd", "env env | sort", "hostname hostname", "hosts grep foo /etc/hosts", "files ulimit -n",
             "hard-files ulimit -H -n", "core ulimit -c", "msgmax cat /proc/sys/kernel/msgmax",
             "status grep -E 'Cap|NoNewPrivs|Seccomp:|Groups' /proc/self/status", "tmpfs grep ' /t ' /proc/mounts",
             "shm df -k /dev/shm | tail -1 | tr -s ' '", "dev ls /dev", "init tr '\\0' ' ' </proc/1/cmdline | cut -c 1-20",
             "processors nproc", "oom cat /proc/self/oom_score_adj", "stdin cat", "umask umask", "root touch /x",
             "tmp touch /t/x", "device head -c 3 /dev/myzero | od -t x1", "device-write echo > /dev/myzero",
             "mknod mknod /t/null c 1 3", "kcore head -c 1 /proc/kcore", "sysctl echo 1 > /proc/sys/kernel/panic",
             "sysfs echo 1 > /sys/kernel/mm/transparent_hugepage/enabled",
             "chown touch /t/y; chown 3 /t/y; stat -c %u /t/y",
             "mounts cut -d' ' -f 2 /proc/mounts | grep -v /sys/fs/cgroup | sort",
             "memory first memory.max memory/memory.limit_in_bytes", "pids first pids.max pids/pids.max",
             "cpu first cpu.max cpu/cpu.cfs_quota_us | cut -d' ' -f 1",
             "shares first cpu.weight cpu/cpu.shares | sed 's/^59$/512/'",  # version 2's weight of 512 shares
             "reservation first memory.low memory/memory.soft_limit_in_bytes", "cpuset first cpuset.cpus cpuset/cpuset.cpus",
             "terminal tty", "session ps -o pid,pgid,sid,comm | head -2"), input="typed", differs={
                 "cpuset": (r"\|", "the processors are the host's, where the virtual machine is kept to them")}),
    Step("cat {dir}/cid", host=True),
    Step("{run} --rm --tmpfs /made --tmpfs /mnt --tmpfs /told:mode=701 {image} stat -c '%n %a' /made /mnt /told"),
    # Podman has none without a network.
    Step("{run} --rm --dns 192.0.2.53 --dns-search example.org --dns-option ndots:3 {image} cat /etc/resolv.conf",
         only="docker"),
])


SECURITY = Case("security", [
    Step("{run} --rm --user user --entrypoint /bin/sh --security-opt seccomp=unconfined {image} -c "
         + script("id; pwd; grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status; mkdir /x; whoami; echo $HOME")[6:]),
    # Podman's / may be written to by nobody but a root with all rights, also by that of a user namespace.
    Step("{run} --rm --uidmap 0:10000:5000 --gidmap 0:10000:5000 {image} " + script("mkdir /made; stat -c '%u %a' / /made"),
         only="podman"),
    Step("{run} --rm --user user --group-add extra --group-add 55 {image} id"),
    # Version 1 has a hierarchy of systemd's own.
    Step("{run} --rm --systemd always {image} " + script(
        "d=/sys/fs/cgroup; [ ! -e $d/systemd ] || d=$d/systemd; mkdir $d/unit && echo $container; rmdir $d/unit"), only="podman"),
    # Podman makes none.
    Step("{run} --rm --user user -w /made/here {image} pwd", podman_code=126, contains="/made/here"),
    Step("cat > {dir}/profile.json", host=True, input="""{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}"""),
    Step("{run} --rm --user 1000:2000 --cap-drop NET_RAW --security-opt seccomp={dir}/profile.json "
         "--oom-kill-disable --memory 64m {image} "
         + script("grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status; mkdir /tmp/x; id -u; id -g")),
])

FOREGROUND = Case("foreground", [
    Step("{run} --rm {image} " + script("echo out; echo err >&2; exit 7"), code=7),
    Step("{engine} {run} --rm -i {image} md5sum < {dir}/../big", host=True),
    # What the client gets is passed on.
    Step("{engine} {run} --rm --name {box} {image} " + LOOP + " > {dir}/out & "
         "until grep -qs begin {dir}/out; do sleep 0.1; done; kill -USR1 $!; until grep usr1 {dir}/out; do sleep 0.1; done; "
         "kill -TERM $!; wait $!", host=True, code=3),
    Step("{run} -it --name {box} {image} " + script("tty; sleep 1; stty size; echo ready; read line; echo got $line; exit 5"), code=5,
         terminal=True, prompt="ready", input="typed\n"),
    Step("logs {box}"),
    Step("start --attach --interactive {box}", code=5, terminal=True, prompt="ready", input="again\n"),
    Step("rm {box}"),
    # For a second nobody has the terminal open.
    Step("{run} --rm -t {image} " + script("echo early; exec <&- >&- 2>&-; sleep 1; echo late > /dev/console; exit 6"), code=6,
         terminal=True),
])

EXEC = Case("exec", [
    Step("{run} -d --name {box} -e INHERITED=1 -w /tmp {image} " + LOOP), READY,
    Step("exec {box} " + script("echo out; echo err >&2; pwd; echo $INHERITED $HOME; exit 42"), code=42),
    Step("exec -i {box} cat", input="through\n"),
    Step("exec -it {box} " + script("tty; sleep 1; stty size; echo ready; read line; echo got $line"), terminal=True,
         prompt="ready", input="typed\n"),
    Step("exec -u user -w /mnt -e A=b {box} " + script("id; pwd; echo $A $HOME; grep CapEff /proc/self/status")),
    Step("exec -u 5:6 {box} id"),
    Step("exec -d {box} " + script("echo detached > /tmp/detached")),
    Step("exec {box} cat /tmp/detached", until="detached"),
    Step("exec {box} " + script("kill -TERM $$"), code=143),
    Step("exec {box} " + script("kill -KILL $$"), code=137),
    Step("exec {box} nosuchcommand", code=126, podman_code=127, contains="executable file not found", at_once=True),
    Step("exec {box} /etc/passwd", code=126, contains="permission denied"),
    Step("exec {box} /tmp", code=126, contains="ermission denied|is a directory"),
    Step("exec -u nosuchuser {box} true", code=126, podman_code=255),
    Step("exec -w /etc/passwd {box} true", code=126, podman_code=255, contains="/etc/passwd"),
    Step("exec {box} " + script("cat /proc/1/comm; ps -o pid,comm | head -2")),
    # Podman keeps those that went wrong.
    Step("inspect --format '{{{{len .ExecIDs}}}}' {box}", until="0", only="docker"),
    Step("pause {box}"),
    Step("exec {box} true", code=1, podman_code=255, contains="paused|running containers"),
    Step("unpause {box}"),
    Step("stop {box}"),
    Step("exec {box} true", code=1, podman_code=255, contains="not running|running containers"),
    Step("rm {box}"),
])

STATE = ("inspect --format '{{{{.State.Status}}}} {{{{.State.Running}}}} {{{{.State.Paused}}}} {{{{.State.ExitCode}}}} "
         "{{{{.State.OOMKilled}}}} {{{{.State.Error}}}} {{{{.RestartCount}}}}' {box}")

# Docker remembers 64 events of all its containers, too few to ask at the end.
WATCH = Step("{engine} events --since 1m --filter container={box} --format '{{{{.Action}}}} {{{{.Actor.Attributes.exitCode}}}} "
             "{{{{.Actor.Attributes.signal}}}}' > {dir}/events 2>&1 & echo $! > {dir}/watcher", host=True, only="docker")

LIFE = Case("life", [
    WATCH,
    Step("{create} --name {box} --label a=b --stop-signal TERM {image} " + LOOP),
    Step(STATE), Step("start {box}"), READY, Step(STATE),
    Step("start {box}"),
    # The pid that engines have is a process of the container's.
    Step("grep -c -m 1 $({engine} inspect --format '{{{{.Id}}}}' {box}) /proc/$({engine} inspect --format '{{{{.State.Pid}}}}' "
         "{box})/cgroup", host=True),
    # Of the loop's first line; the others come and go.
    Step("{engine} top {box} -o pid,args | awk 'NR == 2 {{ print $2, $3 }}'", host=True),
    Step("{engine} inspect {box} | jq -S '.[0] | .Config.Env |= sort | del(.State.Pid, .State.ConmonPid, "
         ".OCIRuntime, .HostConfig.Runtime, .Config.CreateCommand, .SizeRw)'", host=True),
    Step("pause {box}"), Step(STATE), Step("pause {box}", code=1, podman_code=125),
    Step("ps --format '{{{{.Names}}}} {{{{.Labels}}}}' --filter status=paused --filter name={box}"),
    Step("unpause {box}"), Step("unpause {box}", code=1, podman_code=125),
    Step("kill --signal USR1 {box}"), Step("logs {box}", until="usr1"),
    Step("update --memory 300m --memory-swap 300m --cpus 0.5 --pids-limit 77 --restart no {box}", only="docker"),
    Step("update --memory 300m --memory-swap 300m --cpus 0.5 {box}", only="podman"),
    Step("exec {box} " + show("memory first memory.max memory/memory.limit_in_bytes", "pids first pids.max pids/pids.max",
                              "cpu first cpu.max cpu/cpu.cfs_quota_us | cut -d' ' -f 1")),
    Step("stats --no-stream --format '{{{{.Name}}}} {{{{.MemPerc}}}} {{{{.PIDs}}}}' {box}", contains=r"\d\.\d+% [1-9]"),
    Step("rename {box} {box}x"), Step("rename {box}x {box}"),
    Step("rm {box}", code=1, podman_code=2),
    Step("exec {box} " + script("echo new > /root/new; rm /etc/group; mkdir /srv; ln -s new /root/link; echo x >> /etc/passwd")),
    Step("{engine} diff {box} | sort", host=True),
    Step("cp {dir}/../big {box}:/root/big"), Step("exec {box} md5sum /root/big"),
    Step("cp {box}:/root {dir}/out"), Step("cd {dir}/out && ls -l | cut -c 1-10 && md5sum big && readlink link", host=True),
    Step("cp {box}:/nosuch {dir}/out", code=1, podman_code=125),
    Step("{engine} wait {box} > {dir}/code & {engine} stop {box} && wait && cat {dir}/code", host=True),
    Step(STATE), Step("logs {box}"), Step("logs --since 1h {box}"), Step("logs --until 1h {box}"), Step("wait {box}"),
    Step("cp {box}:/root/new -", contains="new"), Step("cp {dir}/../big {box}:/root/late"),
    Step("commit --change 'CMD cat /root/new' {box} localhost/{box}", contains="ID"), Step("{run} --rm localhost/{box}"),
    Step("rmi localhost/{box}", contains="Untagged"),
    Step("{engine} export {box} | tar t | sort | grep -E '^(root|srv|etc)'", host=True),
    Step("restart --time 1 {box}"), Step("exec {box} cat /root/new"), Step("kill {box}"), Step("wait {box}"), Step(STATE),
    Step("kill {box}", code=1, podman_code=125), Step("exec {box} true", code=1, podman_code=255),
    Step("rm {box}"), Step("inspect {box}", code=1, podman_code=125),
    # The ends of exec come beside the others.
    Step("sleep 1; kill $(cat {dir}/watcher); grep -v exec_die {dir}/events; grep -q '^die 3' {dir}/events", host=True,
         only="docker"),
    Step("{engine} events --stream=false --since 10m --filter container={box} --format '{{{{.Type}}}} {{{{.Status}}}} "
         "{{{{.ContainerExitCode}}}}' > {dir}/events; grep -v exec {dir}/events; grep -q 'died 3' {dir}/events", host=True,
         only="podman"),
])

ALL_SIGNALS = Case("signals", [
    Step("{run} -d --name {box} {image} " + script(
        "for n in %s; do trap \"echo signal $n\" $n; done; echo begin; while :; do sleep 0.1; done"
        % " ".join(map(str, SIGNALS)))), READY,
    Step("for n in " + " ".join(map(str, SIGNALS)) + "; do {engine} kill --signal $n {box} >/dev/null || echo refused $n; "
         "done", host=True),
    Step("logs {box}", until=f"signal {SIGNALS[-1]}"),
    Step("{engine} logs {box} | sort", host=True),
    Step("kill --signal HUP {box}"), Step("kill --signal SIGRTMIN+3 {box}"),
    Step("kill --signal NOSUCH {box}", code=1, podman_code=125),
    Step("kill --signal STOP {box}"), Step("exec {box} grep State /proc/1/status", until="State:\tT (stopped)"),
    Step("kill --signal CHLD {box}"), Step("kill --signal CONT {box}"),
    Step("exec {box} grep -c 'State:.[RS]' /proc/1/status", until="1"),
    Step("stop --time 1 {box}"), Step(STATE), Step("rm {box}"),
])

# While it runs, and while it does not.
UPDATE = Case("update", [
    Step("{run} -d --name {box} --memory 200m --memory-swap 200m {image} " + LOOP), READY,
    Step("update --cpu-shares 512 --memory-reservation 100m --cpuset-cpus 0 {box}"),
    Step("exec {box} " + show(
        "shares first cpu.weight cpu/cpu.shares | sed 's/^59$/512/'", "processors nproc",
        "reservation first memory.low memory/memory.soft_limit_in_bytes", "memory first memory.max memory/memory.limit_in_bytes")),
    Step("stop {box}"),
    Step("update --memory 100m --memory-swap 100m --restart unless-stopped {box}", only="docker"),
    Step("start {box}", only="docker"),
    Step("exec {box} " + show("memory first memory.max memory/memory.limit_in_bytes"), only="docker"),
    Step("inspect --format '{{{{.HostConfig.Memory}}}} {{{{.HostConfig.CpuShares}}}} {{{{.HostConfig.CpusetCpus}}}} "
         "{{{{.HostConfig.RestartPolicy.Name}}}}' {box}", only="docker"),
    Step("rm --force {box}"),
])

STOP = Case("stop", [
    Step("{run} -d --init --name {box} --stop-signal USR1 {image} " + LOOP), READY,
    Step("stop --time 1 {box}"), Step("logs {box}", contains="usr1"), Step(STATE), Step("rm {box}"),
    # The engine's init has no handlers: it blocks signals and takes them when it likes.
    Step("{run} -d --init --name {box} {image} " + LOOP), READY,
    Step("stop {box}"), Step(STATE), Step("rm {box}"),
    Step("{run} -d --init --name {box} {image} " + script("echo begin; exec sleep 1000")), READY,
    Step("kill --signal TERM {box}"), Step("wait {box}"), Step("rm {box}"),
    Step("{run} -d --name {box} {image} " + script("trap '' TERM; echo begin; sleep 3; exit 4")), READY,
    Step("kill --signal TERM {box}"), Step("wait {box}"), Step("rm {box}"),
])

RESTART = Case("restart", [
    Step("{run} -d --name {box} --restart on-failure:2 {image} " + script("echo started; exit 3")),
    Step("inspect --format '{{{{.RestartCount}}}} {{{{.State.Status}}}}' {box}", until="2 exited"),
    Step("logs {box}"), Step(STATE), Step("rm {box}"),
    Step("{run} -d --name {box} --restart always {image} "
         + script("echo started; [ ! -e /root/second ] || sleep 1000; touch /root/second")),
    Step("inspect --format '{{{{.RestartCount}}}} {{{{.State.Status}}}}' {box}", until="1 running"),
    Step("logs {box}", until="started\nstarted"), Step("kill {box}"), Step("wait {box}"), Step(STATE), Step("rm {box}"),
])

# What asks in intervals is in Docker the daemon, in Podman systemd.
HEALTH = Case("health", only="docker", steps=[
    Step("{run} -d --name {box} --health-cmd 'cat /tmp/well' --health-interval 300ms --health-retries 2 {image} "
         + script("echo fine > /tmp/well; sleep 1000")),
    Step("inspect --format '{{{{.State.Health.Status}}}}' {box}", until="healthy"),
    Step("exec {box} rm /tmp/well"),
    Step("inspect --format '{{{{.State.Health.Status}}}}' {box}", until="unhealthy"),
    Step("inspect --format '{{{{(index .State.Health.Log 4).ExitCode}}}} {{{{(index .State.Health.Log 4).Output}}}}' {box}",
         until="1 cat: can't open '/tmp/well': No such file or directory"),
    Step("rm --force {box}"), Step("rm {box}", code=1),
])

# Two streams have no order among them.
LINES = script("for i in 1 2 3; do echo err $i >&2; sleep 1; echo line $i; sleep 0.1; done; printf unfinished")
LOGS = Case("logs", [
    Step("{create} --name {box} --log-driver local --log-opt max-size=1m {image} " + LINES, only="docker"),
    Step("{create} --name {box} --log-driver k8s-file --log-opt max-size=1m {image} " + LINES, only="podman"),
    Step("start --attach {box}"),
    Step("logs --tail 2 {box}"), Step("logs --timestamps {box}"), Step("logs --follow {box}"), Step("rm {box}"),
    Step("{run} --name {box} --log-driver none {image} echo unseen"),
    Step("logs {box}", code=1, podman_code=125), Step("rm {box}"),
])

HEALTH_ON_DEMAND = Case("health-on-demand", only="podman", steps=[
    Step("{run} -d --name {box} --health-cmd 'cat /tmp/well' --health-interval disable --health-retries 1 {image} "
         + script("echo fine > /tmp/well; echo begin; sleep 1000")), READY,
    Step("healthcheck run {box}"), Step("inspect --format '{{{{.State.Health.Status}}}}' {box}"),
    Step("exec {box} rm /tmp/well"),
    Step("healthcheck run {box}", code=1), Step("inspect --format '{{{{.State.Health.Status}}}}' {box}"),
    Step("rm --force --time 0 {box}"),
])

ATTACH = Case("attach", [
    Step("{run} -d -i --name {box} {image} head -n 1"),
    # Docker closes the output with the input.
    Step("(echo line; sleep 3) | {engine} attach {box}", host=True, racing=True),
    Step("wait {box}"), Step("logs {box}"), Step("rm {box}"),
    Step("{run} -d -i -t --name {box} {image} " + script("while read l; do echo got $l; done; exit 4")),
    Step("attach {box}", terminal=True, input="one\n\x10\x11", code=1, podman_code=0, racing=True),
    Step("logs {box}", until="got one"), Step(STATE),
    Step("attach {box}", terminal=True, input="two\n\x04", code=4, podman_code=0, racing=True),
    # Podman's attach ends with the terminal, which may be before the container is said to have ended.
    Step("wait {box}"), Step("rm {box}"),
])

OOM = Case("oom", [
    WATCH,
    Step("{run} --name {box} --memory 48m --memory-swap 48m {image} " + script("x=aaaaaaaa; while :; do x=$x$x; done"),
         code=137),
    Step(STATE),
    Step("sleep 1; kill $(cat {dir}/watcher); grep -m 1 oom {dir}/events", host=True, only="docker"),
    Step("rm {box}"),
    # Not init is killed, and the container goes on: for a while, as under runc the news of the kill comes on a way of its own
    # and is not waited for at the end.
    Step("{run} --name {box} --memory 48m --memory-swap 48m {image} "
         + script("sh -c 'x=aaaaaaaa; while :; do x=$x$x; done'; echo $?; sleep 2; exit 6"), code=6),
    Step(STATE), Step("rm {box}"),
])

BAD_INPUT = Case("bad", [
    Step("{run} --rm {image} nosuchcommand", code=127, contains="executable file not found in .PATH"),
    Step("{run} --rm -t {image} nosuchcommand", code=127, contains="executable file not found in .PATH"),
    Step("{run} --rm {image} /etc/passwd", code=126, contains="permission denied"),
    Step("{run} --rm {image} /bin", code=126, contains="permission denied|is a directory"),
    # runc writes it to the container's standard error, and Docker tells it, or not.
    Step("{engine} {run} --name {box} -v {dir}/../other:/other {image} /other 2>&1 | grep -o 'exec format error' | sort -u",
         host=True),
    Step("rm {box}"),
    Step("{run} --rm --user nosuch {image} true", code=125, podman_code=126, contains="unable to find user nosuch"),
    Step("{run} --rm --mount type=bind,source={dir}/nosuch,target=/x {image} true", code=125, contains="nosuch"),
    Step("{run} --rm -v {dir}/../big:/etc {image} true", code=125, podman_code=126, contains="[Nn]ot a directory"),
    Step("{run} --rm --device {dir}/nosuch {image} true", code=127, podman_code=125, contains="nosuch"),
    Step("{run} --rm --memory 4m {image} true", code=125, contains="[Mm]inimum memory limit", only="docker"),
    Step("{run} --rm --cpus 4000 {image} true", code=125, contains="CPUs", only="docker"),
    Step("{run} --rm --cpuset-cpus 4000 {image} true", code=125, contains="4000"),
    Step("{run} --rm --sysctl kernel.nosuch=1 {image} true", code=125, contains="nosuch"),
    Step("{run} --rm --security-opt seccomp={dir}/nosuch {image} true", code=125, contains="nosuch"),
    Step("{run} --rm nosuch/image true", code=125, contains="nosuch/image"),
    # What was there when it was created.
    Step("touch {dir}/gone", host=True), Step("{create} --name {box} --mount type=bind,source={dir}/gone,target=/x {image} true"),
    Step("rm {dir}/gone", host=True), Step("start {box}", code=1, podman_code=125, contains="/gone"), Step("rm {box}"),
])

# As a file system that does not know of it says.
VIRTIOFSD = {"temporary_file": (r"(ENOTSUP|EISDIR): .*", "virtiofsd does not know O_TMPFILE; programs fall back to a name"),
             "access_list": (r"ENOTSUP: .*", "virtiofsd does not check access control lists")}

VOLUMES = Case("volumes", [
    # Docker makes what is missing.
    Step("mkdir -p {dir}/made/by/docker", host=True, only="podman"),
    Step("mkdir -p {dir}/bound/below {dir}/other && echo host > {dir}/bound/file && chown 7:8 {dir}/bound/file && "
         "ln -s file {dir}/bound/link", host=True),
    Step("{run} -d --name {box} -v {box}:/named -v /anonymous -v {dir}/bound:/bound -v {dir}/bound:/read:ro "
         "-v {dir}/bound/file:/etc/one -v {dir}/bound/file:/etc/two:ro -v {dir}/other:/bound/below "
         "--tmpfs /bound/memory:size=1m --tmpfs /memory:size=2m "
         "-v {dir}/made/by/docker:/made {image} " + LOOP), READY,
    Step("exec {box} " + show(
        "file cat /bound/file /bound/link /etc/one", "owner stat -c %u:%g /bound/file", "readonly touch /read/x",
        "readonly-file echo x > /etc/two", "nested touch /bound/below/nested; ls /bound /read", "memory df -k /memory | tail -1 "
        "| tr -s ' ' | cut -d' ' -f 2", "below df -k /bound/memory | tail -1 | tr -s ' ' | cut -d' ' -f 2",
        # The guest keeps what it knows of a file for a second, for each mount by which it is seen.
        "write echo more >> /etc/one; sleep 2; cat /read/file", "named echo x > /named/x; ls /named", "anonymous echo y > /anonymous/y",
        "made touch /made/by", "remove rm /etc/one 2>&1; rmdir /named 2>&1")),
    Step("cat {dir}/bound/file; ls {dir}/other {dir}/made/by/docker {dir}/bound", host=True),
    # What the host does meanwhile is seen.
    Step("echo new > {dir}/bound/new; echo changed > {dir}/other/nested", host=True),
    Step("exec {box} cat /bound/new /bound/below/nested"),
    # Podman tells of tmpfs, in any order, that they are not shared.
    Step("{engine} {run} --pull never --rm --volumes-from {box} {image} " + show(
        "named ls -A /named | head -3", "anonymous cat /anonymous/y", "bound cat /bound/new", "readonly touch /read/x")
        + " 2>&1 | sort", host=True),
    # By way of the host, into a container that does not run just now, too.
    Step("cp {dir}/../big {box}:/named/big"), Step("exec {box} md5sum /named/big"),
    Step("pause {box}"), Step("cp {dir}/bound/file {box}:/root/copied"), Step("cp {box}:/bound/new -", contains="new"),
    Step("unpause {box}"), Step("exec {box} cat /root/copied"),
    Step("rm --force --volumes {box}"), Step("volume ls --quiet --filter name={box}"), Step("volume rm {box}"),
    # What the image has is copied into a new volume.
    Step("{run} --rm -v {box}:/etc {image} " + show("passwd head -1 /etc/passwd", "count ls /etc | wc -l")),
    Step("volume rm {box}"),
])

VOLUME_CHECKS = Case("volume-checks", steps=[
    Step("mkdir -p {dir}/bound {dir}/below", host=True),
    Step("{run} -d --name {box} -v {box}:/named -v {dir}/bound:/bound -v {dir}/below:/bound/below -v /usr:/usr:ro "
         "-v {dir}/../volume_checks.py:/checks.py:ro {image} " + LOOP), READY,
    Step("exec {box} /usr/bin/python3 /checks.py /named", differs=VIRTIOFSD),
    Step("exec {box} /usr/bin/python3 /checks.py /bound/below", differs=VIRTIOFSD),
    Step("exec {box} /usr/bin/python3 /checks.py /root", differs=VIRTIOFSD),
    Step("rm --force {box}"), Step("volume rm {box}"),
])

TAKE = "perl -e 'open F, \">\", \"/d/lock\"; print flock(F, 6) ? \"taken\" : \"refused\"'"  # exclusively, or not at all

LOCKS = Case("locks", [
    Step("{run} -d --name {box} -v {box}:/d {image} perl -e "
         + shlex.quote('$| = 1; open F, ">", "/d/lock"; flock F, 2; print "begin\\n"; sleep 1000')), READY,
    Step("exec {box} " + show("lock " + TAKE)),
    Step("{run} --rm -v {box}:/d {image} " + show("lock " + TAKE), differs={
        "lock": ("taken", "the guest keeps locks for each mount")}),
    Step("kill {box}"), Step("wait {box}"), Step("rm {box}"), Step("volume rm {box}"),
])

PROPAGATION = Case("propagation", [
    Step("mkdir {dir}/slave {dir}/private && for d in slave private; do mount --bind {dir}/$d {dir}/$d && "
         "mount --make-shared {dir}/$d && mkdir {dir}/$d/late && mkdir {dir}/$d/early && "
         "mount -t tmpfs early {dir}/$d/early && echo early > {dir}/$d/early/file; done", host=True),
    Step("{run} -d --name {box} -v {dir}/slave:/slave:rslave -v {dir}/private:/private {image} " + LOOP), READY,
    Step("exec {box} cat /slave/early/file /private/early/file"),
    Step("for d in slave private; do mount -t tmpfs late {dir}/$d/late && echo late > {dir}/$d/late/file; done", host=True),
    Step("exec {box} " + show("slave cat /slave/late/file", "private ls /private/late")),
    Step("rm --force {box}"),
    Step("umount {dir}/*/late {dir}/*/early {dir}/slave {dir}/private", host=True),
])

# Podman's, which it has the runtime make; others it makes itself, so that they are directories of the host.
OVERLAYS = Case("overlays", only="podman", steps=[
    Step("mkdir -p {dir}/low/directory {dir}/upper {dir}/work && echo host > {dir}/low/file && echo gone > {dir}/low/gone && "
         "chown 7:8 {dir}/low/file", host=True),
    Step("{run} -d --name {box} -v {dir}/low:/v:O -v {dir}/low:/kept:O,upperdir={dir}/upper,workdir={dir}/work "
         "--mount type=image,source={image},destination=/image --mount type=image,source={image},destination=/changed,rw=true "
         "{image} " + LOOP), READY,
    Step("exec {box} " + show(
        "file cat /v/file; stat -c %u:%g /v/file", "write echo new > /v/new; echo more >> /v/file; cat /v/file",
        "remove rm /v/gone; ls /v", "rename mv /v/file /v/directory/moved; ls /v/directory", "owner chown 9:10 /v/new; "
        "stat -c %u:%g /v/new", "kept cat /kept/file; echo new > /kept/new; rm /kept/gone; ls /kept",
        "image ls /image; touch /image/x", "changed touch /changed/x /changed/bin/x && ls /changed | head -2",
        "readonly grep -c ' /image [^ ]* ro,' /proc/mounts")),
    Step("ls -l {dir}/low | cut -d ' ' -f 1-4; cat {dir}/low/file; ls {dir}/low/directory; cat {dir}/upper/new; "
         "stat -c '%F %n' {dir}/upper/*", host=True),
    # The changes of the first one go with the container's end.
    Step("stop {box}"), Step("start {box}"), Step("exec {box} ls /v /kept /changed"),
    Step("rm --force {box}"),
    Step("{create} --name {box} -v {dir}/low:/v:O,upperdir={dir}/upper,workdir={dir}/work {image} true"),
    Step("rm -r {dir}/work", host=True), Step("start {box}", code=125, contains="o such file"), Step("rm {box}"),
    Step("ls {dir}", host=True),
])

OVERLAY_CHECKS = Case("overlay-checks", only="podman", steps=[
    Step("mkdir {dir}/low", host=True),
    Step("{run} --rm -v {dir}/low:/v:O -v /usr:/usr:ro -v {dir}/../volume_checks.py:/checks.py:ro {image} "
         "/usr/bin/python3 /checks.py /v", differs=VIRTIOFSD),
    Step("ls -A {dir}/low", host=True),
])

# The slow ones first.
CASES = [VOLUME_CHECKS, VOLUMES, LIFE, EXEC, ALL_SIGNALS, OOM, BAD_INPUT, HEALTH, HEALTH_ON_DEMAND, ATTACH, RESTART,
         UPDATE, FOREGROUND, LOGS, SECURITY, STOP, LOCKS, PROPAGATION, OVERLAYS, OVERLAY_CHECKS, OPTIONS]
