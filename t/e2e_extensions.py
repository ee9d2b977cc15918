#!/usr/bin/python3 -B
"""What a client asks for with MAIL and RCPT, end to end: passed on to a
smarthost that has all extensions; converted, reported or refused by us where
the smarthost has none.
"""

import email
import email.policy
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib
from scene import BODY, PASSWORD, Scene, message

ANN = "FROM:<ann@play.example>"
ALL = ["DSN", "BINARYMIME", "SMTPUTF8", "REQUIRETLS", "DELIVERBY 60",
       "MT-PRIORITY", "LIMITS RCPTMAX=2 MAILMAX=5"]
ASCII = b"Plain.\r\n"
BINARY = (b"From: Ann <ann@play.example>\r\nSubject: binary\r\n"
          b"MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
          b"Content-Transfer-Encoding: binary\r\n\r\n"
          b"\x00\x01\r\x02\n\xff" + b"\x80" * 2000)


def submit(scene, data, mail="", rcpts=("<bo@example.net>",)):
    """One message; parameters follow the addresses."""
    with scene.tls_session() as session:
        session.ehlo()
        session.login("ann", PASSWORD)
        commands = ["MAIL %s %s" % (ANN, mail)]
        commands += ["RCPT TO:" + r for r in rcpts]
        text = "".join(c.rstrip() + "\r\n" for c in commands).encode()
        session.send(text + b"BDAT %d LAST\r\n" % len(data) + data)
        got = [session.getreply() for _ in range(len(rcpts) + 2)]
        if [code for code, _ in got] != [250] * len(got):
            raise RuntimeError("refused: %r" % got)


def report(scene, token, timeout=30):
    """The report about the message with this subject, as it was sent on."""
    wanted = ("\r\nSubject: %s\r\n" % token).encode()

    def find(host):
        return next((m for m in host.messages
                     if m["from"] == "" and wanted in m["data"]), None)
    if not scene.smarthost.wait(find, timeout):
        raise TimeoutError("no report about %s" % token)
    return find(scene.smarthost)


def said(scene, token):
    """MAIL and RCPT of each transaction of this message, at the smarthost."""
    scene.delivered(token)
    wanted = b"\r\nSubject: " + token.encode() + b"\r\n"
    return [m for m in scene.smarthost.messages
            if wanted in m["data"] and m["from"] != ""]


def command(scene, verb, part):
    """The last command of this kind that the smarthost has heard."""
    lines = [line for _, _, line in scene.smarthost.commands
             if line.upper().startswith(verb) and part in line]
    return lines[-1] if lines else ""


def passed_on(tap, scene):
    """All of it, to one that has all of it."""
    submit(scene, message("dsn", ASCII), "RET=HDRS ENVID=id+3D7",
           ("<bo@example.net> NOTIFY=SUCCESS,DELAY "
            "ORCPT=rfc822;Bo@example.net",
            "<cy@example.net> NOTIFY=NEVER"))
    scene.delivered("dsn")
    mail = command(scene, "MAIL", "ENVID")
    tap.ok("RET=HDRS" in mail and "ENVID=id+3D7" in mail, "RET, ENVID")
    tap.like(command(scene, "RCPT", "bo@"),
             r"NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bo@example\.net$",
             "NOTIFY, ORCPT")
    tap.like(command(scene, "RCPT", "cy@"), r"NOTIFY=NEVER$", "NOTIFY=NEVER")

    submit(scene, message("more", BODY),
           "BODY=8BITMIME REQUIRETLS BY=7200;R MT-PRIORITY=0")
    scene.delivered("more")
    mail = command(scene, "MAIL", "REQUIRETLS")
    tap.like(mail, r"BODY=8BITMIME\b", "BODY=8BITMIME")
    tap.like(mail, r" BY=7(200|1\d\d);R\b", "BY, with the time that is left")
    tap.like(mail, r"MT-PRIORITY=0\b", "MT-PRIORITY")
    tap.like(mail, r" SIZE=\d+", "SIZE")

    submit(scene, BINARY, "BODY=BINARYMIME")
    record = scene.delivered("binary")
    tap.ok(record["data"].endswith(BINARY.split(b"\r\n\r\n", 1)[1]),
           "binary data arrives as it was sent")
    tap.like(command(scene, "MAIL", "BINARYMIME"), r"BODY=BINARYMIME",
             "BODY=BINARYMIME")

    submit(scene, message("utf8", ASCII), "SMTPUTF8",
           ("<b\u00f6@ex\u00e4mple.net>",))
    scene.delivered("utf8")
    tap.like(command(scene, "MAIL", "SMTPUTF8"), r" SMTPUTF8\b", "SMTPUTF8")

    submit(scene, message("many", ASCII), "",
           ["<r%d@example.net>" % i for i in range(5)])
    scene.smarthost.wait(lambda _: len(said(scene, "many")) == 3, 30)
    tap.equal(sorted(len(m["rcpts"]) for m in said(scene, "many")), [1, 2, 2],
              "RCPTMAX=2: five recipients in three transactions")
    tap.equal(scene.smarthost.violations, [], "all as the smarthost offers")


def waits(tap, scene):
    """FUTURERELEASE."""
    submit(scene, message("much later", ASCII), "HOLDFOR=7200")
    listed = scene.submitctl_json("queue", "list")
    shown = scene.submitctl("queue", "show", listed[0]["qid"]).stdout
    tap.like(shown, r"Not before", "submitctl shows what is put off")
    scene.submitctl("queue", "del", listed[0]["qid"])
    begin = time.time()
    submit(scene, message("later", ASCII), "HOLDFOR=2")
    scene.delivered("later")
    tap.ok(time.time() - begin >= 2, "it leaves when its time has come")
    submit(scene, message("sooner", ASCII), "HOLDFOR=3600")
    qid = scene.submitctl_json("queue", "list")[0]["qid"]
    for verb in ("retry", "release"):
        done = scene.submitctl_json("queue", verb, qid)
        tap.equal(done, {"changed": 0, "later": 1},
                  "queue %s: it waits for its time" % verb)
    done = scene.submitctl("queue", "release", "--now", qid)
    tap.equal(done.stdout, "1 message released\n", "queue release --now")
    scene.delivered("sooner")


def converted(tap, scene):
    """To one that has nothing: what can be made to fit."""
    submit(scene, message("eight", BODY), "BODY=8BITMIME")
    data = scene.delivered("eight")["data"]
    tap.ok(data.isascii(), "8-bit text: sent as 7-bit")
    parsed = email.message_from_bytes(data, policy=email.policy.default)
    tap.equal(parsed.get_content().replace("\r\n", "\n"),
              BODY.decode().replace("\r\n", "\n"), "and is the same text")

    submit(scene, BINARY, "BODY=BINARYMIME")
    data = scene.delivered("binary")["data"]
    parsed = email.message_from_bytes(data, policy=email.policy.default)
    tap.equal(parsed.get_content(), BINARY.split(b"\r\n\r\n", 1)[1],
              "binary data is the same, in base64")

    submit(scene, message("alabel", ASCII), "SMTPUTF8",
           ("<bo@ex\u00e4mple.net>",))
    tap.equal(scene.delivered("alabel")["rcpts"],
              ["bo@xn--exmple-cua.net"], "a domain gets A-labels")

    submit(scene, message("relayed", ASCII), "ENVID=e7",
           ("<bo@example.net> NOTIFY=SUCCESS",))
    text = report(scene, "relayed")["data"]
    tap.ok(b"Action: relayed\r\n" in text and
           b"Original-Envelope-Id: e7\r\n" in text,
           "NOTIFY=SUCCESS: a report of ours says relayed")


def refused(tap, scene):
    """The same: what can not."""
    rows = (("local", "SMTPUTF8", "<b\u00f6@example.net>", "5.6.7"),
            ("requiretls", "REQUIRETLS", "<bo@example.net>", "5.7.30"),
            ("by", "BY=7200;R", "<bo@example.net>", "5.3.3"))
    for token, mail, rcpt, status in rows:
        submit(scene, message(token, ASCII), mail, (rcpt,))
        text = report(scene, token)["data"].decode()
        tap.ok("Action: failed\r\nStatus: %s\r\n" % status in text,
               "%s: %s" % (mail, status))

    submit(scene, message("silent", ASCII), "REQUIRETLS",
           ("<bo@example.net> NOTIFY=NEVER",))
    submit(scene, message("last", ASCII))
    scene.delivered("last")
    tap.equal([m for m in scene.smarthost.messages
               if b"\r\nSubject: silent\r\n" in m["data"]], [],
              "NOTIFY=NEVER: no report")
    tap.equal(scene.smarthost.violations, [], "nothing that was not offered")


def in_time(tap, scene):
    """DELIVERBY in the queue."""
    scene.smarthost.set(refuse={"rcpt": "450 4.2.0 busy"})
    submit(scene, message("deadline", ASCII), "BY=7200;R")
    item = scene.submitctl_json("queue", "list")[0]
    shown = scene.submitctl("queue", "show", item["qid"]).stdout
    tap.like(shown, r"Deliver by: +\d", "submitctl shows the time for delivery")
    scene.smarthost.set(refuse={})
    scene.submitctl("queue", "retry", "--all")
    scene.delivered("deadline")


def who_it_was(tap, scene):
    """AUTH of MAIL, to a smarthost that wants a login of ours."""
    with open(scene.path("certs", "smarthost-password"), "w",
              encoding="ascii") as f:
        os.chmod(f.name, 0o600)
        f.write("ours\n")
    mark = scene.log.mark()
    scene.new_smarthost(auth="relay:ours", ehlo=ALL,
                        refuse={"rcpt": "450 4.2.0 busy"})
    scene.configure(smarthost={"user": "relay",
                               "password_file": "smarthost-password"})
    scene.reload()
    scene.log.wait(after=mark, ev="reload", result="ok")
    submit(scene, message("own", ASCII), "AUTH=ann@play.example")
    scene.log.wait(after=mark, ev="deferred")
    item = scene.submitctl_json("queue", "list")[0]
    tap.equal(scene.submitctl_json("queue", "show", item["qid"])["auth"],
              "ann@play.example", "submitctl shows who it was")
    scene.smarthost.set(refuse={})
    scene.submitctl("queue", "retry", "--all")
    rows = (("own", "", "AUTH=ann@play.example", "her own address"),
            ("foreign", "AUTH=bo@play.example", "AUTH=<>", "another's"),
            ("unknown", "AUTH=<>", "AUTH=<>", "nobody's"),
            ("unsaid", "", "AUTH=<>", "nothing said"))
    for token, given, want, name in rows:
        if token != "own":
            submit(scene, message(token, ASCII), given)
        words = scene.delivered(token)["mail_params"].split()
        tap.equal([w for w in words if w.startswith("AUTH")], [want],
                  "AUTH, %s" % name)
    line = scene.log.wait(after=mark, ev="mail-auth")
    tap.equal((line["user"], line["auth"]), ("ann", "bo@play.example"),
              "the log says whom she named")


def test(tap):
    """One with everything, one with nothing."""
    everything = {"chunking": True, "size": 10000000, "ehlo": ALL}
    with Scene(tap, smarthost=everything) as scene:
        scene.start()
        passed_on(tap, scene)
        waits(tap, scene)
        in_time(tap, scene)
        who_it_was(tap, scene)
    with Scene(tap, smarthost={"eightbitmime": False,
                               "pipelining": False}) as scene:
        scene.start()
        converted(tap, scene)
        refused(tap, scene)


taplib.run(test)
