#!/usr/bin/python3 -B
"""Who the roles are: as root each its own user, locked in; started by an
ordinary user all are that user, with every lock that needs no root."""

import encodings.idna  # while its file can be read: socket needs it later
import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from scene import PASSWORD, Scene, message

ORDINARY = 64920  # a user that nobody is


def status(pid):
    """/proc/PID/status as a dictionary."""
    with open("/proc/%d/status" % pid, encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f
                    if ":\t" in line)


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
        roles = scene.roles()
        tap.equal(sorted(roles.values()), sorted(harness.ROLES),
                  "root: the roles are separate processes")
        for pid, role in roles.items():
            have, uid = status(pid), scene.uid(role)
            tap.equal((have["Uid"], have["Gid"], have["Groups"].strip()),
                      ("\t".join([str(uid)] * 4),) * 2 + ("",),
                      "%s: has user and group %d for good" % (role, uid))
            tap.equal(have["CapPrm"].strip("0"), "",
                      role + ": has no capability")
            tap.equal(have["NoNewPrivs"], "1", role + ": gets no privilege")
        for role in ("front", "relay"):
            for pid in scene.pids(role):
                tap.equal(os.readlink("/proc/%d/root" % pid),
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
        for pid, role in scene.roles().items():
            have = status(pid)
            tap.equal(have["Uid"], "\t".join([str(os.getuid())] * 4),
                      role + ": runs as this user")
            tap.equal(have["NoNewPrivs"], "1", role + ": gets no privilege")
        notes = [e for e in scene.log.all(role="parent")
                 if "not root" in e["text"]]
        tap.equal(len(notes), 1, "the log says once that this is not root")
        tap.equal(scene.stop(), 0, "ordinary user: ends with status 0")


def become_ordinary(folder):
    """Gives root up for good; the programs come along."""
    os.mkdir(os.path.join(folder, "submitd"))
    for name in ("submitd", "submitctl"):
        shutil.copy(harness.program(name), os.path.join(folder, "submitd"))
    os.chmod(folder, 0o711)
    os.environ["SUBMITD_BUILD"] = folder
    os.environ["HOME"] = "/nonexistent"
    os.chdir("/")
    os.setgroups([])
    os.setresgid(ORDINARY, ORDINARY, ORDINARY)
    os.setresuid(ORDINARY, ORDINARY, ORDINARY)


def test(tap):
    """Both, if we can be both; root's part first."""
    if not harness.is_root():
        as_user(tap)
        return
    as_root(tap)
    with tempfile.TemporaryDirectory(prefix="submitd-") as folder:
        # A child gives root up; its results are counted here.
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            result = 1
            try:
                become_ordinary(folder)
                as_user(tap)
                os.write(write, b"%d %d" % (tap.count, tap.failed))
                result = 0
            finally:
                os._exit(result)
        os.close(write)
        with open(read, encoding="ascii") as f:
            counted = f.read().split()
        os.waitpid(pid, 0)
        if len(counted) != 2:
            raise RuntimeError("the part as an ordinary user broke off")
        tap.count, tap.failed = map(int, counted)


taplib.run(test)
