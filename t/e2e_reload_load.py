#!/usr/bin/python3 -B
"""SIGHUP every second under load: no session is dropped, no mail is lost or
comes twice. For a minute in make check-long, else for some seconds."""

import contextlib
import os
import smtplib
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib
from scene import PASSWORD, message
from traffic import FROM, LONG, TO, LoadScene, Traffic

RELOADS = 60 if LONG else 5


class Slow:
    """A client whose sessions each last from one reload to the next."""

    def __init__(self, scene):
        self.scene = scene
        self.sessions = self.messages = 0
        self.lost = []
        self.stopping = False
        self.thread = threading.Thread(target=self._run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.thread.join()

    def _run(self):
        while not self.stopping:
            try:
                self._session()
            except (OSError, smtplib.SMTPException) as e:
                self.lost.append(repr(e))

    def _session(self):
        with self.scene.tls_session() as session:
            session.login("ann", PASSWORD)
            mark = self.scene.log.mark()
            session.sendmail(FROM, TO, message("slow"))
            with contextlib.suppress(TimeoutError):
                self.scene.log.wait(mark, 3, ev="reload")
            session.sendmail(FROM, TO, message("slow"))
            session.quit()
        self.sessions += 1
        self.messages += 2


def reload_each_second(scene):
    """So many SIGHUPs, a second apart; how many of them were reloads."""
    begin = scene.log.mark()
    for _ in range(RELOADS):
        mark = scene.log.mark()
        scene.reload()
        try:
            scene.server.wait(1)
            raise RuntimeError("the server has ended")
        except subprocess.TimeoutExpired:
            # two SIGHUPs during one reload would be one reload
            scene.log.wait(mark, ev="reload")
    return len(scene.log.all(begin, ev="reload", result="ok"))


def test(tap):
    """One server under it."""
    with LoadScene(tap, fronts=2, auth_workers=2) as scene:
        scene.start()
        with Traffic(scene) as traffic, Slow(scene) as slow, \
                Slow(scene) as slow2:
            traffic.goes_on()
            done = reload_each_second(scene)
            tap.ok(traffic.goes_on(), "the service goes on")
        tap.equal(dict(traffic.errors), {}, "no session of %d was dropped"
                  % traffic.sessions)
        tap.equal(slow.lost + slow2.lost, [], "nor one of %d that went on "
                  "over a reload" % (slow.sessions + slow2.sessions))
        tap.ok(slow.sessions > RELOADS / 4, "there were some of these",
               "%d" % slow.sessions)
        tap.equal(done, RELOADS, "each SIGHUP was a reload")
        scene.account(tap, traffic.acknowledged)
        tap.equal(scene.log.all(ev="role", state="gone", level="warning"), [],
                  "no process has failed")
        tap.note("%d reloads, %d sessions, %d messages" % (
            done, traffic.sessions + slow.sessions + slow2.sessions,
            len(traffic.acknowledged) + slow.messages + slow2.messages))
        tap.equal(scene.stop(), 0, "the server ends with status 0")


taplib.run(test, deadline=900 if LONG else 300)
