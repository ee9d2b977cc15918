#!/usr/bin/python3 -B
"""A start that fails: the reason is always told, with file, line and key if it
is in the configuration; and nothing is left that holds the ports."""

import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from scene import Scene


def first(scene, role, deadline=30):
    """A process of a role as soon as there is one."""
    end = time.monotonic() + deadline * taplib.SLOW
    while time.monotonic() < end:
        found = scene.pids(role)
        if found:
            return found[0]
    raise TimeoutError("no " + role + " was started")


def spawn_and_kill(scene):
    """One front is stopped, so that the start can't end and the front can't
    leave by itself; then an auth dies. The mark in the log, or None if the
    start was quicker."""
    mark = scene.log.mark()
    scene.spawn(stderr=subprocess.PIPE)
    scene.log.follow(scene.server.stderr)
    front = first(scene, "front")
    os.kill(front, signal.SIGSTOP)
    os.kill(first(scene, "auth"), signal.SIGKILL)
    if harness.until(lambda: scene.server.poll() is not None
                     or scene.log.find(mark, ev="ready"), 60) \
            and scene.server.poll() is not None:
        return mark
    os.kill(front, signal.SIGCONT)
    scene.stop()
    return None


def a_role_dies(tap, scene):
    """It takes all others with it."""
    mark = None
    while mark is None:
        mark = spawn_and_kill(scene)
    tap.equal(scene.server.returncode, 70, "a role dies: exit status 70")
    tap.ok(harness.can_bind("127.0.0.1", scene.port),
           "the port is free at once")
    line = scene.log.wait(mark, ev="stop")
    tap.like(line["error"], r"role auth died while .* signal 9 \(Killed\)",
             "the log says which and how")
    scene.stop()


def rights(scene, name, mode=None, owner=None):
    """Another mode or owner for a file; the repair."""
    path = scene.path(name)
    before = os.stat(path)
    if owner is not None:
        os.chown(path, owner, -1)
    if mode is not None:
        os.chmod(path, mode)

    def repair():
        os.chown(path, before.st_uid, -1)
        os.chmod(path, before.st_mode & 0o7777)
    return repair


def other(scene, key, value, prepare=lambda: None):
    """Another value for a key; the repair."""
    prepare()
    before = scene.keys[key]
    scene.configure(**{key: value})
    return lambda: scene.configure(**{key: before})


def stranger_dir(scene, name, files=(), mode=0o755):
    """A new directory of root with some files in it."""
    os.mkdir(scene.path(name), mode)
    for file in files:
        with open(scene.path(name, file), "w", encoding="ascii"):
            pass


# name, how it is broken (only by root), key, what is said
BROKEN = (
    ("store that auth can't read", lambda s: rights(
        s, "data/users.db", 0o600), "users_db",
     r"users\.db can't be read by user_auth \(\d+:\d+\): Permission denied, "
     r"expected .*: chgrp \d+ .*users\.db && chmod 640"),
    ("store that all can read", lambda s: rights(
        s, "data/users.db", 0o644), "users_db",
     r"is open to others \(mode 0644\), expected mode 0640: chmod 640"),
    ("store that auth owns", lambda s: rights(
        s, "data/users.db", owner=s.uid("auth")), "users_db",
     r"belongs to user_auth .*could change it, expected root: chown"),
    ("data directory that auth can't enter", lambda s: rights(
        s, "data", 0o700), "users_db",
     r"/data can't be entered by user_auth .*: Permission denied, expected"),
    ("data directory that all can change", lambda s: rights(
        s, "data", 0o777), "users_db",
     r"/data is writable by others \(mode 0777\), expected"),
    ("data directory of queue", lambda s: rights(
        s, "data", owner=s.uid("queue")), "users_db",
     r"/data belongs to user_queue .*expected root"),
    ("data directory of a stranger", lambda s: rights(
        s, "data", owner=64999), "users_db",
     r"/data belongs to uid 64999, expected a directory of root"),
    ("spool of a stranger", lambda s: rights(
        s, "spool", owner=64999), "spool",
     r"/spool belongs to uid 64999, expected a directory of user_queue"),
    ("spool that all can change", lambda s: rights(s, "spool", 0o777),
     "spool", r"/spool is writable by others \(mode 0777\), expected"),
    ("queue.db of another user", lambda s: rights(
        s, "spool/queue.db", owner=64999), "spool",
     r"queue\.db belongs to uid 64999 .*expected a file of user_queue .*"
     r"chown -R"),
    ("spool that holds other files", lambda s: other(
        s, "spool", s.path("home"), lambda: stranger_dir(
            s, "home", ("letter",))), "spool",
     r"/home holds other files, expected a directory for the spool alone"),
    ("spool that queue can't come to", lambda s: other(
        s, "spool", s.path("locked/a/spool"), lambda: stranger_dir(
            s, "locked", (), 0o700)), "spool",
     r"/locked can't be entered by user_queue .*: Permission denied"),
    ("chroot of a stranger", lambda s: rights(s, "empty", owner=64999),
     "chroot_dir", r"/empty belongs to uid 64999, expected a directory of r"),
    ("chroot that all can change", lambda s: rights(s, "empty", 0o1777),
     "chroot_dir", r"/empty is writable by others \(mode 1777\), expected"),
    ("chroot that is not empty", lambda s: other(
        s, "chroot_dir", s.path("full"), lambda: stranger_dir(
            s, "full", ("file",))), "chroot_dir",
     r"/full is not empty, expected an empty directory"),
    ("name of a DNS server", lambda s: other(s, "resolver", "localhost"),
     "resolver", r'"localhost" is not valid, expected an IP address'),
    ("postmaster without a domain", lambda s: other(
        s, "postmaster", "postmaster"), "postmaster", r"expected an address"),
    ("no spool", lambda s: other(s, "spool", ""), "spool",
     r"expected an absolute path"),
    ("one address twice", lambda s: other(
        s, "listen", s.keys["listen"][:1] * 2), "listen",
     r"is in listen already, expected each address once"),
)


def submitd(scene, *options, command=()):
    """Runs the server, which is expected to end by itself."""
    return subprocess.run(
        command + (scene.program("submitd"), "-f", scene.conf_file) + options,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, timeout=30 * taplib.SLOW,
        check=False)


def wrong(tap, scene):
    """Each thing that is wrong, to -n, to a start and to SIGHUP."""
    for name, act, key, why in BROKEN:
        roles = scene.roles()
        repair = act(scene)
        said = []
        try:
            for option in ("-n", "-d"):
                done = submitd(scene, option)
                tap.equal(done.returncode, 78, "%s: %s: exit status 78"
                          % (name, option))
                said.append(done.stderr.rstrip("\n"))
            mark = scene.log.mark()
            scene.reload()
            said.append(scene.log.wait(mark, ev="reload")["error"])
        finally:
            repair()
        tap.like(said[0], r"\A%s:\d+: %s: .*%s" % (
            scene.conf_file, key, why), name + ": file, line, key, reason")
        tap.equal(said[1:], said[:1] * 2,
                  name + ": a start and SIGHUP say the same")
        tap.equal({p: r for p, r in scene.roles().items() if r != "store"},
                  {p: r for p, r in roles.items() if r != "store"},
                  name + ": the old set stays")


def role_refuses(tap, scene):
    """What only a role finds out has its line, too."""
    path = scene.path("spool/queue.db")
    with open(path, "r+b") as f:
        f.write(b"no queue at all")
    for options in ((), ("-d",)):
        done = submitd(scene, *options)
        tap.equal(done.returncode, 78, "a damaged queue: exit status 78")
        tap.like(done.stderr, r"%s:%d: spool: .*/queue\.db.* \(role queue\)" % (
            scene.conf_file, line_of(scene, "spool")),
            "a damaged queue: file, line, key, reason and role")
    os.unlink(path)
    if harness.is_sanitized():
        tap.note("sanitizers need files: there is no chroot")
        return
    done = submitd(scene, "-d", command=(
        "setpriv", "--bounding-set=-sys_chroot"))
    tap.equal(done.returncode, 78, "no right to chroot: exit status 78")
    tap.like(done.stderr, r"%s:%d: chroot_dir: /.*/empty cannot .*expected .*"
             r"CAP_SYS_CHROOT\): Operation not permitted \(role " % (
                 scene.conf_file, line_of(scene, "chroot_dir")),
             "no right to chroot: file, line, key and reason")


def line_of(scene, key):
    """The line of a key in the configuration."""
    with open(scene.conf_file, encoding="utf-8") as f:
        return next(n for n, line in enumerate(f, 1)
                    if line.startswith(key + " ="))


def all_is_well(tap, scene):
    """What was mended is taken."""
    tap.equal(submitd(scene, "-n").returncode, 0, "all is mended: -n is fine")
    mark = scene.log.mark()
    scene.reload()
    tap.equal(scene.log.wait(mark, ev="reload")["result"], "ok",
              "and so is SIGHUP")


def test(tap):
    """A server that never stands; another that goes on."""
    with Scene(tap, smarthost=False, fronts=8, auth_workers=2) as scene:
        scene.route_to(harness.free_port())
        a_role_dies(tap, scene)
    if not harness.is_root():
        tap.note("not root: roles have no users of their own")
        return
    with Scene(tap, smarthost=False, resolver="127.0.0.1",
               postmaster="pm@play.example") as scene:
        scene.route_to(harness.free_port())
        scene.start()
        wrong(tap, scene)
        all_is_well(tap, scene)
        scene.stop()
        role_refuses(tap, scene)


taplib.run(test)
