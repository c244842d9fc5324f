#!/usr/bin/env python3
"""`./dev bench`: what the runtime costs, side by side in one run.

Times are medians with the spread (min to max) of interleaved rounds. Sizes and memory stand beside their budgets.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e"))
import docker_bench  # noqa: E402
import harness  # noqa: E402
import test_agent  # noqa: E402
from figures import print_heading, print_ratio, print_row, take_turns, timed  # noqa: E402

BUDGETS = {  # in KiB, but for the ratio
    "kata-agent binary": 4096, "initrd": 2048, "kata-agent RSS": 4096, "sandbox server RSS": 10240,
    "kata-shim RSS": 1536,
}


def memory_of(pid):
    """(RSS, PSS) in KiB."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as f:
        values = dict(line.split()[:2] for line in f if line.startswith(("Rss:", "Pss:")))
    return int(values["Rss:"]), int(values["Pss:"])


class Bench:
    def __init__(self, directory):
        self.dir = directory
        self.bundle = harness.Bundle(os.path.join(directory, "bundle"), ["true"])
        self.ids = 0
        self.configuration = os.path.join(directory, "configuration.toml")
        with open(self.configuration, "w", encoding="utf-8") as f:
            f.write(harness.CONFIGURATION.format(
                qemu=harness.QEMU, kernel=harness.KERNEL, initrd=harness.INITRD, shared_fs="virtio-fs",
                virtiofsd=harness.VIRTIOFSD, hypervisor="", agent="", runtime=""))

    def new_id(self):
        self.ids += 1
        return f"kata-bench-{os.getpid()}-{self.ids}"

    def kata(self, *args):
        return [harness.RUNTIME, "--config", self.configuration, "--root", os.path.join(self.dir, "root"), *args]

    def run_kata(self):
        return timed(self.kata("run", "--bundle", self.bundle.path, self.new_id()))

    def run_runc(self):
        return timed(["runc", "--root", os.path.join(self.dir, "runc"), "run", "--bundle", self.bundle.path,
                      self.new_id()])

    def run_bare(self):
        """The same kernel on the same machine and firmware, with an init that only powers off."""
        kvm = os.access("/dev/kvm", os.W_OK) and any(
            flag in open("/proc/cpuinfo", encoding="utf-8").read() for flag in (" vmx", " svm"))
        clock = "tsc=reliable pmtmr=0" if kvm else "clocksource=hpet tsc=unstable nolapic_timer pmtmr=0"
        return timed([harness.QEMU, "-machine", "q35,vmport=off,smbus=off,sata=off,usb=off,graphics=off,i8042=off,smm=off,"
                      "accel=" + ("kvm" if kvm else "tcg"), "-cpu", "host" if kvm else "max,-erms", "-m", "256",
                      "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-vga", "none",
                      "-bios", "qboot.rom", "-kernel", harness.KERNEL,
                      "-initrd", os.path.join(harness.BUILD_DIR, "guest/poweroff.img"),
                      "-append", clock + " no_timer_check rcupdate.rcu_expedited=1 noreplace-smp cryptomgr.notests "
                      "reboot=t pci=lastbus=0 net.ifnames=0 panic=1 quiet"])

    def run_version(self):
        return timed([harness.RUNTIME, "--version"])

    def memory(self):
        """(name, RSS, PSS) in KiB of every program of one idle container."""
        container = self.new_id()
        bundle = harness.Bundle(os.path.join(self.dir, "idle"), ["sleep", "600"])
        subprocess.run(self.kata("run", "--detach", "--bundle", bundle.path, container), check=True, timeout=300,
                       env=dict(os.environ, KATA_TEST_MARKER=container), stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)
        try:
            with open(os.path.join(self.dir, "root", container, "state.json"), encoding="utf-8") as f:
                state = json.load(f)
            names = {state[key]["pid"]: name for key, name in
                     (("shim", "kata-shim"), ("server", "sandbox server"), ("vmm", "VMM"))}
            for pid, command in harness.processes_with(container):
                names.setdefault(pid, os.path.basename(command.split(" ")[0]))
            return sorted((name, *memory_of(pid)) for pid, name in names.items())
        finally:
            subprocess.run(self.kata("delete", "--force", container), check=True, timeout=300)

    def agent_memory(self):
        """RSS of the idle agent in a guest, as it tells itself."""
        machine = test_agent.Machine("test_disks")  # any test: what is wanted is its virtual machine
        machine.setUp()
        try:
            machine.agent.call("CreateSandbox")
            return int(machine.agent.metrics()['kata_agent_proc_status{item="vmrss"}'])
        finally:
            machine.doCleanups()


def stripped_size(path, directory):
    copy = os.path.join(directory, "stripped")
    subprocess.run(["strip", "-o", copy, path], check=True)
    return os.path.getsize(copy) // 1024


def start_times(bench, rounds):
    times = take_turns({"runc run": bench.run_runc, "bare QEMU boot": bench.run_bare, "kata-runtime run": bench.run_kata,
                        "kata-runtime --version": bench.run_version}, rounds)
    print_heading(f"seconds, {rounds} rounds")
    for name, values in times.items():
        print_row(name, values)
    print_ratio("kata run / bare boot", times["kata-runtime run"], times["bare QEMU boot"], "(goal 1.10)")


def memory_and_sizes(bench):
    print(f"\n{'KiB':28} {'RSS':>8} {'PSS':>8} {'budget':>8}")
    for name, rss, pss in bench.memory():
        print(f"{name:28} {rss:8} {pss:8} {BUDGETS.get(name + ' RSS', '-'):>8}")
    print(f"{'kata-agent in the guest':28} {bench.agent_memory():8} {'':8} {BUDGETS['kata-agent RSS']:8}")
    agent = os.path.join(harness.BUILD_DIR, "bin/kata-agent")
    print(f"\n{'KiB':28} {'size':>8} {'budget':>17}")
    print(f"{'kata-agent, stripped':28} {stripped_size(agent, bench.dir):8} {BUDGETS['kata-agent binary']:17}")
    print(f"{'initrd':28} {os.path.getsize(harness.INITRD) // 1024:8} {BUDGETS['initrd']:17}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("topics", nargs="*", metavar="start|memory|docker", help="what to measure; all of it by default")
    arguments = parser.parse_args()
    directory = os.path.realpath(tempfile.mkdtemp(prefix="kata-bench-"))
    try:
        bench = Bench(directory)
        topics = {"start": lambda: start_times(bench, arguments.rounds), "memory": lambda: memory_and_sizes(bench),
                  "docker": lambda: docker_bench.run(arguments.rounds)}
        unknown = set(arguments.topics) - set(topics)
        if unknown:
            parser.error(f"unknown: {', '.join(unknown)}")
        for name in arguments.topics or topics:
            topics[name]()
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
