#!/usr/bin/python3 -B
"""What a client asks for with MAIL and RCPT, at a real Postfix: the commands
that it hears, the queue file that it writes, the reports that it makes."""

import email
import email.policy
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from postfix import Postfix
from scene import BODY, PASSWORD, Scene, message

ANN = "FROM:<ann@play.example>"
HELD, GONE = "hold.example", "gone.example"
# With debug_peer_list Postfix logs each command.
SETTINGS = ("debug_peer_list=127.0.0.1", "smtputf8_enable=yes",
            "smtpd_recipient_restrictions=check_recipient_access "
            "inline:{%s=HOLD}" % HELD)


def submit(scene, token, mail, *rcpts):
    """One message; parameters follow the addresses.  Returns Postfix's queue
    id of it."""
    mark = scene.log.mark()
    with scene.tls_session() as session:
        session.login("ann", PASSWORD)
        commands = ["MAIL %s %s" % (ANN, mail)]
        commands += ["RCPT TO:" + r for r in rcpts] + ["DATA"]
        for command in commands:
            session.send((command.rstrip() + "\r\n").encode("utf-8"))
            code, text = session.getreply()
            if code not in (250, 354):
                raise RuntimeError("%s: %d %r" % (command, code, text))
        body = re.sub(rb"(?m)^\.", b"..", message(token))
        session.send(body + b".\r\n")
        if session.getreply()[0] != 250:
            raise RuntimeError("%s: not accepted" % token)
    line = scene.log.wait(after=mark, ev="delivered")
    return re.search(r"queued as (\w+)", line["text"]).group(1)


def heard(postfix, verb, part):
    """The last command of this kind that Postfix has heard."""
    lines = [line for line in
             re.findall(r" < [^ ]+: (%s .*)" % verb, postfix.log())
             if part in line]
    return lines[-1] if lines else ""


def read_mails(postfix, count):
    """The mails in the Maildir, as bytes."""
    found = []
    for file in postfix.mails(count, 60):
        with open(file, "rb") as f:
            found.append(f.read())
    return found


def reports(found):
    """{ENVID: (fields of the recipient, type of what is returned)} of the
    reports among them."""
    result = {}
    for data in found:
        mail = email.message_from_bytes(data, policy=email.policy.default)
        if mail.get_content_type() != "multipart/report":
            continue
        _, status, returned = mail.iter_parts()
        message_part, rcpt = status.get_payload()
        result[message_part["Original-Envelope-Id"]] = (
            rcpt, returned.get_content_type())
    return result


def queued(tap, scene, postfix):
    """A message that Postfix holds: its queue file has all of it."""
    qid = submit(scene, "held",
                 "RET=HDRS ENVID=id+2B7 BODY=8BITMIME SIZE=2000",
                 "<bo@%s> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bo+2Bx@b.example"
                 % HELD, "<cy@%s> NOTIFY=NEVER" % HELD)
    mail = heard(postfix, "MAIL", "ENVID")
    tap.like(mail, r" SIZE=\d{4}\b", "SIZE")
    tap.like(mail, r" BODY=8BITMIME\b", "BODY=8BITMIME")
    tap.like(mail, r" RET=HDRS ENVID=id\+2B7\b", "RET, ENVID")
    tap.like(heard(postfix, "RCPT", "bo@"),
             r" NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bo\+2Bx@b\.example$",
             "NOTIFY, ORCPT")
    tap.like(heard(postfix, "RCPT", "cy@"), r" NOTIFY=NEVER$", "NOTIFY=NEVER")
    envelope = postfix.envelope(qid)
    for name, want in (
            ("ENVID", r"\benvelope_id=id\+7\n"),
            ("RET", r"\bret_flags=2\n"),
            ("BODY", r"\bencoding=8bit\n"),
            ("NOTIFY, ORCPT", r"notify_flags=6\n.*"
             r"dsn_orig_rcpt=rfc822;Bo\+x@b\.example\n"
             r".*recipient: bo@hold\.example\n"),
            ("NOTIFY=NEVER", r"notify_flags=1\n.*"
             r"recipient: cy@hold\.example\n")):
        tap.like(envelope, "(?s)" + want, "queue file: " + name)


def reported(tap, scene, postfix):
    """What Postfix tells the sender, as he asked for it; nothing of the
    recipient with NOTIFY=NEVER, who comes first."""
    submit(scene, "never", "ENVID=never", "<x@%s> NOTIFY=NEVER" % GONE)
    submit(scene, "done", "ENVID=e+2Bdone",
           "<bo@example.net> NOTIFY=SUCCESS ORCPT=rfc822;Bo+2Bx@b.example")
    submit(scene, "quiet", "ENVID=quiet", "<bo@example.net> NOTIFY=FAILURE")
    for ret in "FULL", "HDRS":
        submit(scene, ret, "RET=%s ENVID=%s" % (ret, ret),
               "<x@%s> NOTIFY=FAILURE" % GONE)
    # two arrive, and three reports
    got = reports(read_mails(postfix, 5))
    tap.equal(sorted(got), ["FULL", "HDRS", "e+done"], "who asked is told")
    rcpt, _ = got["e+done"]
    tap.equal((rcpt["Action"], rcpt["Original-Recipient"]),
              ("delivered", "rfc822;Bo+x@b.example"),
              "the report has ENVID and ORCPT")
    for ret, want in (("FULL", "message/rfc822"),
                      ("HDRS", "text/rfc822-headers")):
        rcpt, returned = got[ret]
        tap.equal((rcpt["Action"], returned), ("failed", want), "RET=" + ret)


def utf8(tap, scene, postfix):
    """Addresses that are not ASCII."""
    submit(scene, "utf8", "SMTPUTF8", "<b\u00f6@ex\u00e4mple.net>")
    tap.like(heard(postfix, "MAIL", "SMTPUTF8"), r" SMTPUTF8\b", "SMTPUTF8")
    wanted = "\nDelivered-To: b\u00f6@ex\u00e4mple.net\n".encode()
    tap.ok(any(wanted in data for data in read_mails(postfix, 6)),
           "it is delivered to the address as it was written")


def test(tap):
    """One Postfix for all."""
    if not harness.is_root():
        taplib.skip_all("Postfix runs as root only")
    with Scene(tap, smarthost=False) as scene:
        # The server behind Postfix, where nobody is known.
        last = scene.new_smarthost(refuse={"rcpt": "550 5.1.1 gone"})
        postfix = Postfix(scene, scene.good, harness.free_port(), *SETTINGS,
                          "transport_maps=inline:{%s=smtp:[127.0.0.1]:%d}"
                          % (GONE, last.port))
        try:
            scene.route_to(postfix.port)
            scene.start()
            queued(tap, scene, postfix)
            reported(tap, scene, postfix)
            utf8(tap, scene, postfix)
        finally:
            postfix.stop()


taplib.run(test)
