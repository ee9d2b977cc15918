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


def test(tap):
    """One server that never stands."""
    with Scene(tap, smarthost=False, fronts=8, auth_workers=2) as scene:
        scene.route_to(harness.free_port())
        a_role_dies(tap, scene)


taplib.run(test)
