#!/usr/bin/python3 -B
"""Names that are nobody's can't be told from users by what SCRAM shows before
any proof; and records that were made otherwise are made anew at a login that
sends the password."""

import base64
import hashlib
import hmac
import os
import re
import smtplib
import sqlite3
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib
from scene import PASSWORD, Scene
from scram import Scram

TRANSITION = "432 4.7.12"
# Of "x", by crypt(3) with bcrypt of cost 5.
CRYPT = "$2b$05$abcdefghijklmnopqrstuuhKF09ZYWwH2zP/0fwE1X8e/Q1YNx/hO"
NAMES = ["nobody%d" % n for n in range(40)]


def b64(data):
    """Base64 as text."""
    return base64.b64encode(data).decode()


def record(password, iterations, salt):
    """A record as Dovecot writes it."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client = hmac.new(salted, b"Client Key", "sha256").digest()
    return ",".join((str(iterations), b64(salt),
                     b64(hashlib.sha256(client).digest()),
                     b64(hmac.new(salted, b"Server Key", "sha256").digest())))


def reply(code_and_text):
    """A reply as one text."""
    code, text = code_and_text
    return "%d %s" % (code, text.decode())


def shown(scene, user):
    """What the server's first message shows: iterations and salt, or its
    refusal."""
    with scene.tls_session() as session:
        first = Scram(user, "")()
        got = session.docmd("AUTH SCRAM-SHA-256 " + b64(first.encode()))
        if got[0] != 334:
            return reply(got)[:10], b""
        fields = dict(part.split("=", 1) for part in
                      base64.b64decode(got[1]).decode().split(","))
        session.docmd("*")
        return int(fields["i"]), base64.b64decode(fields["s"])


def shape(scene, user):
    """The same without the bytes of the salt."""
    iterations, salt = shown(scene, user)
    return iterations, len(salt)


def login(scene, user, password, mechanism="PLAIN"):
    """The reply to a login."""
    with scene.tls_session() as session:
        if mechanism == "PLAIN":
            return reply(session.docmd("AUTH PLAIN " + b64(
                ("\0%s\0%s" % (user, password)).encode())))
        try:
            return reply(session.auth(mechanism, Scram(user, password)))
        except smtplib.SMTPAuthenticationError as e:
            return reply((e.smtp_code, e.smtp_error))


def users(tap, scene):
    """ann is as usual; others came with records of their own."""
    scene.submitctl("user", "add", "phoned", "--no-password")
    secret = scene.submitctl_json("device", "add", "phoned", "phone",
                                  "--password")["password"]
    tap.equal(shape(scene, "phoned"), shape(scene, "ann"),
              "a device's password: shown like any other")
    path = scene.path("passwd")
    with open(path, "w", encoding="ascii") as f:
        f.write("old:{SCRAM-SHA-256}%s\n" % record("olds", 4096, b"s" * 12))
        f.write("new:{SCRAM-SHA-256}%s\n" % record("news", 32768, b"s" * 16))
        f.write("costly:{CRYPT}%s\n" % CRYPT)
    done = scene.submitctl("user", "import", "--format", "dovecot", path)
    tap.like(done.stderr, r"passwd:1: warning: user old: .*4096 iterations"
             ".*12 bytes", "import: warns of a record that is another")
    tap.unlike(done.stderr, "user new", "import: and of no other")
    return secret


def alike(tap, scene):
    """Each shape that a user has is also one of names that are nobody's."""
    mine = {shape(scene, user) for user in ("ann", "old", "costly", "phoned")}
    tap.equal(mine, {(32768, 16), (4096, 12), (TRANSITION, 0)},
              "three kinds of users")
    seen = {name: shape(scene, name) for name in NAMES}
    tap.equal(set(seen.values()), mine, "and the same three of nobody's")
    tap.equal({name: shape(scene, name) for name in NAMES}, seen,
              "each always the same")
    for a, b in (("ann", "ANN"), ("ann", "ann@play.example"),
                 ("ann", "ann@else.example"), ("nobody1", "NoBody1"),
                 ("nobody1", "nobody1@play.example"), ("old", "old@x.y"),
                 ("nobody2", "nobody2@else.example")):
        tap.equal(shown(scene, a), shown(scene, b),
                  "the same salt: %s and %s" % (a, b))
    tap.ok(shown(scene, "ann")[1] != shown(scene, "new")[1],
           "another salt: two users")


def stored(scene, user):
    """The records of a user."""
    db = sqlite3.connect("file:%s?mode=ro" % scene.keys["users_db"], uri=True)
    rows = [row[0] for row in db.execute(
        "SELECT record FROM credential c JOIN user u ON u.id = c.user_id"
        " WHERE u.name = ?", (user,))]
    db.close()
    return rows


def renewed(tap, scene, user, password, name):
    """A login that sends the password makes the record anew."""
    before = stored(scene, user)
    mark = scene.log.mark()
    tap.like(login(scene, user, password + "x"), "^535",
             name + ": a wrong password")
    tap.equal(stored(scene, user), before, name + ": changes nothing")
    tap.like(login(scene, user, password), "^235", name + ": PLAIN")
    event = scene.log.wait(mark, ev="rehash")
    tap.equal((event["result"], event["user"], event["role"]),
              ("ok", user, "store"), name + ": made anew")
    after = stored(scene, user)
    tap.ok(len(after) == 1 and after != before and after[0].startswith(
        "SCRAM-SHA-256$%d:" % scene.keys.get("scram_iterations", 32768)),
        name + ": the record", after)
    tap.like(login(scene, user, password, "SCRAM-SHA-256"), "^235",
             name + ": then SCRAM")
    tap.equal(shape(scene, user),
              (scene.keys.get("scram_iterations", 32768), 16),
              name + ": shown like the others")
    mark = scene.log.mark()
    tap.like(login(scene, user, password), "^235", name + ": PLAIN again")
    tap.equal(stored(scene, user), after, name + ": only once")


def anew(tap, scene, secret):
    """Imported users, then all after another number of iterations."""
    tap.like(login(scene, "costly", "x", "SCRAM-SHA-256"),
             "^" + re.escape(TRANSITION), "crypt(3): 432 before PLAIN")
    renewed(tap, scene, "costly", "x", "crypt(3)")
    renewed(tap, scene, "old", "olds", "fewer iterations")
    tap.equal({shape(scene, name) for name in NAMES}, {(32768, 16)},
              "when all are alike, so are names of nobody")
    db = sqlite3.connect("file:%s?mode=ro" % scene.keys["users_db"], uri=True)
    audit = db.execute("SELECT actor, object FROM admin_audit"
                       " WHERE what = 'password renew' ORDER BY id").fetchall()
    db.close()
    tap.equal(audit, [("submitd", "costly"), ("submitd", "old")],
              "the audit has both")
    mark = scene.log.mark()
    scene.configure(scram_iterations=8192)
    scene.reload()
    scene.log.wait(mark, ev="reload", result="ok")
    scene.settled()
    tap.equal(shape(scene, "ann"), (32768, 16), "scram_iterations: not yet")
    tap.equal({shape(scene, name) for name in NAMES}, {(32768, 16)},
              "scram_iterations: nobody shows it either")
    renewed(tap, scene, "ann", PASSWORD, "scram_iterations")
    tap.equal({shape(scene, name) for name in NAMES},
              {(32768, 16), (8192, 16)}, "then some of nobody's do")
    renewed(tap, scene, "phoned", secret, "a device")
    devices = scene.submitctl_json("device", "list", "phoned")
    tap.equal([d["state"] for d in devices], ["active"],
              "a device: it is the same device")


def no_way(tap, scene):
    """Without PLAIN and LOGIN nothing could come of a 432."""
    path = scene.path("passwd")
    with open(path, "w", encoding="ascii") as f:
        f.write("late:{CRYPT}%s\n" % CRYPT)
    scene.submitctl("user", "import", "--format", "dovecot", path)
    scene.configure(mechanisms="SCRAM-SHA-256")
    scene.stop()
    scene.start()
    tap.like(login(scene, "late", "x", "SCRAM-SHA-256"), "^535 5.7.8",
             "no PLAIN offered: 535")


def test(tap):
    """Two workers: what one learns the other must show, too."""
    with Scene(tap, smarthost=False, auth_fail_delay="5ms", auth_workers=2,
               throttle_exempt="127.0.0.1") as scene:
        scene.route_to(9)
        scene.start()
        secret = users(tap, scene)
        alike(tap, scene)
        anew(tap, scene, secret)
        no_way(tap, scene)
        tap.equal(scene.stop(), 0, "ends with status 0")


taplib.run(test)
