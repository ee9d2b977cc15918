#!/usr/bin/python3 -B
"""kill -9 of each role under load: what was acknowledged arrives, at most the
mail in flight twice, and sessions that the role had no part in go on. Fifty
times each in make check-long, else twice."""

import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from harness import ROLES
from traffic import LONG, LoadScene, Traffic, Witness, pause

KILLS = 50 if LONG else 2
CONNECTIONS = 4
IN_FLIGHT = 2 * CONNECTIONS + 8  # as queue_job.c has it
HEALTHY_S = 11 if LONG else 0  # after 10 s a death is the first again


class Killer:
    """Kills, and looks at what becomes of the rest."""

    def __init__(self, scene, traffic):
        self.scene = scene
        self.traffic = traffic
        self.witness = Witness(scene)
        self.kills = dict.fromkeys(ROLES, 0)
        self.back = dict.fromkeys(ROLES, 0)  # since when they are there again
        self.witnessed = 0  # kills that a session had no part in
        self.problems = []

    def kill(self, role):
        """One process of a role, under load."""
        pause(max(0, self.back[role] + HEALTHY_S - time.monotonic()))
        pids = self.scene.pids(role)
        pid = random.choice(pids)
        os.kill(pid, signal.SIGKILL)
        harness.wait_gone(pid)
        self.kills[role] += 1
        if pid in self.witness.served_by:
            self.witness.close()
            self.witness = None
        elif not self.witness.lives():
            self.problems.append("%s: a session of others was lost: %s"
                                 % (role, self.witness.why))
            self.witness = None
        else:
            self.witnessed += 1
        self._comes_back(role, pid, len(pids))
        if self.witness is None:
            self.witness = Witness(self.scene)
        if not self.traffic.goes_on(10):
            self.problems.append("%s: the service does not go on" % role)

    def _comes_back(self, role, pid, count):
        end = time.monotonic() + 120  # the longest delay is 60 s
        while time.monotonic() < end:
            pids = self.scene.pids(role)
            if len(pids) >= count and pid not in pids:
                self.back[role] = time.monotonic()
                return
            pause(0.02)
        self.problems.append("%s: it was not started again" % role)


def test(tap):
    """Round after round, one role after the other."""
    with LoadScene(tap, fronts=2, auth_workers=2, retry_max="2s",
                   connections=CONNECTIONS) as scene:
        scene.start()
        with Traffic(scene, sessions=20, timeout=30) as traffic:
            tap.ok(traffic.goes_on(), "mail is submitted")
            killer = Killer(scene, traffic)
            for _ in range(KILLS):
                for role in ROLES:
                    killer.kill(role)
            killer.witness.close()
        tap.equal(killer.kills, dict.fromkeys(ROLES, KILLS),
                  "each role was killed %d times" % KILLS)
        tap.equal(killer.problems, [], "the service went on each time")
        tap.ok(killer.witnessed >= 3 * KILLS, "sessions of others went on",
               "%d times" % killer.witnessed)
        refusals = {w: n for w, n in traffic.errors.items()
                    if w.isdigit() and int(w) >= 500}
        tap.equal(refusals, {}, "nobody got a permanent refusal")
        # Of relay and queue: others have nothing in flight.
        twice = scene.account(tap, traffic.acknowledged,
                              doubles=2 * KILLS * IN_FLIGHT)
        tap.note("%d kills, %d sessions, %d messages acknowledged, %d of them "
                 "came twice, sessions that failed: %s" % (
                     sum(killer.kills.values()), traffic.sessions,
                     len(traffic.acknowledged), twice,
                     dict(traffic.errors)))
        tap.equal(scene.stop(), 0, "the server ends with status 0")


taplib.run(test, deadline=3600 if LONG else 400)
