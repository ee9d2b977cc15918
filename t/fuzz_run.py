#!/usr/bin/env python3
"""Runs fuzz targets for so many seconds of CPU time each.

    ./configure CC=clang --enable-fuzzers --enable-sanitizers && make check
    t/fuzz_run.py --build build --work ~/fuzz --seconds 600 session header

in the order given, all if none is. New inputs go to WORK/TARGET, which is
where the next run goes on; what is found goes to WORK/found, the output to
WORK/TARGET.log. Seconds are user and system time of the process, so that a
busy machine only makes it last longer. A line of figures for each target is
printed, as in corpus/README. The exit status is 1 if anything was found.
"""

import argparse
import glob
import os
import re
import signal
import subprocess
import sys

sys.dont_write_bytecode = True
TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TICKS = os.sysconf("SC_CLK_TCK")
CHILD = {signal.SIGCHLD}
ENOUGH = 72  # how libFuzzer leaves upon SIGINT


def names():
    """All targets."""
    found = glob.glob(os.path.join(TOP, "t", "corpus", "*", ""))
    return sorted(os.path.basename(os.path.dirname(name)) for name in found)


def cpu_seconds(pid):
    """What a process has used."""
    with open("/proc/%d/stat" % pid, encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Run:
    """One target at work."""

    def __init__(self, name, args):
        self.name, self.limit, self.used = name, args.seconds, 0
        self.log = os.path.join(args.work, name + ".log")
        work = os.path.join(args.work, name)
        found = os.path.join(args.work, "found", "")
        os.makedirs(work, exist_ok=True)
        os.makedirs(found, exist_ok=True)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ("nice", "-n", "19", os.path.join(
                    os.path.abspath(args.build), "t", "fuzz_" + name),
                 "-print_final_stats=1", "-timeout=60",
                 "-max_len=%d" % args.max_len,
                 "-artifact_prefix=%s%s-" % (found, name), work,
                 os.path.join(TOP, "t", "corpus", name)),
                stdout=log, stderr=log, cwd=found,
                preexec_fn=lambda: signal.pthread_sigmask(
                    signal.SIG_UNBLOCK, CHILD))

    def look(self):
        """Whether it is over; ends it when its time is."""
        if self.process.poll() is not None:
            return True
        self.used = cpu_seconds(self.process.pid)
        if self.used >= self.limit:
            self.process.send_signal(signal.SIGINT)
        return False

    def report(self):
        """A line; whether nothing was found."""
        with open(self.log, encoding="utf-8", errors="replace") as f:
            text = f.read()
        runs = re.findall(r"number_of_executed_units: *(\d+)", text)
        edges = re.findall(r" cov: (\d+)", text)
        runs = int(runs[-1]) if runs else 0
        good = self.process.returncode in (0, ENOUGH)
        print("%-12s %12d %8.0f %8.0f %8s  %s" % (
            self.name, runs, runs / self.used if self.used else 0, self.used,
            edges[-1] if edges else "?", "-" if good else "see " + self.log),
            flush=True)
        return good


def main():
    """Two at a time, or as many as --jobs says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build", default=os.path.join(TOP, "build"))
    parser.add_argument("--work", required=True)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--max-len", type=int, default=4096)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    args = parser.parse_args()
    todo = args.targets or names()
    for name in todo:
        if name not in names():
            parser.error("%s is not one of %s" % (name, " ".join(names())))
    args.work = os.path.abspath(args.work)
    signal.pthread_sigmask(signal.SIG_BLOCK, CHILD)
    running, good = [], True
    print("%-12s %12s %8s %8s %8s  %s" % (
        "target", "executions", "a CPU s", "CPU s", "edges", "findings"))
    while todo or running:
        while todo and len(running) < args.jobs:
            running.append(Run(todo.pop(0), args))
        signal.sigtimedwait(CHILD, 1)
        for run in [r for r in running if r.look()]:
            running.remove(run)
            good = run.report() and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
