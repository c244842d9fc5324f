"""The conformance harness itself: what it calls a failure, and what it finds left behind. Needs root, no suite, no VM."""

import os
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import report  # noqa: E402
import room  # noqa: E402
import tap  # noqa: E402


class Tap(unittest.TestCase):
    def states(self, text):
        checks, problem = tap.parse(text)
        return [(c.text, c.state) for c in checks], problem

    def test_states(self):
        self.assertEqual(self.states("TAP version 13\nok 1 - a\n  ---\n  not ok 9 - quoted\n  ...\nnot ok 2 b c\r\n"
                                     "ok 3 # SKIP why\nnot ok 4 - d # TODO later\nnot ok 5 e # timeout after 9 s\n1..5\n"),
                         ([("a", "passed"), ("b c", "failed"), ("(no name)", "skipped"), ("d", "passed"),
                           ("e", "failed")], None))

    def test_a_stream_that_breaks_off_is_a_failure(self):
        self.assertEqual(self.states("1..2\nok 1 - a\n")[1], "planned 2 checks, printed 1")
        self.assertEqual(self.states("ok 1 - a\n")[1], "planned 0 checks, printed 1")
        self.assertEqual(self.states("1..2\nok 1 a\nBail out! broken\n")[1], "Bail out! broken")

    def test_an_explanation_without_checks_is_a_failure(self):
        self.assertEqual(self.states('TAP version 13\n  ---\n  {\n    "error": "a \\"b\\"\\nc"\n  }\n  ...\n1..0\n'),
                         ([], 'a "b"'))
        self.assertEqual(self.states("TAP version 13\n1..0\n"), ([], None))


class Verdict(unittest.TestCase):
    def row(self, runc, kata, kata_problem=None, kata_left=()):
        results = [report.Result([tap.Check(*c) for c in checks], None, []) for checks in (runc, kata)]
        results[1].problem, results[1].left = kata_problem, list(kata_left)
        return report.Row("p", *results)

    def test_only_what_runc_passes_counts(self):
        both = [("a", "failed"), ("b", "passed")]
        self.assertEqual(self.row(both, both).worse(), [])
        self.assertEqual(self.row(both, [("a", "failed"), ("b", "failed")]).worse(), ["b"])
        self.assertEqual(self.row([("a", "failed"), ("a", "passed")], [("a", "failed"), ("a", "failed")]).worse(), ["a"])
        self.assertEqual(self.row([("a", "passed")], [("a", "passed")], kata_problem="exit 1").worse(), ["exit 1"])
        self.assertEqual(self.row([("a", "passed")], [("a", "passed")], kata_left=["process /x/y z"]).worse(),
                         ["left: process y"])

    def test_a_check_that_is_missing_counts(self):
        self.assertEqual(self.row([("a", "passed"), ("b", "passed")], [("a", "passed")]).worse(), ["b"])
        self.assertEqual(self.row([("a", "passed")], [("a", "skipped")]).worse(), ["a"])


class RoomTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="kata-conf-test-")
        self.addCleanup(shutil.rmtree, self.dir)

    def run_script(self, script, deadline_s=60):
        name = os.path.basename(self.dir)
        outcome = room.Room(name, self.dir).run(["sh", "-c", script], self.path("out"), self.path("err"), deadline_s, "/",
                                                dict(os.environ, KATA_CONFORMANCE_SETTLE_S="2"), [self.path("state")])
        self.assertEqual([d for d, _, _ in os.walk("/sys/fs/cgroup") if os.path.basename(d) == name], [])
        return outcome

    def path(self, name):
        return os.path.join(self.dir, name)

    def test_nothing_left(self):
        outcome = self.run_script("echo out; echo err >&2; (sleep 0.5 &); exit 7")
        self.assertEqual((outcome["exit"], outcome["left"]), (7, []))
        with open(self.path("out"), encoding="utf-8") as out, open(self.path("err"), encoding="utf-8") as err:
            self.assertEqual((out.read(), err.read()), ("out\n", "err\n"))

    def test_everything_left(self):
        group = room.cgroup_mounts()[0][0]
        outcome = self.run_script(f"setsid sleep 1000 & mount -t tmpfs left /mnt; mkdir {group}/left; "
                                  f"ip link add left type veth; mkdir -p {self.path('state')}/left")
        left = outcome["left"]
        for trace in ("process sleep 1000", "mount /mnt", f"cgroup {group}/left", "interface left", "state left"):
            self.assertIn(trace, left)
        self.assertFalse(os.path.ismount("/mnt"))

    def test_what_is_frozen_does_not_outlive_the_room(self):
        outcome = self.run_script("""
            group=/sys/fs/cgroup/freezer/cold value=FROZEN file=freezer.state
            [ -d /sys/fs/cgroup/freezer ] || group=/sys/fs/cgroup/cold value=1 file=cgroup.freeze
            mkdir $group; sleep 1000 & echo $! >$group/cgroup.procs; echo $value >$group/$file""")
        self.assertIn("process sleep 1000", outcome["left"])

    def test_deadline(self):
        outcome = self.run_script("setsid sleep 1000 & sleep 1001", deadline_s=1)
        self.assertIsNone(outcome["exit"])
        self.assertEqual(sorted(outcome["left"]), ["process sh -c setsid sleep 1000 & sleep 1001", "process sleep 1000",
                                                   "process sleep 1001"])


if __name__ == "__main__":
    unittest.main()
