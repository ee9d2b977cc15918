"""What processes cost, from /proc; and how they are started and ended."""

import os
import socket
import subprocess
import time

import harness

TICK = os.sysconf("SC_CLK_TCK")


def stat_fields(pid):
    """Fields of /proc/PID/stat after the name: state, parent, group..."""
    with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as f:
        return f.read().rpartition(")")[2].split()


def alive(pid):
    """Whether a process is there, and no corpse."""
    try:
        return stat_fields(pid)[0] != "Z"
    except (OSError, IndexError):
        return False


def descendants(root):
    """A process and all that it started, directly or not."""
    parents = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            parents[int(entry)] = int(stat_fields(int(entry))[1])
        except (OSError, IndexError):
            continue
    children = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu_seconds(root):
    """CPU time that a process and its descendants, dead ones too, have used.

    A dead child's time is with the parent that waited for it.
    """
    ticks = 0
    for pid in descendants(root):
        try:
            ticks += sum(int(n) for n in stat_fields(pid)[11:15])
        except (OSError, IndexError):
            continue
    return ticks / TICK


def busy_seconds():
    """CPU time that all processes of the machine have used, and what a host
    that runs it has taken away."""
    with open("/proc/stat", encoding="ascii") as f:
        user, nice, system, _, _, irq, softirq, steal = map(
            int, f.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICK


def pss_kib(root):
    """Proportional set size of a process and its descendants. Those that
    guard their memory show it to root alone."""
    total = 0
    for pid in descendants(root):
        try:
            with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as f:
                total += sum(int(line.split()[1]) for line in f
                             if line.startswith("Pss:"))
        except PermissionError as e:
            raise RuntimeError("only root can see how much memory is used") \
                from e
        except OSError:
            continue
    return total


def settled(root, deadline=5):
    """Waits until a server does nothing; returns its CPU time."""
    end = time.monotonic() + deadline
    before = cpu_seconds(root)
    while True:
        time.sleep(0.25)
        now = cpu_seconds(root)
        if now - before < 2 / TICK or time.monotonic() > end:
            return now
        before = now


def spawn(command, **keys):
    """Starts a program that ends with us at the latest."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL,
                            preexec_fn=harness.with_parent, **keys)


def wait_greeting(process, port, deadline=30):
    """Waits until a server greets, or has ended."""
    end = time.monotonic() + deadline
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as s:
                if s.recv(3) == b"220":
                    return
        except OSError:
            pass
        if process.poll() is not None:
            raise RuntimeError("it has ended with status %s"
                               % process.returncode)
        if time.monotonic() > end:
            raise RuntimeError("it does not answer")
        time.sleep(0.05)


def end(process, deadline=30):
    """Ends a program and all that it started."""
    family = descendants(process.pid) if process.poll() is None else []
    try:
        process.terminate()
        process.wait(deadline)
    except subprocess.TimeoutExpired:
        for pid in family:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
        process.wait()
    for pid in family[1:]:
        try:
            harness.wait_gone(pid, deadline)
        except TimeoutError:
            os.kill(pid, 9)
