"""The Test Anything Protocol, as far as the two suites write it."""

import dataclasses
import json
import re

# bats adds "# timeout after N s" to a name.
CHECK = re.compile(r"(?P<not>not )?ok\b *\d* *-? *(?P<text>.*?) *(?:# *(?P<directive>skip|todo|timeout)\b.*)?$", re.IGNORECASE)


@dataclasses.dataclass
class Check:
    text: str
    state: str  # "passed", "failed" or "skipped"


def parse(text):
    """(checks, what is wrong with the stream itself or None). Indented lines and comments are explanations.

    Some programs of runtime-tools print no checks: they pass with silence, and fail with an explanation alone.
    """
    checks, plans = [], []
    for line in text.splitlines():
        if plan := re.match(r"1\.\.(\d+)", line):
            plans.append(int(plan[1]))
        elif line.startswith("Bail out!"):
            return checks, line
        elif found := CHECK.match(line):
            directive = (found["directive"] or "").lower()
            state = "skipped" if directive == "skip" else "failed" if found["not"] and directive != "todo" else "passed"
            checks.append(Check(found["text"] or "(no name)", state))
    if not checks:
        error = re.search(r'^ *"error": ("(?:[^"\\]|\\.)*")', text, re.MULTILINE)
        return checks, json.loads(error[1]).splitlines()[0] if error else None
    if sum(plans) != len(checks):
        return checks, f"planned {sum(plans)} checks, printed {len(checks)}"
    return checks, None
