#!/usr/bin/python3 -B
"""Who the roles are: as root each its own user, locked in; started by an
ordinary user all are that user, with every lock that needs no root."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import ordinary
import tap as taplib
from scene import PASSWORD, Scene, message


def status(pid):
    """/proc/PID/status as a dictionary."""
    with open("/proc/%d/status" % pid, encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f
                    if ":\t" in line)


def limit(pid, name):
    """The hard limit of a process, as /proc has it."""
    with open("/proc/%d/limits" % pid, encoding="ascii") as f:
        line = next(line for line in f if line.startswith(name))
    return line[len(name):].split()[1]


def locked(tap, role, have, pid):
    """What holds with and without root."""
    tap.equal(have["NoNewPrivs"], "1", role + ": gets no privilege")
    tap.equal(have["Seccomp"], "2", role + ": its system calls are filtered")
    if harness.is_root():  # others can't look at who can't be traced
        tap.equal(limit(pid, "Max core file size"), "0", role + ": no core")
        tap.ok(harness.is_sanitized() or
               limit(pid, "Max processes") == "0", role + ": no process")
        with open("/proc/%d/environ" % pid, "rb") as f:
            names = [v.split(b"=")[0] for v in f.read().split(b"\0") if v]
        tap.ok(set(names) <= {b"TZ", b"ASAN_OPTIONS", b"UBSAN_OPTIONS"},
               role + ": the environment is empty", names)
        for fd in (0, 1):
            tap.equal(os.readlink("/proc/%d/fd/%d" % (pid, fd)), "/dev/null",
                      "%s: descriptor %d leads nowhere" % (role, fd))


def through(tap, scene, who):
    """One mail goes through."""
    scene.send(message("mail by " + who), password=PASSWORD)
    scene.delivered("mail by " + who)
    tap.ok(True, who + ": a mail goes through")


def as_root(tap):
    """Each role has its user and its lock-down."""
    with Scene(tap) as scene:
        scene.start()
        through(tap, scene, "root")
        roles = scene.lasting()
        tap.equal(sorted(roles.values()), sorted(harness.ROLES),
                  "root: the roles are separate processes")
        for pid, role in roles.items():
            have, uid = status(pid), scene.uid(role)
            tap.equal((have["Uid"], have["Gid"], have["Groups"].strip()),
                      ("\t".join([str(uid)] * 4),) * 2 + ("",),
                      "%s: has user and group %d for good" % (role, uid))
            tap.equal(have["CapPrm"].strip("0"), "",
                      role + ": has no capability")
            locked(tap, role, have, pid)
        for role in ("front", "relay", "resolver"):
            for pid in scene.pids(role):
                # a build with sanitizers goes without
                tap.ok(harness.is_sanitized() or
                       os.readlink("/proc/%d/root" % pid) ==
                       scene.path("empty"), role + ": sees no file")
        tap.equal(os.listdir(scene.path("empty")), [],
                  "the directory of the chroots is empty")
        tap.equal(os.stat(scene.path("spool")).st_uid, scene.uid("queue"),
                  "the spool belongs to queue")
        tap.equal(scene.stop(), 0, "root: ends with status 0")
        tap.ok(not os.path.exists(scene.path("submitd.pid")),
               "the pid file is gone")


def as_user(tap):
    """One user is enough."""
    with Scene(tap) as scene:
        scene.start()
        through(tap, scene, "ordinary user")
        with open(scene.path("submitd.pid"), encoding="ascii") as f:
            tap.equal(f.read(), "%d\n" % scene.server.pid,
                      "the pid file has parent's number")
        for pid, role in scene.lasting().items():
            have = status(pid)
            tap.equal(have["Uid"], "\t".join([str(os.getuid())] * 4),
                      role + ": runs as this user")
            locked(tap, role, have, pid)
        notes = [e for e in scene.log.all(role="parent")
                 if "not root" in e["text"]]
        tap.equal(len(notes), 1, "the log says once that this is not root")
        tap.equal(scene.stop(), 0, "ordinary user: ends with status 0")


def test(tap):
    """Both, if we can be both; root's part first."""
    if not harness.is_root():
        as_user(tap)
        return
    as_root(tap)
    ordinary.run(tap, as_user)


taplib.run(test)
