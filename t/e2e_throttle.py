#!/usr/bin/python3 -B
"""Guessing: who tries many passwords is refused for a while, a user is slowed
down and never locked out, and submitctl shows it and ends it. The counters
outlive the queue process."""

import base64
import json
import os
import smtplib
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from scene import PASSWORD, Scene
from scram import Scram

USERS = ("bob", "cid", "dan", "eve")
LOCKED = ("454 4.7.0 Too many failed logins; check the password in your mail "
          "program and try again later")


def reply(code_and_text):
    """A reply as one text."""
    code, text = code_and_text
    return "%d %s" % (code, text.decode())


def connect(scene, source):
    """A session under TLS from one of the loopback addresses."""
    session = smtplib.SMTP("127.0.0.1", scene.port, local_hostname="phone.lan",
                           timeout=30, source_address=(source, 0))
    session.starttls(context=scene.tls_context())
    session.ehlo()
    return session


def login(scene, source, user, password):
    """The reply to AUTH PLAIN."""
    with connect(scene, source) as session:
        text = base64.b64encode(("\0%s\0%s" % (user, password)).encode())
        return reply(session.docmd("AUTH", "PLAIN " + text.decode()))


def scram(scene, source, user, password):
    """The reply to AUTH SCRAM-SHA-256."""
    with connect(scene, source) as session:
        try:
            return reply(session.auth("SCRAM-SHA-256", Scram(user, password)))
        except smtplib.SMTPAuthenticationError as e:
            return reply((e.smtp_code, e.smtp_error))


def duration(scene, source, user):
    """How long a good login takes, in s."""
    began = time.monotonic()
    login(scene, source, user, user + "'s")
    return time.monotonic() - began


def guess(scene, source, user, count):
    """So many different wrong passwords; the replies."""
    return [login(scene, source, user, "guess %d" % n) for n in range(count)]


def refused_alike(tap, scene):
    """After three, right and wrong ones alike, for users and for nobody."""
    said = {}
    for user, source in (("bob", "127.0.0.2"), ("nobody", "127.0.0.12")):
        said[user] = guess(scene, source, user, 3)
        said[user].append(login(scene, source, user, "guess 3"))
        said[user].append(login(scene, source, user, "bob's"))
        said[user].append(scram(scene, source, user, "bob's"))
    tap.equal([text[:9] for text in said["bob"]],
              ["535 5.7.8"] * 3 + ["454 4.7.0"] * 3,
              "three wrong passwords are looked at, no more")
    tap.equal(said["bob"][3:], [LOCKED] * 3,
              "the refusal is the same by PLAIN and SCRAM, right or wrong")
    tap.equal(said["nobody"], said["bob"],
              "the transcript of a user and of nobody is the same")
    began = time.monotonic()
    tap.like(login(scene, "127.0.0.3", "bob", "bob's"), "^235 2.7.0",
             "elsewhere the user can log in")
    tap.ok(time.monotonic() - began >= 1, "but is slowed down")
    tap.ok(min(duration(scene, "127.0.0.3", "bob") for _ in range(5)) < 1,
           "and not any more where a login succeeded")


def repeated(tap, scene):
    """A phone that keeps an old password is no burglar."""
    said = {login(scene, "127.0.0.4", "cid", "old") for _ in range(12)}
    tap.equal([text[:9] for text in said], ["535 5.7.8"],
              "one wrong password twelve times: never refused")
    tap.like(login(scene, "127.0.0.4", "cid", "cid's"), "^235",
             "and the right one is taken at once")


def trusted(tap, scene):
    """Where the owner succeeded, the owner is not refused."""
    login(scene, "127.0.0.5", "ann", PASSWORD)
    said = guess(scene, "127.0.0.5", "ann", 3)
    tap.equal([text[:9] for text in said], ["535 5.7.8"] * 3,
              "wrong passwords at an address of the owner")
    tap.like(login(scene, "127.0.0.5", "ann", PASSWORD), "^235",
             "do not lock out the owner")


def trusted_burst(tap, scene):
    """Sessions side by side at such an address get no more looks than one
    after the other would."""
    login(scene, "127.0.0.11", "ann", PASSWORD)
    sessions = [connect(scene, "127.0.0.11") for _ in range(20)]
    for n, session in enumerate(sessions):
        text = base64.b64encode(("\0ann\0burst %d" % n).encode()).decode()
        session.putcmd("AUTH", "PLAIN " + text)
    said = [session.getreply()[0] for session in sessions]
    for session in sessions:
        session.close()
    tap.ok(said.count(535) <= 5 and said.count(454) >= 15,
           "twenty at a time where the owner succeeded: three are looked at, "
           "and one after the other when these are answered", said)
    tap.like(login(scene, "127.0.0.11", "ann", PASSWORD), "^235",
             "and then the owner")
    sessions = [connect(scene, "127.0.0.11") for _ in range(20)]
    right = base64.b64encode(("\0ann\0" + PASSWORD).encode()).decode()
    for session in sessions:
        session.putcmd("AUTH", "PLAIN " + right)
    said = {session.getreply()[0] for session in sessions}
    for session in sessions:
        session.close()
    tap.equal(said, {235}, "twenty right ones at a time: all are let in")


def whole_address(tap, scene):
    """Passwords tried on many users count for the address."""
    for user in ("dan", "eve", "u1", "u2", "u3", "u4"):
        tap.like(login(scene, "127.0.0.6", user, "summer"), "^535",
                 "one password tried on %s" % user)
    tap.equal(login(scene, "127.0.0.6", "dan", "dan's"), LOCKED,
              "after six the address is refused")
    session = smtplib.SMTP("127.0.0.1", scene.port, local_hostname="phone.lan",
                           timeout=30, source_address=("127.0.0.6", 0))
    with session:
        session.starttls(context=scene.tls_context(scene.laptop))
        session.ehlo()
        tap.like(reply(session.docmd("MAIL FROM:<ann@play.example>")), "^250",
                 "a certificate still works there")


def side_by_side(tap, scene):
    """Ten at the same moment do not get more looks than one after another."""
    passwords = ["guess %d" % n for n in range(10)]
    sessions = [connect(scene, "127.0.0.7") for _ in passwords]
    for session, password in zip(sessions, passwords):
        text = base64.b64encode(("\0eve\0" + password).encode()).decode()
        session.putcmd("AUTH", "PLAIN " + text)
    said = []
    threads = [threading.Thread(
        target=lambda s=s: said.append(s.getreply()[0])) for s in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for session in sessions:
        session.close()
    tap.ok(said.count(535) <= 3 and said.count(454) >= 7,
           "ten at a time: at most three are looked at", said)


def ask(scene, **request):
    """One question to the control socket; the items of the answer."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(scene.keys["control_socket"])
        s.sendall(json.dumps(request).encode() + b"\n")
        lines = [json.loads(line) for line in s.makefile("rb")]
    return [line["item"] for line in lines if "item" in line]


def shown(tap, scene):
    """What submitctl shows, before and after a kill of queue."""
    before = scene.submitctl_json("throttle", "list")
    states = {(i["kind"], i["user"], i["addr"]): i["state"] for i in before}
    tap.equal(states.get(("pair", "bob", "127.0.0.2")), "refused",
              "throttle list has user and address")
    tap.equal(states.get(("address", "", "127.0.0.6")), "refused",
              "throttle list has the address")
    tap.equal(states.get(("user", "bob", "")), "slowed",
              "throttle list has the user")
    tap.equal(states.get(("pair", "ann", "127.0.0.5")), None,
              "the owner's success has ended the owner's counter")
    status = scene.submitctl_json("status")
    tap.ok({"bob"} <= {i["user"] for i in status["throttled"]},
           "status has who is throttled", status["throttled"])
    tap.like(scene.submitctl("throttle", "list").stdout,
             r"bob +127\.0\.0\.2 +3 .*refused", "the table for people")
    tap.unlike(json.dumps(before), "guess", "no password is shown")
    mark = scene.log.mark()
    scene.kill("queue")
    scene.log.wait(mark, ev="spool")
    after = scene.submitctl_json("throttle", "list")
    tap.equal(after, before, "the counters outlive the queue process")
    tap.equal(login(scene, "127.0.0.2", "bob", "bob's"), LOCKED,
              "and so does the refusal")
    tap.like(login(scene, "127.0.0.5", "ann", PASSWORD), "^235",
             "and the trust")


def scene_users():
    """Users and their passwords."""
    return [(user, user + "'s") for user in USERS]


def cleared(tap, scene):
    """An administrator ends it."""
    done = scene.submitctl("throttle", "clear", "bob")
    tap.like(done.stdout, "Forgotten: 2 counters", "throttle clear USER")
    tap.like(login(scene, "127.0.0.2", "bob", "bob's"), "^235",
             "the user can log in there again")
    guess(scene, "127.0.0.10", "cid", 3)
    done = scene.submitctl("throttle", "clear", "CID@Play.Example")
    tap.like(done.stdout, "Forgotten: 2 counters",
             "throttle clear with an address of the user")
    guess(scene, "127.0.0.10", "Who@Nowhere.example", 3)
    done = scene.submitctl("throttle", "clear", "who@nowhere.example")
    tap.like(done.stdout, "Forgotten: 2 counters",
             "throttle clear with a name that is nobody's, in another case")
    scene.submitctl("throttle", "clear", "127.0.0.6")
    tap.like(login(scene, "127.0.0.6", "dan", "dan's"), "^235",
             "throttle clear ADDRESS: all can log in there again")
    scene.submitctl("throttle", "clear", "--all")
    tap.equal(scene.submitctl_json("throttle", "list"), [],
              "throttle clear --all")
    tap.like(scene.submitctl("throttle", "list").stdout,
             "^No wrong passwords lately", "nothing is left to show")
    for args in ((), ("bob", "--all")):
        tap.equal(scene.submitctl("throttle", "clear", *args,
                                  check=False).returncode, 64,
                  "throttle clear %s: usage" % " ".join(args))


def last_use(tap, scene):
    """When, from where and by which program each logged in last."""
    harness.until(lambda: len(ask(scene, cmd="device.seen")) == 4)
    seen = {i["user"]: i for i in ask(scene, cmd="device.seen")}
    tap.equal(sorted(seen), ["ann", "bob", "cid", "dan"],
              "last use: those who logged in")
    tap.equal({k: v for k, v in seen["cid"].items() if k != "time"},
              {"device": 0, "user": "cid", "addr": "127.0.0.4",
               "client": "phone.lan"}, "last use: address and client")
    tap.like(seen["cid"]["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$",
             "last use: the time")
    secret = scene.submitctl_json("device", "add", "eve", "phone",
                                  "--password")["password"]
    tap.equal(scene.submitctl_json("device", "list")[0]["last_used"], None,
              "device list: not used yet")
    tap.like(login(scene, "127.0.0.9", "eve", secret), "^235",
             "the password of a device")
    harness.until(lambda: scene.submitctl_json("device", "list")[0][
        "last_used"])
    device = scene.submitctl_json("device", "list")[0]
    tap.equal((device["last_addr"], device["last_client"]),
              ("127.0.0.9", "phone.lan"),
              "device list: the address and program of the last use")
    tap.ok(device["last_used"], "device list: the time of the last use")


def logged(tap, scene):
    """The log says when it begins, and of each login that is refused."""
    began = [(e["what"], e["user"], e["addr"])
             for e in scene.log.all(ev="throttle", role="queue")]
    for want in (("user", "bob", ""), ("pair", "bob", "127.0.0.2"),
                 ("address", "", "127.0.0.6")):
        tap.ok(want in began, "log: %s %s %s" % want, began)
    tap.ok(scene.log.wait(ev="auth", result="locked", user="bob"),
           "log: ev=auth result=locked")
    tap.unlike("\n".join(scene.log.lines), "guess [0-9]|bob's",
               "log: no password")


def bad_network(tap, scene):
    """A word that is no network is refused with its line."""
    scene.configure(throttle_exempt="127.0.0.1 lan")
    done = subprocess.run(
        (harness.program("submitd"), "-n", "-f", scene.conf_file), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    tap.like(done.stdout, r"submitd\.conf:\d+: throttle_exempt: \"lan\" is not valid",
             "throttle_exempt with a name in it")
    scene.configure(throttle_exempt="127.0.0.0/8 ::1")
    mark = scene.log.mark()
    scene.reload()
    scene.log.wait(mark, ev="reload", result="ok")
    scene.settled()
    said = guess(scene, "127.0.0.8", "bob", 5)
    tap.equal([text[:9] for text in said], ["535 5.7.8"] * 5,
              "nothing is counted in an exempt network")


def test(tap):
    """All with one server."""
    with Scene(tap, smarthost=False, auth_fail_delay="0ms", auth_workers=2,
               throttle_user=3, throttle_address=6) as scene:
        for user, password in scene_users():
            scene.add_user(user, password)
        scene.route_to(9)
        scene.start()
        for part in (refused_alike, repeated, trusted, trusted_burst,
                     whole_address,
                     side_by_side, shown, cleared, last_use, logged,
                     bad_network):
            part(tap, scene)


taplib.run(test)
