"""docs/conformance.md from the kept results, and the verdict."""

import collections
import dataclasses
import json
import os
import tomllib

import suites
import tap

RUNTIMES = ("runc", "kata-runtime")
MAX_NAMED = 4  # how many of one program's failed checks the page names

INTRODUCTION = """# Conformance

Written by `./dev conformance`, do not edit: the validation programs of the OCI runtime-tools and the integration tests
of runc, against {versions}.

The rule: what passes under runc passes under kata-runtime, or this page says why a virtual machine cannot have it
(the sentences are kept in `tests/conformance/reasons.toml`, and one that is no longer needed is an error). What fails
under runc too is a limit of the suite or of the machine ({machine}), and shown for both.

Both suites come through the package clients: Go's (1.21 or newer has to be installed) and Debian's. Every program has a
deadline and runs in pid, mount, network and cgroup namespaces of its own. Afterwards nothing may be left there: no process,
mount, interface, control group or state directory; else the page says "left".
"""


class Reasons:
    """reasons.toml: (suite, name) → one sentence."""

    def __init__(self, path):
        with open(path, "rb") as f:
            tables = tomllib.load(f)
        self.reasons, self.excluded = (self.by_name(tables[key]) for key in ("reason", "not-run"))

    @staticmethod
    def by_name(entries):
        return {(suite, name): entry["why"]
                for entry in entries for suite in entry if suite != "why" for name in entry[suite]}

    def of(self, suite, name):
        return self.reasons.get((suite, name))

    def not_run(self, suite, program):
        return self.excluded.get((suite, program))


@dataclasses.dataclass
class Result:
    """One program under one runtime."""

    checks: list
    problem: str
    left: list

    @staticmethod
    def read(directory, suite, program, runtime):
        """None when it has not been run."""
        base = os.path.join(directory, suite, f"{program}.{runtime}.")
        if not os.path.exists(base + "json"):
            return None
        with open(base + "json", encoding="utf-8") as f:
            outcome = json.load(f)
        with open(base + "tap", encoding="utf-8", errors="replace") as f:
            checks, problem = tap.parse(f.read())
        failed = any(c.state == "failed" for c in checks)
        if outcome["exit"] is None:
            problem = f"not ended after {outcome['seconds']:.0f} s"
        elif outcome["exit"] != 0 and not failed:
            problem = f"exit {outcome['exit']}" + (f", {problem}" if problem else "")
        elif not checks and not problem and not os.path.exists(base + "calls"):
            problem = "did not call the runtime"
        return Result(checks, problem, outcome["left"])

    def count(self, state):
        return sum(c.state == state for c in self.checks)

    def passed(self):
        return not self.problem and not self.count("failed")

    def passes(self):
        """How often each check passed, by its name."""
        return collections.Counter(c.text for c in self.checks if c.state == "passed")

    def summary(self):
        ran = len(self.checks) - self.count("skipped")
        if self.problem:
            words = "**fails**: " + self.problem
        elif self.count("failed"):
            words = f"**fails** {self.count('failed')} of {ran}"
        else:
            words = f"passes {ran}" if ran else "skipped" if self.checks else "passes"
        if ran and self.count("skipped"):
            words += f", skips {self.count('skipped')}"
        if self.left:
            kinds = collections.Counter(trace.split()[0] for trace in self.left)
            words += "; left: " + ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))
        return words


@dataclasses.dataclass
class Row:
    """What both runtimes made of one program."""

    program: str
    runc: Result
    kata: Result

    def worse(self):
        """What kata-runtime does not pass though runc does: check names, or the program's whole failure."""
        if self.kata.problem and not self.runc.problem:
            found = [self.kata.problem]
        else:
            found = list(self.runc.passes() - self.kata.passes())
        if self.kata.left and not self.runc.left:
            found.append("left: " + "; ".join(" ".join(map(os.path.basename, trace.split()[:2])) for trace in self.kata.left))
        return found


def read_rows(directory, suite, reasons):
    rows, missing = [], []
    for program in suite.programs():
        if reasons.not_run(suite.name, program):
            continue
        results = [Result.read(directory, suite.name, program, r) for r in RUNTIMES]
        if None in results:
            missing.append(f"{suite.name} {program}: not run yet")
        else:
            rows.append(Row(program, *results))
    return rows, missing


def cell(text):
    return text.replace("|", "\\|").replace("\n", " ")


def validation_section(rows, reasons, unexplained):
    lines = ["| program | runc | kata-runtime | |", "|---|---|---|---|"]
    for row in rows:
        worse, reason = row.worse(), reasons.of("validation", row.program)
        if worse and not reason:
            unexplained.append(f"validation {row.program}: {'; '.join(worse)}")
        if reason and row.kata.passed():
            unexplained.append(f"validation {row.program}: reasons.toml excuses what passes")
        note = (reason or "**to do**: " + "; ".join(worse[:MAX_NAMED])) if worse else ""
        lines.append(f"| {row.program} | {row.runc.summary()} | {row.kata.summary()} | {cell(note)} |")
    return lines


def bats_section(rows, reasons, unexplained):
    lines = ["| file | runc | kata-runtime |", "|---|---|---|"]
    lines += [f"| {row.program} | {row.runc.summary()} | {row.kata.summary()} |" for row in rows]
    notes = []
    for row in rows:
        whole, worse = reasons.of("bats", row.program), row.worse()
        if whole:
            if row.kata.passed():
                unexplained.append(f"bats {row.program}: reasons.toml excuses what passes")
            if worse:
                notes.append(f"| {row.program} | {cell(whole)} |")
            continue
        for text in worse:
            name = f"{row.program}: {text}"
            reason = reasons.of("bats", name)
            if not reason:
                unexplained.append(f"bats {name}")
            notes.append(f"| {cell(name)} | {cell(reason or '**to do**')} |")
        unexplained += [f"bats {row.program}: {text}: reasons.toml excuses what passes" for text in row.kata.passes()
                        if reasons.of("bats", f"{row.program}: {text}")]
    if notes:
        lines += ["", "Passed by runc and not by kata-runtime:", "", "| test | why |", "|---|---|", *notes]
    return lines


def write(page, directory, chosen, reasons, versions):
    """Writes the page; returns a line for each difference that has no reason, and for each reason without one."""
    unexplained = []
    lines = [INTRODUCTION.format(versions=" and ".join(versions.values()), machine=suites.machine())]
    totals = ["| suite | version | programs | checks | passed by runc | passed by kata-runtime |", "|---|---|---|---|---|---|"]
    sections = []
    for suite in chosen:
        rows, missing = read_rows(directory, suite, reasons)
        unexplained += missing
        passed = [sum(getattr(row, runtime).count("passed") for row in rows) for runtime in ("runc", "kata")]
        programs = [sum(getattr(row, runtime).passed() for row in rows) for runtime in ("runc", "kata")]
        checks = sum(max(len(row.runc.checks), len(row.kata.checks)) for row in rows)
        totals.append(f"| {suite.title} | {suite.version} | {len(rows)} | {checks} | {programs[0]} programs, {passed[0]} checks"
                      f" | {programs[1]} programs, {passed[1]} checks |")
        section = validation_section if suite.name == "validation" else bats_section
        sections += ["", f"## {suite.title}", "", *section(rows, reasons, unexplained)]
        skipped = [(p, reasons.not_run(suite.name, p)) for p in suite.programs() if reasons.not_run(suite.name, p)]
        if skipped:
            sections += ["", "Not run: " + "; ".join(f"{p} ({why})" for p, why in skipped) + "."]
    with open(page, "w", encoding="utf-8") as f:
        f.write("\n".join(lines + totals + sections) + "\n")
    return unexplained
