"""Engine parity: commands that users type, run under runc and under kata by the same engine, and compared.

A case is a list of steps around a container of its own. Of every step standard output, standard error and exit code have to
be equal, once names, ids and times are made equal; side effects are looked at by steps of their own. What a virtual machine
has to show differently is named with its reason, and a reason that is not needed is an error.
"""

import concurrent.futures
import dataclasses
import fcntl
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

RUNTIMES = ("runc", "kata")
# Virtual machines at a time.
PARALLEL = 2


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
    differs: dict = dataclasses.field(default_factory=dict)  # label of a line ("label: value") -> why it differs
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


class Session:
    """One case under one runtime."""

    def __init__(self, engine, case, runtime, flags, directory, image, suffix=""):
        self.engine = engine  # function: list of arguments -> command line
        self.case = case
        self.box = f"{case.name}-{runtime}{suffix}"
        self.directory = os.path.join(directory, self.box)
        os.makedirs(self.directory)
        flags += " --network none"
        self.values = {"engine": shlex.join(engine([])), "run": f"run {flags}", "create": f"create {flags}", "box": self.box,
                       "image": image, "dir": self.directory}

    def run(self, environment):
        """The steps' (stdout, stderr, code)."""
        self.environment = environment
        return [self.observe(step) for step in self.case.steps]

    def observe(self, step):
        end = time.monotonic() + harness.COMMAND_TIMEOUT_S
        while True:
            out, err, code = self.execute(step)
            if step.until is None or f"\n{step.until}\n" in f"\n{out}{err}\n".replace("\r\n", "\n"):
                return self.normalize(out), self.normalize(err), code
            if time.monotonic() > end:
                raise Differences(f"{self.box}: {step.command}: waited for {step.until!r}; last was {out + err!r}")
            time.sleep(0.2)

    def execute(self, step):
        text = step.command.format(**self.values)
        command = ["sh", "-c", text] if step.host else self.engine(shlex.split(text))
        if step.terminal:
            return self.execute_at_terminal(command, step)
        stdin = {"input": step.input} if step.input is not None else {"stdin": subprocess.DEVNULL}
        try:
            result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False,
                                    env=self.environment, cwd=self.directory, timeout=harness.COMMAND_TIMEOUT_S, **stdin)
        except subprocess.TimeoutExpired as timeout:
            raise Differences(f"{self.box}: {step.command}: runs on; so far {timeout.stdout!r} {timeout.stderr!r}") from timeout
        return result.stdout, result.stderr, result.returncode

    def execute_at_terminal(self, command, step):
        """Types when the command has taken the terminal over (raw mode), as a user does who sees it working."""
        end = time.monotonic() + harness.COMMAND_TIMEOUT_S
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 90, 0, 0))
        with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=self.environment, cwd=self.directory,
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
        return text


@dataclasses.dataclass
class Finding:
    """What is not as it has to be."""

    text: str
    racing: bool  # a second run may show that it was chance


def compare(case, observed):
    """The findings; observed: runtime -> list of (stdout, stderr, code)."""
    found = []
    for number, step in enumerate(case.steps):
        results = {runtime: observed[runtime][number] for runtime in RUNTIMES}

        def note(what, racing=False, step=step):
            found.append(Finding(f"{case.name}: {step.command[:100]}: {what}", racing))

        for runtime, (out, err, code) in results.items():
            if code != step.code:
                note(f"{runtime} ends with {code} instead of {step.code}: {(out + err)[-400:]!r}")
            if step.contains and not re.search(step.contains, out + err):
                note(f"{runtime} does not say {step.contains!r} but {(out + err)[-400:]!r}")
        if not step.contains and step.until is None:
            for line in compare_texts(results["runc"], results["kata"], step.differs):
                note(line, step.racing)
    return found


def compare_texts(runc, kata, differs):
    unused = set(differs)
    for name, ours, theirs in (("stdout", kata[0], runc[0]), ("stderr", kata[1], runc[1])):
        ours, theirs = ours.splitlines(), theirs.splitlines()
        for index in range(max(len(ours), len(theirs))):
            ours_line = ours[index] if index < len(ours) else None
            theirs_line = theirs[index] if index < len(theirs) else None
            if ours_line == theirs_line:
                continue
            label = (theirs_line if ours_line is None else ours_line).split(":")[0]
            unused.discard(label)
            if label not in differs:
                yield f"{name}: kata has {ours_line!r}, runc {theirs_line!r}"
    for label in unused:
        yield f"'{label}' does not differ; the reason is not needed"


def run_cases(cases, engine, flags, directory, image, environment):
    """Runs the cases under both runtimes; returns what compare() has found. `engine` makes a command line of arguments,
    `flags`[runtime] are what "run" needs to choose the runtime."""
    def run(case, suffix=""):
        start = time.monotonic()
        try:
            observed = {r: Session(engine, case, r, flags[r], directory, image, suffix).run(environment) for r in RUNTIMES}
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

    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        return [line for lines in pool.map(run, cases) for line in lines]
