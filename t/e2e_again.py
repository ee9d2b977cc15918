#!/usr/bin/python3 -B
"""The same mail again: a client that lost the reply to its message sends it
once more, and one copy is mailed."""

import os
import re
import smtplib
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib
from scene import BODY, PASSWORD, Scene, message

QUEUED = re.compile(r"[0-9a-f]{13,}")
FROM, TO = "ann@play.example", ["bo@example.net", "cy@example.net"]


def submit(scene, data, to=None):
    """Sends a message and returns the id in the reply."""
    with scene.tls_session() as session:
        session.login("ann", PASSWORD)
        session.mail(FROM)
        for one in to or TO:
            session.rcpt(one)
        code, text = session.data(data)
        if code != 250:
            raise smtplib.SMTPDataError(code, text)
        return QUEUED.search(text.decode()).group()


def submit_deaf(scene, data):
    """The same, but the connection is lost with the reply on its way; the log
    line of the message."""
    mark = scene.log.mark()
    session = scene.tls_session()
    session.login("ann", PASSWORD)
    session.mail(FROM)
    for one in TO:
        session.rcpt(one)
    session.docmd("DATA")
    session.send(re.sub(rb"(?m)^\.", b"..", data) + b".\r\n")
    line = scene.log.wait(mark, ev="accepted")
    session.sock.close()
    return line


def copies(scene, token):
    """How many messages with this subject the smarthost has, reports about
    them aside."""
    wanted = b"\r\nSubject: " + token.encode() + b"\r\n"
    return sum(wanted in m["data"] and m["from"] != ""
               for m in scene.smarthost.messages)


def flushed(scene):
    """All that was sent before has arrived."""
    flushed.count += 1
    token = "flush-%d" % flushed.count
    submit(scene, message(token))
    scene.delivered(token)


flushed.count = 0


def lost_reply(tap, scene, token, body):
    """One copy, in whatever state the first one is."""
    data = message(token, body)
    first = submit_deaf(scene, data)["qid"]
    tap.equal(submit(scene, data), first, token + ": the same id")
    scene.delivered(token)
    mark = scene.log.mark()
    tap.equal(submit(scene, data), first, token + ": after its delivery, too")
    line = scene.log.wait(mark, ev="duplicate")
    tap.equal((line["qid"], line["user"], line["rcpts"]),
              (first, "ann", "2"), token + ": the log says so")
    flushed(scene)
    tap.equal(copies(scene, token), 1, token + ": one copy is mailed")
    tap.equal([name for name in os.listdir(scene.path("spool"))
               if name.startswith("tmp.") or name.endswith(".msg")], [],
              token + ": no file stays behind")


def others(tap, scene):
    """What differs is another mail."""
    data = message("other")
    first = submit(scene, data)
    ids = {first, submit(scene, data, TO[:1]),
           submit(scene, data.replace(b"Hello", b"Hullo"))}
    no_id = re.sub(rb"Message-ID: .*?\r\n", b"", message("no-id"))
    ids |= {submit(scene, no_id), submit(scene, no_id)}
    tap.equal(len(ids), 5, "other recipients, other text, no Message-ID: "
              "each is a new one")
    flushed(scene)
    tap.equal((copies(scene, "other"), copies(scene, "no-id")), (3, 2),
              "and each is mailed")


def restart(tap, scene):
    """It is remembered."""
    data = message("restart")
    first = submit(scene, data)
    scene.delivered("restart")
    scene.stop()
    scene.start()
    tap.equal(submit(scene, data), first, "after a restart: the same id")
    flushed(scene)
    tap.equal(copies(scene, "restart"), 1, "after a restart: one copy")


def failure(tap, scene):
    """A copy that came back does not keep the next one from being sent."""
    data = message("failed")
    scene.smarthost.set(refuse={"rcpt:bo@example.net/1": "550 5.1.1 unknown"})
    mark = scene.log.mark()
    first = submit(scene, data)
    scene.log.wait(mark, ev="failed", qid=first)
    second = submit(scene, data)
    tap.ok(second != first, "after a failure: a new one")
    flushed(scene)
    tap.equal(copies(scene, "failed"), 2, "after a failure: sent again")


def keys(tap, scene):
    """By key: off, or on without Message-ID."""
    scene.configure(duplicate_window="0", duplicate_without_id="1m")
    scene.reload()
    scene.settled()
    data = message("off")
    tap.ok(submit(scene, data) != submit(scene, data),
           "duplicate_window = 0: each is a new one")
    no_id = re.sub(rb"Message-ID: .*?\r\n", b"", message("by-content"))
    tap.equal(submit(scene, no_id), submit(scene, no_id),
              "duplicate_without_id = 1m: the same without Message-ID")


def test(tap):
    """All of it."""
    with Scene(tap) as scene:
        scene.start()
        lost_reply(tap, scene, "small", BODY)
        lost_reply(tap, scene, "large", BODY * 100)
        others(tap, scene)
        restart(tap, scene)
        failure(tap, scene)
        keys(tap, scene)


taplib.run(test)
