#!/usr/bin/python3 -B
"""Who may not send: wrong passwords, unknown certificates, no TLS, senders of
others, and tricks at the edge of TLS. Each gets its own precise reply, and the
smarthost gets nothing."""

import base64
import os
import smtplib
import socket
import ssl
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib
from scene import PASSWORD, Scene, message
from scram import Scram


def b64(text):
    """Base64 as it stands on a line."""
    return base64.b64encode(text.encode()).decode()


def plain(user, password, authzid=""):
    """The argument of AUTH PLAIN."""
    return b64("%s\0%s\0%s" % (authzid, user, password))


def reply(code_and_text):
    """A reply as one text: "535 5.7.8 ...", lines joined by a blank."""
    code, text = code_and_text
    return "%d %s" % (code, text.decode().replace("\n", " "))


# command, beginning of the reply
BEFORE_TLS = (
    ("NOOP", "250 2.0.0"),
    ("HELP", "214 2.0.0"),
    ("VRFY ann", "530 5.7.0"),
    ("MAIL FROM:<ann@play.example>", "530 5.7.0"),
    ("RCPT TO:<bo@example.net>", "530 5.7.0"),
    ("DATA", "530 5.7.0"),
    ("AUTH PLAIN " + plain("ann", PASSWORD), "530 5.7.0"),
    ("AUTH LOGIN", "530 5.7.0"),
    ("STARTTLS now", "501 5.5.4"),
    ("ETRN play.example", "530 5.7.0"),
    ("FROBNICATE", "500 5.5.1"),
    ("RSET", "250 2.0.0"),
    ("QUIT", "221 2.0.0"),
)


def before_tls(tap, scene):
    """In clear there is nothing but the way to TLS."""
    with scene.session() as session:
        session.ehlo()
        tap.ok(session.has_extn("starttls"), "EHLO in clear offers STARTTLS")
        tap.ok(not session.has_extn("auth"), "EHLO in clear offers no AUTH")
        for command, want in BEFORE_TLS:
            tap.like(reply(session.docmd(command)), "^" + want,
                     "before TLS: %s: %s" % (command.split()[0], want))


# command, beginning of the reply; one session after TLS, without a login
AFTER_TLS = (
    ("STARTTLS", "503 5.5.1"),
    ("NOOP", "250 2.0.0"),
    ("NOOP with words", "250 2.0.0"),
    ("VRFY ann", "252 2.5.2"),
    ("HELP", "214 2.0.0"),
    ("ETRN play.example", "502 5.5.1"),
    ("MAIL FROM:<ann@play.example>", "530 5.7.0"),
    ("RCPT TO:<bo@example.net>", "503 5.5.1"),
    ("DATA", "503 5.5.1"),
    ("AUTH CRAM-MD5", "504 5.5.4"),
    ("AUTH EXTERNAL =", "(504|535) 5\\."),
    ("AUTH PLAIN ???", "501 5.5.2"),
    ("EHLO", "501 "),
    ("EHLO laptop", "250 "),
)


def after_tls(tap, scene):
    """Under TLS, nobody is anybody yet."""
    with scene.tls_session() as session:
        tap.ok(not session.has_extn("starttls"),
               "EHLO under TLS offers no STARTTLS")
        tap.equal(sorted(session.esmtp_features["auth"].split()),
                  ["LOGIN", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"],
                  "without a certificate EXTERNAL is not offered")
        for command, want in AFTER_TLS:
            tap.like(reply(session.docmd(command)), "^" + want,
                     "under TLS: %s: %s" % (command, want))


def login_fails(tap, scene, name, command, answers=(), want="535 5.7.8",
                device=None):
    """One AUTH that must not succeed, and MAIL behind it."""
    with scene.tls_session(device) as session:
        got = session.docmd(command)
        for answer in answers:
            got = session.docmd(answer)
        tap.like(reply(got), "^" + want, "%s: %s" % (name, want))
        tap.like(reply(session.mail("ann@play.example")), "^530 5.7.0",
                 name + ": MAIL is refused")


def wrong_passwords(tap, scene):
    """The reply is the same for a wrong password and an unknown user."""
    mark = scene.log.mark()
    login_fails(tap, scene, "PLAIN, wrong password",
                "AUTH PLAIN " + plain("ann", "pa55w0rd"))
    event = scene.log.wait(after=mark, ev="auth", user="ann")
    tap.ok(event.get("result") != "ok" and "pa55w0rd" not in event["text"],
           "the failure is logged, the password is not", event["text"])
    tap.like(event["text"], r"127\.0\.0\.1", "the log has the address")
    login_fails(tap, scene, "PLAIN, unknown user",
                "AUTH PLAIN " + plain("nobody", PASSWORD))
    login_fails(tap, scene, "PLAIN, empty password",
                "AUTH PLAIN " + plain("ann", ""), want="(535 5.7.8|501 )")
    login_fails(tap, scene, "PLAIN, acting for somebody else",
                "AUTH PLAIN " + plain("ann", PASSWORD, "bob"))
    login_fails(tap, scene, "LOGIN, wrong password", "AUTH LOGIN",
                (b64("ann"), b64("wrong")))
    login_fails(tap, scene, "cancelled", "AUTH LOGIN", ("*",), "501 5.7.0")
    for name, user, password in (("wrong password", "ann", "wrong"),
                                 ("unknown user", "nobody", PASSWORD)):
        with scene.tls_session() as session:
            try:
                got = session.auth("SCRAM-SHA-256", Scram(user, password))
            except smtplib.SMTPAuthenticationError as e:
                got = (e.smtp_code, e.smtp_error)
            tap.like(reply(got), "^535 5.7.8", "SCRAM, %s: 535 5.7.8" % name)


def after_cancel(tap, scene):
    """A conversation that was cut short leaves nothing for the next one."""
    with scene.tls_session() as session:
        scram = Scram("ann", PASSWORD)
        code, text = session.docmd("AUTH", "SCRAM-SHA-256 " + b64(scram()))
        code, text = session.docmd(b64(scram(base64.b64decode(text))))
        tap.equal(code, 334, "SCRAM: the server proves itself by a challenge")
        tap.like(reply(session.docmd("*")), "^501 5.7.0",
                 "SCRAM cancelled at its last step: 501")
        tap.like(reply(session.docmd("AUTH PLAIN " + plain("ann", "junk"))),
                 "^535 5.7.8", "a wrong password behind it: 535")
        tap.like(reply(session.mail("ann@play.example")), "^530 5.7.0",
                 "and MAIL is refused")


def certificates(tap, scene):
    """A certificate that stands for nobody is as good as none."""
    foreign = scene.ca.self_signed("foreign", "stranger")
    unmapped = scene.add_device("ann", "unmapped", mapped=False)
    expired = scene.ca.issue("expired", "expired", days=-1)
    scene.submitctl("cert", "add", "ann", expired.sha256())
    for name, device in (("self-signed and unknown", foreign),
                         ("from our CA and unknown", unmapped),
                         ("known and expired", expired)):
        with scene.tls_session(device) as session:
            tap.ok("EXTERNAL" not in session.esmtp_features["auth"],
                   "certificate %s: EXTERNAL is not offered" % name)
            tap.like(reply(session.mail("ann@play.example")), "^530 5.7.0",
                     "certificate %s: MAIL: 530" % name)
        login_fails(tap, scene, "certificate %s: EXTERNAL" % name,
                    "AUTH EXTERNAL =", want="(504|535) 5", device=device)
        with scene.tls_session(device) as session:
            session.login("ann", PASSWORD)
            tap.like(reply(session.mail("ann@play.example")), "^250",
                     "certificate %s: a password still works" % name)
    login_fails_external_other(tap, scene)


def login_fails_external_other(tap, scene):
    """Ann's certificate does not make her Bob."""
    with scene.tls_session(scene.laptop) as session:
        tap.like(reply(session.docmd("AUTH EXTERNAL " + b64("bob"))),
                 "^535 5.7.8", "EXTERNAL as somebody else: 535 5.7.8")


# name, sender, recipient, stage that refuses, beginning of the reply
ENVELOPES = (
    ("address of another user", "bob@play.example", "bo@example.net",
     "550 5.7.1"),
    ("address of nobody", "ceo@bank.example", "bo@example.net", "550 5.7.1"),
    ("subdomain", "ann@sub.play.example", "bo@example.net", "550 5.7.1"),
    ("no domain", "ann", "bo@example.net", "5[05][014] 5"),
    ("recipient without domain", "ann@play.example", "bo", "554 5.1.2"),
    ("recipient not an address", "ann@play.example", "a@b@c", "501 5.1.3"),
)


def senders(tap, scene):
    """One sends as oneself only."""
    scene.add_user("bob", "another password")
    for name, sender, recipient, want in ENVELOPES:
        with scene.tls_session() as session:
            session.login("ann", PASSWORD)
            session.putcmd("MAIL FROM:<%s>" % sender)
            got = session.getreply()
            if got[0] == 250:
                session.putcmd("RCPT TO:<%s>" % recipient)
                got = session.getreply()
            tap.like(reply(got), "^" + want, "%s: %s" % (name, want))
            session.putcmd("DATA")
            tap.like(reply(session.getreply()), "^5(03|54) 5.5.1",
                     name + ": DATA is refused")


def injection(tap, scene):
    """Bytes behind STARTTLS in clear kill the session (RFC 3207, and the
    attack on those who kept them)."""
    with socket.create_connection(("127.0.0.1", scene.port), 30) as raw:
        stream = raw.makefile("rb")
        stream.readline()
        raw.sendall(b"EHLO laptop\r\n")
        while not stream.readline().startswith(b"250 "):
            continue
        raw.sendall(b"STARTTLS\r\nMAIL FROM:<ann@play.example>\r\n")
        tap.like(stream.readline().decode(), r"^554 5\.5\.1",
                 "STARTTLS with a command behind it: 554 5.5.1")
        tap.equal(stream.read(), b"", "and the connection is closed")


def forgetting(tap, scene):
    """What was said before TLS is not known after it."""
    with scene.session() as session:
        session.ehlo("first-name")
        session.starttls(context=scene.tls_context(scene.laptop))
        tap.like(reply(session.docmd("MAIL FROM:<ann@play.example>")),
                 "^503 5.5.1", "after STARTTLS a new EHLO is needed")


def old_tls(tap, scene):
    """TLS below 1.2 is refused, 1.2 is not."""
    for version, fails in ((ssl.TLSVersion.TLSv1_1, True),
                           (ssl.TLSVersion.TLSv1_2, False)):
        context = scene.tls_context()
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = version
        try:
            with scene.session() as session:
                session.starttls(context=context)
                failed = False
        except (ssl.SSLError, OSError, smtplib.SMTPException):
            failed = True
        tap.equal(failed, fails, "%s is %s" % (
            version.name, "refused" if fails else "taken"))


def smuggling(tap, scene):
    """Nothing but CR LF ends a line: no second message can hide in one."""
    for name, bad in (("bare LF", b"a\n.\nb"), ("bare CR", b"a\r.\rb"),
                      ("NUL", b"a\0b")):
        with scene.tls_session(scene.laptop) as session:
            session.mail("ann@play.example")
            session.rcpt("bo@example.net")
            session.docmd("DATA")
            session.send(message("smuggled", b"") + bad + b"\r\n.\r\n")
            tap.like(reply(session.getreply()), "^550 5.5.2",
                     name + " in a message: 550 5.5.2")
            tap.like(reply(session.docmd("NOOP")), "^250 2.0.0",
                     name + ": the end of the data was found")


def test(tap):
    """All with one server."""
    with Scene(tap) as scene:
        scene.start()
        for part in (before_tls, after_tls, wrong_passwords, after_cancel,
                     certificates, senders, injection, forgetting, old_tls,
                     smuggling):
            part(tap, scene)
        scene.send(message("last"), password=PASSWORD)
        scene.delivered("last")
        tap.equal(len(scene.smarthost.messages), 1,
                  "the smarthost got the one message that was allowed")


taplib.run(test)
