"""Engine parity: commands that users type, run under runc and under kata by the same engine, and compared.

A case is a list of steps around a container of its own. Of every step standard output, standard error and exit code have to
be equal, once names, ids and times are made equal; side effects are looked at by steps of their own. What a virtual machine
has to show differently is named with its reason, and a reason that is not needed is an error.
"""

import concurrent.futures
import dataclasses
import fcntl
import glob
import itertools
import os
import pty
import re
import select
import shlex
import struct
import subprocess
import sys
import termios
import time

import harness
from engines import IMAGE

RUNTIMES = ("runc", "kata")
# Virtual machines at a time.
PARALLEL = 2
# By which a step "at once" may take longer than another: far from any limit that somebody may wait for.
CHANCE_S = 5 * harness.TIME_FACTOR


@dataclasses.dataclass
class Step:
    """A command of the engine. {run} is "run" with the runtime and without a network, {create} the same with "create", {box}
    the case's container, {image} the image, {dir} a directory of the case's own; {engine} is the engine itself, for commands of
    the host's shell."""

    command: str
    code: int = 0  # that both have to end with
    input: str = None
    terminal: bool = False  # the command's stdio is a terminal of 24 rows and 90 columns; `input` is typed,
    prompt: str = ""  # when this line is to be seen
    until: str = None  # the command is repeated until its output has this line, or these lines
    contains: str = ""  # what both have to say; then the rest of the text is each runtime's own
    # Label of a line ("label: value") -> what the value is under kata, as a regular expression, and why it differs.
    differs: dict = dataclasses.field(default_factory=dict)
    at_once: bool = False  # takes no longer than what was done before, but for a few seconds
    host: bool = False  # a command of the host's shell
    racing: bool = False  # how much of the text comes is a matter of time under either runtime
    only: str = ""  # "docker" or "podman", for what the other engine has not or spells in another way
    podman_code: int = None  # what Podman ends with under both, where that is not `code`


@dataclasses.dataclass
class Case:
    name: str
    steps: list
    only: str = ""  # as in Step

    def of(self, engine):
        """The case as the engine "docker" or "podman" runs it."""
        steps = [step for step in self.steps if step.only in ("", engine)]
        if engine == "podman":
            steps = [step if step.podman_code is None else dataclasses.replace(step, code=step.podman_code) for step in steps]
        return dataclasses.replace(self, steps=steps)


def cases_of(engine, cases):
    return [case.of(engine) for case in cases if case.only in ("", engine)]


class Differences(Exception):
    """What was not equal, one line each."""


@dataclasses.dataclass
class Observation:
    """What a step did."""

    out: str
    err: str
    code: int
    seconds: float = 0


class Session:
    """One case under one runtime, by the engine of `test`, an EngineTest."""

    def __init__(self, test, case, runtime, suffix=""):
        self.test = test
        self.case = case
        self.box = f"{case.name}-{runtime}{suffix}"
        self.directory = os.path.join(test.dir, self.box)
        os.makedirs(self.directory)
        self.flags = shlex.join([*test.runtime_flags(runtime), "--network", "none"])
        self.created = 0  # containers

    def run(self):
        """The steps' Observations."""
        observed = []
        for step in self.case.steps:
            begin = time.monotonic()
            observed.append(self.observe(step))
            observed[-1].seconds = time.monotonic() - begin
        self.check_nothing_left()
        return observed

    def command(self, step):
        """The step's command; every container leaves its id in a file of the case's directory."""
        if "{run}" in step.command or "{create}" in step.command:
            self.created += 1
        flags = f"{self.flags} --cidfile {self.directory}/cid-{self.created}"
        return step.command.format(engine=shlex.join(self.test.engine_command([])), run=f"run {flags}", create=f"create {flags}",
                                   box=self.box, image=IMAGE, dir=self.directory)

    def check_nothing_left(self):
        """The case has removed its containers: nothing on the host knows their ids."""
        ids = []
        for path in glob.glob(self.directory + "/cid*"):
            with open(path, encoding="utf-8") as f:
                ids += f.read().split()
        try:
            harness.wait_until(lambda: not any(map(self.test.traces_of, ids)), "the containers' last traces to go")
        except AssertionError as left:
            raise Differences(f"{self.box}: left behind: {list(filter(None, map(self.test.traces_of, ids)))}") from left

    def observe(self, step):
        end = time.monotonic() + harness.COMMAND_TIMEOUT_S
        while True:
            out, err, code = self.execute(step)
            if step.until is None or f"\n{step.until}\n" in f"\n{out}{err}\n".replace("\r\n", "\n"):
                return Observation(self.normalize(out), self.normalize(err), code)
            if time.monotonic() > end:
                raise Differences(f"{self.box}: {step.command}: waited for {step.until!r}; last was {out + err!r}")
            time.sleep(0.2)

    def execute(self, step):
        text = self.command(step)
        command = self.test.host_command("sh", "-c", text) if step.host else self.test.engine_command(shlex.split(text))
        if step.terminal:
            return self.execute_at_terminal(command, step)
        stdin = {"input": step.input} if step.input is not None else {"stdin": subprocess.DEVNULL}
        try:
            result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False,
                                    env=self.test.environment, cwd=self.directory, timeout=harness.COMMAND_TIMEOUT_S, **stdin)
        except subprocess.TimeoutExpired as timeout:
            raise Differences(f"{self.box}: {step.command}: runs on; so far {timeout.stdout!r} {timeout.stderr!r}") from timeout
        return result.stdout, result.stderr, result.returncode

    def execute_at_terminal(self, command, step):
        """Types when the command has taken the terminal over (raw mode), as a user does who sees it working."""
        end = time.monotonic() + harness.COMMAND_TIMEOUT_S
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 90, 0, 0))
        with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=self.test.environment, cwd=self.directory,
                              start_new_session=True) as process:
            os.close(slave)
            text, typed = b"", step.input
            prompt = step.prompt.encode() + b"\r\n" if step.prompt else b""
            while True:
                if typed and prompt in text and not termios.tcgetattr(master)[3] & termios.ICANON:
                    # Key by key: Podman does not take the keys that detach from a text.
                    for key in typed:
                        os.write(master, key.encode())
                        time.sleep(0.1)
                    typed = None
                readable, _, _ = select.select([master], [], [], 0.1)
                if time.monotonic() > end:
                    process.kill()
                    raise Differences(f"{self.box}: {' '.join(command[3:])}: runs on; so far {text!r}")
                if not readable:
                    continue
                try:
                    text += os.read(master, 65536)
                except OSError:  # EIO: the last holder of the slave is gone
                    break
            os.close(master)
            code = process.wait(harness.COMMAND_TIMEOUT_S)
        return text.decode(errors="replace"), "", code

    def normalize(self, text):
        text = text.replace(self.directory, "DIR").replace(self.box, "BOX")
        text = re.sub(r"\b[0-9a-f]{64}\b", "ID", text)
        text = re.sub(r"\b[0-9a-f]{12}\b", "ID", text)
        text = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?[+-]\d\d:?\d\d( [A-Z]+)?|Z)", "TIME", text)
        # Docker's client asks for the exit code beforehand, and says now and then that the start that failed has ended that.
        return text.replace('time="TIME" level=error msg="error waiting for container: context canceled"\n', "")


@dataclasses.dataclass
class Finding:
    """What is not as it has to be."""

    text: str
    racing: bool  # a second run may show that it was chance


def compare(case, observed):
    """The findings; observed: runtime -> the steps' Observations."""
    found = []
    for number, step in enumerate(case.steps):
        results = {runtime: observed[runtime][number] for runtime in RUNTIMES}

        def note(what, racing=False, step=step):
            found.append(Finding(f"{case.name}: {step.command[:100]}: {what}", racing))

        for runtime, result in results.items():
            text = result.out + result.err
            if result.code != step.code:
                note(f"{runtime} ends with {result.code} instead of {step.code}: {text[-400:]!r}")
            if step.contains and not re.search(step.contains, text):
                note(f"{runtime} does not say {step.contains!r} but {text[-400:]!r}")
            before = max([earlier.seconds for earlier in observed[runtime][:number]], default=0)
            if step.at_once and result.seconds > before + CHANCE_S:
                note(f"{runtime} takes {result.seconds:.1f} s, and {before:.1f} s at most before")
        if step.until is None:
            lines = compare_numbers if step.contains else compare_texts
            for line in lines(results["runc"], results["kata"], step):
                note(line, step.racing)
    return found


def compare_texts(runc, kata, step):
    unused = set(step.differs)
    for name, ours, theirs in (("stdout", kata.out, runc.out), ("stderr", kata.err, runc.err)):
        for ours_line, theirs_line in itertools.zip_longest(ours.splitlines(), theirs.splitlines()):
            if ours_line == theirs_line:
                continue
            label, _, value = (ours_line or "").partition(": ")
            if label not in step.differs:
                yield f"{name}: kata has {ours_line!r}, runc {theirs_line!r}"
                continue
            unused.discard(label)
            pattern, reason = step.differs[label]
            if not re.fullmatch(pattern, value):
                yield f"{name}: kata has {ours_line!r}, which '{reason}' does not explain"
    for label in unused:
        yield f"'{label}' does not differ; the reason is not needed"


def compare_numbers(runc, kata, _step):
    """Of texts that are each runtime's own: as many lines."""
    for name, ours, theirs in (("stdout", kata.out, runc.out), ("stderr", kata.err, runc.err)):
        if len(ours.splitlines()) != len(theirs.splitlines()):
            yield f"{name}: kata has {ours!r}, runc {theirs!r}"


def run_cases(test, cases):
    """Runs the cases under both runtimes of an EngineTest's engine; returns what is not as it has to be, in lines."""
    def run(case, suffix=""):
        start = time.monotonic()
        try:
            observed = {runtime: Session(test, case, runtime, suffix).run() for runtime in RUNTIMES}
        except Differences as difference:
            return [str(difference)]
        finally:
            print(f"{case.name}: {time.monotonic() - start:.1f} s", file=sys.stderr)
        found = compare(case, observed)
        texts = [finding.text for finding in found]
        if suffix or not found or not all(finding.racing for finding in found):
            return texts
        print("seen once:", *texts, sep="\n  ", file=sys.stderr)
        return run(case, "-again")

    # The cases have no networks.
    links = test.links()
    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        found = [line for lines in pool.map(run, cases) for line in lines]
    if test.links() != links:
        found.append(f"network interfaces: {test.links()} instead of {links}")
    return found
