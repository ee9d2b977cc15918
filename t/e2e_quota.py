#!/usr/bin/python3 -B
"""Limits of users, devices and keys of the access map; and what a stolen
account can send before it is stopped."""

import os
import smtplib
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib
from scene import PASSWORD, Scene, message

FROM = "ann@play.example"


def send(scene, to, user="ann", password=PASSWORD, data=None, sender=FROM,
         device=None, options=()):
    """The last reply of an attempt to send one message: (code, text)."""
    send.count += 1
    with scene.tls_session(device) as session:
        if user:
            session.login(user, password)
        code, text = session.mail(sender, options)
        if code != 250:
            return code, text.decode()
        for one in to:
            code, text = session.rcpt(one)
            if code != 250:
                return code, text.decode()
        try:
            code, text = session.data(data or message("q%d" % send.count,
                                                       author=sender))
        except smtplib.SMTPDataError as e:
            code, text = e.args
        return code, text.decode()


send.count = 0


def limits(scene, *whose):
    """The limits shown, by name: (value, now, from)."""
    return {row["limit"]: (row["value"], row["now"], row["from"])
            for row in scene.submitctl_json("limit", "show", *whose)}


def rules(tap, scene):
    """One user, all users, the configuration; what is wrong is said. The
    secret of a new device, the printer."""
    secret = scene.submitctl_json(
        "device", "add", "ann", "printer", "--password")["password"]
    shown = limits(scene)
    tap.equal(shown["messages_hour"], (300, None, "configuration"),
              "limit show: the configuration's default")
    tap.equal(shown["message_size"], (None, None, "configuration"),
              "limit show: no limit of the size")
    scene.submitctl("limit", "set", "messages_hour=4", "message_size=2M")
    scene.submitctl("limit", "set", "--user", "ann", "messages_hour=2",
                    "recipients_day=none")
    shown = limits(scene, "--user", "ann")
    tap.equal((shown["messages_hour"], shown["message_size"],
               shown["recipients_day"], shown["sessions"]),
              ((2, 0, "own rule"), (2097152, None, "all users"),
               (None, 0, "own rule"), (50, 0, "configuration")),
              "limit show --user: each from where it comes")
    for args, status, what in (
            (("set", "messages=1"), 64, "is no limit, expected one of"),
            (("set", "messages_hour"), 64, "LIMIT=NUMBER is expected"),
            (("set", "messages_hour=-1"), 65, "expected a number from 0"),
            (("set", "message_size=1T"), 65, "expected a size"),
            (("set", "--device", "x", "sessions=1"), 64, "needs --user"),
            (("set", "--user", "nobody", "sessions=1"), 67, "nobody"),
            (("set", "--user", "ann", "--device", "x", "sessions=1"), 65,
             "has no device"),
            (("set", "--user", "ann", "--map", "x", "sessions=1"), 64,
             "exclude each other"),
            (("set", "--user", "ann", "--device", "printer",
              "suspend_new_recipients=1"), 64, "not of a device")):
        done = scene.submitctl("limit", *args, check=False)
        tap.ok(done.returncode == status and what in done.stderr,
               "limit %s: %s" % (" ".join(args), what), done)
    return secret


def refused(tap, scene):
    """The third one; the reply, the log and the history say why."""
    tap.equal([send(scene, ["bo@example.net"])[0] for _ in range(2)],
              [250, 250], "two messages pass")
    mark = scene.log.mark()
    code, text = send(scene, ["bo@example.net"])
    tap.ok(code == 450 and text.startswith("4.7.0 ") and
           "2 messages an hour" in text and "try again in " in text and
           "administrator" in text, "the third: %s" % text)
    line = scene.log.wait(mark, ev="limit-user")
    tap.equal((line["user"], line["what"], line["limit"]),
              ("ann", "messages_hour", "2"), "the log says which limit")
    last = scene.submitctl_json("log", "--user", "ann", "--refused")[-1]
    tap.equal((last["phase"], last["code"], last["why"]),
              ("data", 450, "limit"), "submitctl log knows why")
    tap.equal(limits(scene, "--user", "ann")["messages_hour"][1], 2,
              "limit show: 2 now")
    scene.stop()
    scene.start()
    tap.equal(send(scene, ["bo@example.net"])[0], 450,
              "the same after a restart")
    scene.submitctl("limit", "set", "--user", "ann", "messages_hour=none")
    tap.equal(send(scene, ["bo@example.net"])[0], 250,
              "at once after limit set ... none")


def sizes(tap, scene):
    """At MAIL where the size is said, else as soon as it is known."""
    scene.submitctl("limit", "set", "--user", "ann", "message_size=4000")
    tap.equal(send(scene, ["bo@example.net"], options=["size=4001"])[0], 552,
              "SIZE above the user's limit: 552 at MAIL")
    code, text = send(scene, ["bo@example.net"],
                      data=message("big", b"0123456789\r\n" * 1000))
    tap.ok(code == 552 and "4000 bytes" in text,
           "too large a message: %s" % text)
    tap.equal(send(scene, ["bo@example.net"])[0], 250, "a small one passes")
    scene.submitctl("limit", "set", "--user", "ann", "message_size=default")


def sessions(tap, scene):
    """Only the session that is one too many is refused, until another one has
    said QUIT, whatever becomes of its connection."""
    scene.submitctl("limit", "set", "--user", "ann", "sessions=1")
    with scene.tls_session() as first:
        first.login("ann", PASSWORD)
        first.sendmail(FROM, "bo@example.net", message("first", author=FROM))
        code, text = send(scene, ["bo@example.net"])
        tap.ok(code == 450 and "1 sessions at one time" in text,
               "a second session: %s" % text)
        refused = first.sendmail(FROM, "bo@example.net",
                                 message("again", author=FROM))
        tap.equal(refused, {}, "the first one sends on")
        tap.equal(first.docmd("QUIT")[0], 221, "QUIT, and no end of it")
        tap.equal(send(scene, ["bo@example.net"])[0], 250,
                  "then there is room for another one")
    scene.submitctl("limit", "set", "--user", "ann", "sessions=default")


def devices(tap, scene, secret):
    """A device has limits on top of the user's."""
    scene.submitctl("limit", "set", "--user", "ann", "--device", "printer",
                    "recipients_hour=2")
    tap.equal(send(scene, ["bo@example.net", "cy@example.net"],
                   password=secret)[0], 250, "the printer sends to two")
    code, text = send(scene, ["bo@example.net"], password=secret)
    tap.ok(code == 450 and "from this device" in text,
           "its third recipient: %s" % text)
    tap.equal(send(scene, ["bo@example.net"])[0], 250,
              "the account itself sends on")
    shown = limits(scene, "--user", "ann", "--device", "printer")
    tap.equal((shown["recipients_hour"], "suspend_new_recipients" in shown),
              ((2, 2, "own rule"), False), "limit show --device")


def by_map(tap, scene):
    """Who relays by the access map alone: only a rule about the key."""
    key = "CertIssuer:/CN=guest"
    scene.submitctl("limit", "set", "--map", key, "messages_hour=5")
    tap.equal(limits(scene, "--map", key.lower())["messages_hour"],
              (5, 0, "own rule"), "limit set --map: letters of any case")
    tap.equal(limits(scene, "--map", "x")["messages_day"],
              (None, 0, "no rule"), "no limit without a rule")
    done = scene.submitctl("user", "resume", "map:x", check=False)
    tap.ok(done.returncode == 67 and "no entry x" in done.stderr,
           "user resume: a key that is not there", done)
    scene.submitctl("access", "set", "Connect:192.0.2.1", "RELAY")
    done = scene.submitctl("user", "resume", "map:Connect:192.0.2.1")
    tap.ok("is active" in done.stdout, "user resume: one that is there", done)


def stolen(tap, scene):
    """Somebody has the password and writes to strangers as fast as can be,
    in messages of 50 recipients."""
    scene.submitctl("limit", "set", "messages_hour=default",
                    "message_size=default")
    scene.new_smarthost(refuse={"mail": "450 4.3.2 later"})  # mail waits
    sender = "eve@play.example"
    mark = scene.log.mark()
    accepted, n = 0, 0
    while True:
        to = ["stranger%d@example.net" % i for i in range(n, n + 50)]
        code, text = send(scene, to, user="eve", sender=sender)
        if code != 250:
            break
        accepted += 1
        n += 50
    line = scene.log.wait(mark, ev="suspended")
    tap.equal((accepted, line["user"], line["held"]), (5, "eve", "5"),
              "with the defaults: 200 strangers, the next 50 are held")
    tap.ok(code == 550 and "5.7.13" in text and "250 new recipients" in text,
           "after that: %s" % text)
    tap.equal(scene.submitctl_json("queue", "stats")["recipients"]["held"],
              250, "what is queued is held")
    shown = scene.submitctl_json("user", "show", "eve")
    tap.ok(shown["state"] == "suspended" and shown["suspended"] and
           "new recipients" in shown["reason"], "user show says so", shown)
    tap.equal([(row["name"], row["state"]) for row in
               scene.submitctl_json("user", "list")],
              [("ann", "active"), ("eve", "suspended")], "user list, too")
    explained(tap, scene, line["why"])
    alarms = scene.submitctl_json("status")["alarms"]
    tap.ok(any(a["what"] == "suspended" and a["trouble"] == "eve"
               for a in alarms), "status shows an alarm", alarms)
    tap.equal(send(scene, ["bo@example.net"])[0], 250, "ann sends on")


def explained(tap, scene, why):
    """submitctl says why, and what to do, of what was and what would be."""
    last = scene.submitctl_json("log", "--user", "eve", "--refused")[-1]
    facts = ("--user", "eve", "--from", "eve@play.example", "--rcpt",
             "bo@example.net", "--header-from", "eve@play.example")
    for args, what in (((last["sid"],), "what was"),
                       (facts, "what would be")):
        told = scene.submitctl_json("explain", *args)[-1]
        tap.equal((told["phase"], told["decision"], told["code"], told["why"],
                   told["user"]),
                  ("data", "refuse", 550, "suspended", "eve"),
                  "explain: %s" % what)
        tap.ok(why in told["text"] and
               '"submitctl user resume eve"' in told["advice"],
               "explain: why, and what ends it", told)
    told = scene.submitctl_json("explain", *facts[:1] + ("ann",) + (
        "--from", FROM, "--rcpt", "bo@example.net"))[-1]
    tap.equal(told["decision"], "allow", "explain: others are not")
    sid = scene.submitctl_json("log", "--user", "ann", "--refused")[-1]["sid"]
    told = scene.submitctl_json("explain", sid)[-1]
    tap.ok("limit show --user ann" in told["advice"],
           "explain: a limit, and where it is seen", told)


def reasons(tap, scene):
    """Both suspensions are shown, and both end."""
    scene.submitctl("user", "suspend", "eve", "--reason", "is on leave")
    shown = scene.submitctl_json("user", "show", "eve")
    tap.ok(shown["reason"] == "is on leave" and
           "new recipients" in shown["suspended_why"],
           "user show: the reasons of both", shown)
    text = scene.submitctl("user", "show", "eve").stdout
    tap.ok("is on leave" in text and "new recipients" in text,
           "user show: the reasons of both, for people", text)
    scene.submitctl("user", "set", "eve", "--state", "active")
    tap.equal(scene.submitctl_json("user", "show", "eve")["state"], "active",
              "user set --state active ends both")


def same_name(tap, scene):
    """Another user of the name begins anew, and no alarm is left."""
    eve = "eve@play.example"
    scene.submitctl("limit", "set", "--user", "eve",
                    "suspend_new_recipients=1")
    tap.equal(send(scene, ["new1@example.net", "new2@example.net"],
                   user="eve", sender=eve)[0], 250, "the last one is held")
    tap.equal(send(scene, ["bo@example.net"], user="eve", sender=eve)[0], 550,
              "eve is suspended again")
    reasons(tap, scene)
    tap.equal(send(scene, ["new3@example.net", "new4@example.net"],
                   user="eve", sender=eve)[0], 250, "again the last one")
    tap.equal(send(scene, ["bo@example.net"], user="eve", sender=eve)[0], 550,
              "eve is suspended once more")
    scene.submitctl("user", "del", "eve")
    alarms = scene.submitctl_json("status")["alarms"]
    tap.equal([a for a in alarms if a["what"] == "suspended"], [],
              "user del: the alarm ends")
    scene.add_user("eve", PASSWORD, eve)
    tap.equal(send(scene, ["bo@example.net"], user="eve", sender=eve)[0], 250,
              "another eve sends")
    tap.equal(limits(scene, "--user", "eve")["recipients_hour"][1], 1,
              "and it was her first recipient")


def resumed(tap, scene):
    """The administrator throws the spam away, and lets one of the good ones
    go."""
    qids = [m["qid"] for m in scene.submitctl_json("queue", "list")
            if m["user"] == "eve"]
    scene.submitctl("queue", "release", qids[0])
    done = scene.submitctl("queue", "del", "--user", "eve", check=False)
    tap.ok(done.returncode == 0 and "messages deleted" in done.stdout,
           "queue del --user: %s" % done.stdout.strip(), done)
    tap.equal([m["user"] for m in scene.submitctl_json("queue", "list")
               if m["user"] == "eve" and m["qid"] != qids[0]], [],
              "nothing else of the user is left")
    tap.equal(scene.submitctl_json("user", "show", "eve")["state"],
              "suspended", "that changes nothing about the user")
    scene.submitctl("user", "resume", "eve")
    tap.equal(scene.submitctl_json("user", "show", "eve")["state"], "active",
              "user resume")
    tap.equal(send(scene, ["bo@example.net"], user="eve",
                   sender="eve@play.example")[0], 250, "and sends again")


def test(tap):
    """All of it in one scene."""
    with Scene(tap) as scene:
        scene.add_user("eve", PASSWORD, "eve@play.example")
        scene.start()
        secret = rules(tap, scene)
        refused(tap, scene)
        sizes(tap, scene)
        sessions(tap, scene)
        devices(tap, scene, secret)
        by_map(tap, scene)
        stolen(tap, scene)
        resumed(tap, scene)
        same_name(tap, scene)


taplib.run(test)
