"""What all benchmarks share: rounds that alternate between what is compared, and tables of their medians.

A noisy machine disturbs the sides of a comparison alike when they take turns; compare ratios, not seconds.
"""

import statistics
import subprocess
import sys
import time


def timed(command, **options):
    """Seconds that the command takes."""
    start = time.monotonic()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                   timeout=300, **options)
    return time.monotonic() - start


def take_turns(cases, rounds):
    """name -> what its function returned in each round."""
    values = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, case in cases.items():
            value = case()
            if number > 0:  # the first round warms caches
                values[name].append(value)
        print(f"\rround {number}/{rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return values


def print_heading(what):
    print(f"\n{what:40} {'median':>9} {'min':>9} {'max':>9}")


def print_row(name, values, digits=3, note=""):
    median, least, most = (f"{v:9.{digits}f}" for v in (statistics.median(values), min(values), max(values)))
    print(f"{name:40} {median} {least} {most}{note and '   '}{note}", flush=True)


def print_ratio(name, values, others, note=""):
    """Of what was measured in the same round."""
    print_row(name, [a / b for a, b in zip(values, others)], 2, note)
