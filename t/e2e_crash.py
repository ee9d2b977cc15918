#!/usr/bin/python3 -B
"""kill -9 of every role under traffic, and of the whole server: whatever was
answered with 250 reaches the smarthost."""

import contextlib
import os
import signal
import smtplib
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from scene import BODY, PASSWORD, Scene, message

CLIENTS = 4
LARGE = BODY * 100  # too large to be kept in the database
ROLES = ("front", "auth", "queue", "relay", "resolver")


class Traffic:
    """Clients that submit as fast as they can until told to stop."""

    def __init__(self, scene):
        self.scene = scene
        self.lock = threading.Condition()
        self.acknowledged = []
        self.refused = 0  # attempts that failed in one way or another
        self.strange = []  # replies that are neither 2xx, 4xx nor a loss
        self.stopping = False
        self.threads = [threading.Thread(target=self._client, args=(n,))
                        for n in range(CLIENTS)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_exception):
        self.stopping = True
        for thread in self.threads:
            thread.join()

    def _client(self, number):
        count = 0
        while not self.stopping:
            count += 1
            try:
                self._session("t%d-%d" % (number, count), number % 2 == 0)
            except smtplib.SMTPResponseException as e:
                self._failed(e)
            except (OSError, smtplib.SMTPException):
                self._failed(None)

    def _failed(self, response):
        with self.lock:
            self.refused += 1
            if response is not None and response.smtp_code >= 500:
                self.strange.append(str(response))

    def _session(self, token, by_certificate):
        device = self.scene.laptop if by_certificate else None
        with self.scene.tls_session(device) as session:
            if not by_certificate:
                session.login("ann", PASSWORD)
            for part in range(3):
                self._message(session, "%s-%d" % (token, part),
                              LARGE if part == 2 else BODY)
            session.quit()

    def _message(self, session, token, body):
        for step, argument in ((session.mail, "ann@play.example"),
                               (session.rcpt, "bo@example.net"),
                               (session.data, message(token, body))):
            code, text = step(argument)
            if code >= 400:
                raise smtplib.SMTPResponseException(code, text)
        with self.lock:
            self.acknowledged.append(token)
            self.lock.notify_all()

    def goes_on(self, count=30, timeout=60):
        """Waits for more acknowledged messages; True when they came."""
        end = time.monotonic() + timeout * taplib.SLOW
        with self.lock:
            goal = len(self.acknowledged) + count
            while len(self.acknowledged) < goal:
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self.lock.wait(left)
        return True


def tokens(host):
    """The subjects of all messages at the smarthost."""
    return [m["data"].split(b"\r\nSubject: ")[1].split(b"\r\n")[0].decode()
            for m in host.messages]


def check_nothing_lost(tap, scene, acknowledged, name):
    """All that was acknowledged arrives, whole."""
    wanted = set(acknowledged)
    arrived = scene.smarthost.wait(
        lambda host: len(host.messages) >= len(wanted)
        and wanted <= set(tokens(host)), 60)
    tap.ok(arrived, "%s: %d messages were acknowledged, all arrive"
           % (name, len(wanted)),
           "missing: %s" % sorted(wanted - set(tokens(scene.smarthost)))[:20])
    with scene.smarthost.cond:
        broken = [m["number"] for m in scene.smarthost.messages
                  if not m["data"].endswith((b"\r\n\r\n" + BODY, BODY * 100))]
    tap.equal(broken, [], name + ": none is cut")


def roles_die(tap, scene):
    """One role after the other, with clients at work."""
    with Traffic(scene) as traffic:
        tap.ok(traffic.goes_on(), "messages are submitted")
        for role in ROLES:
            pids = scene.kill(role)
            tap.ok(pids, "%s: killed" % role)
            tap.ok(traffic.goes_on(), "%s: the service goes on" % role)
            tap.ok(harness.until(lambda r=role, p=pids: scene.pids(r) and
                                 set(scene.pids(r)).isdisjoint(p)),
                   "%s: it was started again" % role)
    tap.equal(traffic.strange, [], "no client got a permanent refusal")
    check_nothing_lost(tap, scene, traffic.acknowledged, "roles died")
    extra = len(scene.smarthost.messages) - len(set(tokens(scene.smarthost)))
    tap.note("%d messages, %d attempts failed, %d were delivered twice"
             % (len(traffic.acknowledged), traffic.refused, extra))
    tap.ok(extra <= 2 * 100, "only messages in flight were delivered twice")


def all_die(tap, scene):
    """The whole server is killed while mail waits."""
    scene.new_smarthost(refuse={"mail": "451 4.3.0 not now"})
    waiting = ["wait-%d" % n for n in range(6)]
    for number, token in enumerate(waiting):
        scene.send(message(token, LARGE if number == 5 else BODY),
                   password=PASSWORD)
    roles = scene.roles()
    for pid in [scene.server.pid] + list(roles):
        with contextlib.suppress(ProcessLookupError):  # it left with parent
            os.kill(pid, signal.SIGKILL)
    scene.server.wait()
    for pid in roles:
        harness.wait_gone(pid)
    tap.equal(tokens(scene.smarthost), [], "nothing has been delivered")
    scene.smarthost.set(refuse={})
    scene.start()
    tap.ok(scene.server.poll() is None, "the server starts on the same spool")
    check_nothing_lost(tap, scene, waiting, "all died")
    tap.equal(sorted(tokens(scene.smarthost)), waiting,
              "all died: each is delivered once")


def parent_dies(tap, scene):
    """Without parent the roles leave; a second server takes over."""
    scene.new_smarthost(refuse={"mail": "451 4.3.0 not now"})
    scene.send(message("orphan"), password=PASSWORD)
    roles = scene.roles()
    scene.kill("parent")
    for pid in roles:
        harness.wait_gone(pid)
    tap.ok(True, "parent died: the roles have left")
    scene.smarthost.set(refuse={})
    scene.start()
    check_nothing_lost(tap, scene, ["orphan"], "parent died")


def ordinary_stop(tap, scene):
    """SIGTERM and a second start, with mail waiting."""
    scene.new_smarthost(refuse={"mail": "451 4.3.0 not now"})
    scene.send(message("stopped"), password=PASSWORD)
    tap.equal(scene.stop(), 0, "stopped: SIGTERM ends it with status 0")
    scene.smarthost.set(refuse={})
    scene.start()
    check_nothing_lost(tap, scene, ["stopped"], "stopped")


def test(tap):
    """All on one spool."""
    with Scene(tap, retry_max="2s") as scene:
        scene.start()
        for part in (roles_die, all_die, parent_dies, ordinary_stop):
            part(tap, scene)


taplib.run(test)
