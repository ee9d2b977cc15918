#!/usr/bin/python3 -B
"""Processes that run out of descriptors or memory: they refuse or end, the
service goes on, and nothing that was acknowledged is lost."""

import os
import re
import resource
import smtplib
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from harness import ROLES, until
from scene import BODY, PASSWORD, message
from traffic import FROM, LONG, TO, LoadScene, Traffic

LARGE = BODY * 100  # goes through a file
MEMORY_ROUNDS = 5 if LONG else 1


def first_free(pid):
    """The lowest number that no descriptor of a process has."""
    used = {int(n) for n in os.listdir("/proc/%d/fd" % pid)}
    return next(n for n in range(len(used) + 1) if n not in used)


def limit(pid, what, value):
    """Sets a soft limit of a process, by its own user: root alone may lack the
    right."""
    command = ["prlimit", "--pid", str(pid), "--%s=%s:" % (what, value)]
    with open("/proc/%d/status" % pid, encoding="ascii") as f:
        uid = re.search(r"^Uid:\s+(\d+)", f.read(), re.M)[1]
    if uid != str(os.geteuid()):
        command = ["setpriv", "--reuid", uid, "--regid", uid,
                   "--clear-groups"] + command
    subprocess.run(command, check=True)


def hard_limit(pid):
    """How many descriptors a process may allow itself."""
    with open("/proc/%d/limits" % pid, encoding="ascii") as f:
        return re.search(r"^Max open files +\d+ +(\d+)", f.read(), re.M)[1]


class NoDescriptors:
    """While it lasts, processes cannot open anything more; with for_good not
    even when they have closed something."""

    def __init__(self, pids, for_good=False):
        self.pids = pids
        self.for_good = for_good

    def __enter__(self):
        for pid in self.pids:
            limit(pid, "nofile", 4 if self.for_good else first_free(pid))

    def __exit__(self, *_):
        for pid in self.pids:
            try:
                limit(pid, "nofile", hard_limit(pid))
            except (OSError, TypeError, subprocess.CalledProcessError):
                harness.wait_gone(pid)  # it was about to end


class Account:
    """What was acknowledged, whoever submitted it."""

    def __init__(self, scene):
        self.scene = scene
        self.count = 0
        self.tokens = []

    def attempt(self, body=BODY, timeout=10):
        """One message; the code of the reply, 0 if there was none."""
        self.count += 1
        token = "token-%d" % self.count
        try:
            with self.scene.tls_session(timeout=timeout) as session:
                session.login("ann", PASSWORD)
                session.sendmail(FROM, TO, message(
                    token, body, "X-Bench-Id: %s\r\n" % token))
        except smtplib.SMTPRecipientsRefused as e:
            return next(iter(e.recipients.values()))[0]
        except smtplib.SMTPResponseException as e:
            return e.smtp_code
        except (OSError, smtplib.SMTPException):
            return 0
        self.tokens.append(token)
        return 250

    def works(self, body=BODY):
        """Whether, perhaps after some attempts, a message is taken."""
        return until(lambda: self.attempt(body) == 250)


def front_large(tap, scene, account):
    """A session that has a descriptor, but there is none for its file."""
    pid = scene.pids("front")[0]
    with scene.tls_session() as session:
        session.login("ann", PASSWORD)
        session.mail(FROM)
        session.rcpt(TO)
        with NoDescriptors([pid]):
            tap.equal(session.data(message("large", LARGE))[0], 451,
                      "front: a large message is refused for now")
            session.mail(FROM)
            session.rcpt(TO)
            tap.equal(session.data(message("small"))[0], 250,
                      "front: a small one is taken, in the same session")
        session.mail(FROM)
        session.rcpt(TO)
        tap.equal(session.data(message("large again", LARGE))[0], 250,
                  "front: and a large one later")
    tap.equal(scene.pids("front"), [pid], "front: it goes on")
    del account


def descriptors(tap, scene, account):
    """Role by role, and all at once."""
    for roles in [[role] for role in ROLES] + [list(ROLES)]:
        name = ", ".join(roles) if len(roles) == 1 else "all roles"
        pids = [p for role in roles for p in scene.pids(role)]
        with NoDescriptors(pids):
            replies = [account.attempt(b, timeout=2) for b in (BODY, LARGE)]
        tap.ok(all(code == 0 or code < 500 for code in replies),
               name + ": none is refused for good", str(replies))
        tap.note("%s without descriptors: a small and a large message got %s"
                 % (name, replies))
        tap.ok(account.works() and account.works(LARGE),
               name + ": mail is taken afterwards")
        tap.equal(scene.server.poll(), None, name + ": the server goes on")


def renewed(pids, old):
    """Whether these are processes, and none of the old ones."""
    return bool(pids) and not set(pids) & set(old)


def a_new_peer(tap, scene, account):
    """A process dies while another one has no descriptor for its successor."""
    for victim, starved in (("queue", "front"), ("front", "queue"),
                            ("resolver", "relay"), ("auth", "front")):
        pids = scene.pids(starved)
        with NoDescriptors(pids, for_good=True):
            scene.kill(victim)
            tap.ok(until(lambda v=victim, s=starved, p=pids:
                         scene.pids(v) and renewed(scene.pids(s), p)),
                   "%s dies, %s has no descriptor: both are started again"
                   % (victim, starved))
        tap.ok(account.works(LARGE), "and work together")


def parent(tap, scene, account):
    """Parent can't start a role for want of descriptors: it tries again."""
    mark = scene.log.mark()
    with NoDescriptors([scene.server.pid]):
        scene.kill("auth")
        scene.log.wait(mark, ev="role", what=re.compile("."))
        tap.ok(True, "parent: it says what is wrong")
        tap.equal(scene.server.poll(), None, "parent: it goes on")
    tap.ok(until(lambda: scene.pids("auth")),
           "parent: the role is started as soon as it can be")
    tap.ok(account.works(), "parent: mail is taken")


def starve(pid, room):
    """Lets a process take only so many bytes more."""
    with open("/proc/%d/statm" % pid, encoding="ascii") as f:
        size = int(f.read().split()[0]) * resource.getpagesize()
    limit(pid, "as", size + room)


def memory(tap, scene, account):
    """Address space ends under load, role by role."""
    if harness.is_sanitized():
        tap.note("sanitizers need address space of their own")
        return
    with Traffic(scene, sessions=20, timeout=20) as traffic:
        traffic.goes_on()
        for number in range(MEMORY_ROUNDS):
            for role in ROLES:
                for pid in scene.pids(role):
                    starve(pid, number * 256 * 1024)
                codes = [account.attempt(LARGE, timeout=3)
                         for _ in range(3)]
                tap.ok(all(c == 0 or c < 500 for c in codes),
                       role + ": none is refused for good", str(codes))
                if role in ("front", "auth", "queue"):
                    scene.kill(role)  # who only refuses would do so for ever
                tap.ok(account.works(LARGE) and traffic.goes_on(10),
                       role + ": the service goes on")
    tap.equal(scene.server.poll(), None, "the server goes on")
    tap.note("%d sessions, of these failed: %s"
             % (traffic.sessions, dict(traffic.errors)))
    account.tokens += traffic.acknowledged


def test(tap):
    """All with one server."""
    with LoadScene(tap, fronts=1, auth_workers=1, retry_max="1s",
                   connections=4) as scene:
        account = Account(scene)
        for part in (front_large, descriptors, a_new_peer, parent, memory):
            scene.start()  # anew: else deaths of before would delay restarts
            part(tap, scene, account)
            tap.equal(scene.stop(), 0, "the server ends with status 0")
        scene.start()
        scene.account(tap, account.tokens, doubles=200)
        tap.equal(scene.stop(), 0, "the server ends with status 0")


taplib.run(test, deadline=1800 if LONG else 600)
