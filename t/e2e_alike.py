#!/usr/bin/python3 -B
"""Several processes of one role come from one image: they are parent's own
children all the same, each is replaced alone, other roles have another layout
of memory; and what all take at rest."""

import os
import re
import signal
import smtplib
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from harness import until
from scene import PASSWORD, Scene, message
from traffic import pss_kib

ALIKE = {"front": 2, "auth": 3}
REST_KIB = 16 * 1024


def layout(pid):
    """Where a process has the C library."""
    with open("/proc/%d/maps" % pid, encoding="ascii") as f:
        return re.search(r"^(\w+)-.*/libc\.so", f.read(), re.M)[1]


def command(pid):
    """The arguments of a process."""
    with open("/proc/%d/cmdline" % pid, "rb") as f:
        return f.read().split(b"\0")


def serves(scene):
    """A message is taken. Who served the session may just have been killed:
    then it is lost, or refused for now."""
    try:
        with scene.tls_session() as session:
            session.login("ann", PASSWORD)
            return session.sendmail("ann@play.example", ["bo@example.net"],
                                    message("alike")) == {}
    except (OSError, smtplib.SMTPException):
        return False


def together(tap, scene):
    """As many as there are to be, and who has which layout."""
    for role, count in ALIKE.items():
        pids = scene.pids(role)
        tap.equal(len(pids), count, "%s: so many processes" % role)
        tap.equal({os.getpgid(pid) for pid in pids},
                  {os.getpgid(scene.server.pid)}, role + ": of our group")
        tap.ok(all(b"-k" in command(pid) for pid in pids),
               role + ": from one image")
        if harness.is_root():
            tap.equal(len({layout(pid) for pid in pids}), 1,
                      role + ": one layout of memory")
    if harness.is_root():
        roles = {role: layout(pid) for pid, role in scene.roles().items()}
        tap.equal(len(set(roles.values())), len(roles),
                  "each role has a layout of its own")
        tap.ok(layout(scene.server.pid) not in roles.values(),
               "and none has parent's")


def alone(tap, scene):
    """One that is killed comes again, in an image of its own."""
    for role, count in ALIKE.items():
        before = scene.pids(role)
        os.kill(before[0], signal.SIGKILL)
        harness.wait_gone(before[0])
        tap.ok(until(lambda r=role, n=count: len(scene.pids(r)) == n),
               role + ": one that is killed comes again")
        new = set(scene.pids(role)) - set(before)
        tap.equal(len(new), 1, role + ": the others have stayed")
        tap.ok(all(b"-k" not in command(pid) for pid in new),
               role + ": it is alone in its image")
        tap.ok(until(lambda: serves(scene)), role + ": mail is taken")


def again(tap, scene):
    """A new set, from new images."""
    before = {pid: layout(pid) for pid in scene.pids("front")} \
        if harness.is_root() else dict.fromkeys(scene.pids("front"))
    mark = scene.log.mark()
    scene.reload()
    scene.log.wait(after=mark, ev="reload", result="ok")
    scene.settled()
    after = scene.pids("front")
    tap.equal(len(after), ALIKE["front"], "reload: so many fronts again")
    tap.ok(not set(after) & set(before), "reload: all are new")
    if harness.is_root():
        tap.ok(not {layout(pid) for pid in after} & set(before.values()),
               "reload: with a new layout")
    tap.ok(serves(scene), "reload: mail is taken")


def rest(tap, scene):
    """All processes together; parent is done with its start a moment later."""
    if not harness.is_root() or harness.is_sanitized() or taplib.VALGRIND:
        tap.note("memory is not looked at")
        return

    def total():
        return sum(pss_kib(pid) for pid in
                   [scene.server.pid, *scene.roles()])
    tap.ok(until(lambda: total() <= REST_KIB),
           "at rest all take 16 MiB at most", "%d KiB" % total())
    tap.note("%d KiB" % total())


def test(tap):
    """One server."""
    with Scene(tap, fronts=ALIKE["front"],
               auth_workers=ALIKE["auth"]) as scene:
        scene.start()
        rest(tap, scene)
        together(tap, scene)
        tap.ok(serves(scene), "mail is taken")
        alone(tap, scene)
        again(tap, scene)
        tap.equal(scene.stop(), 0, "the server ends with status 0")


taplib.run(test, deadline=120)
