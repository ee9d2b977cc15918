#!/usr/bin/python3 -B
"""A little of everything under valgrind: no memory is misused or lost. The
whole suite is run under it by contrib/check-memory."""

import contextlib
import os
import smtplib
import sys

os.environ["SUBMITD_VALGRIND"] = "1"  # for the modules below
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from scene import BODY, PASSWORD, Scene, message
from scram import Scram

FROM, TO = "ann@play.example", "bo@example.net"
LARGE = BODY * 100  # goes through a file


def can_run():
    """With sanitizers it says nothing."""
    if harness.is_sanitized():
        taplib.skip_all("this build has sanitizers in it")


def logins(tap, scene):
    """Every mechanism, right and wrong, on both ports."""
    for mechanism in ("PLAIN", "LOGIN", "SCRAM-SHA-256"):
        for password in (PASSWORD, "wrong"):
            with scene.tls_session(implicit=True) as session:
                code = login(session, mechanism, password)
                tap.equal(code, 235 if password == PASSWORD else 535,
                          "%s with the password \"%s\"" % (mechanism, password))
    with scene.tls_session(scene.laptop) as session:
        tap.equal(session.docmd("AUTH", "EXTERNAL =")[0], 235, "EXTERNAL")


def login(session, mechanism, password):
    """The code of a login."""
    session.user, session.password = "ann", password
    method = {"PLAIN": session.auth_plain, "LOGIN": session.auth_login,
              "SCRAM-SHA-256": Scram("ann", password)}[mechanism]
    try:
        return session.auth(mechanism, method)[0]
    except smtplib.SMTPAuthenticationError as e:
        return e.smtp_code


def mails(tap, scene):
    """Small and large, with a certificate, with refusals in between."""
    for device, body in ((None, BODY), (scene.laptop, LARGE)):
        with scene.tls_session(device) as session:
            if device is None:
                session.login("ann", PASSWORD)
            session.docmd("NONSENSE")
            session.docmd("MAIL", "FROM:<other@play.example>")
            session.docmd("MAIL", "FROM:<bad")
            session.rset()
            token = "large" if body is LARGE else "small"
            session.sendmail(FROM, [TO, "carl@example.net"],
                             message(token, body))
        scene.delivered(token)
        tap.ok(True, "a %s message is delivered" % token)
    with scene.tls_session() as session:
        session.login("ann", PASSWORD)
        session.mail(FROM)
        session.rcpt(TO)
        session.docmd("DATA")
        session.sock.sendall(b"Subject: half")
        session.close()
    with contextlib.suppress(OSError), scene.session() as session:
        session.docmd("STARTTLS")
        session.sock.sendall(b"no handshake")
        session.sock.recv(100)
        session.close()


def bounce(tap, scene):
    """A recipient that the smarthost refuses, and one that must wait."""
    scene.smarthost.set(refuse={"rcpt": "550 5.1.1 no such user"})
    scene.send(message("refused"), password=PASSWORD)
    scene.log.wait(ev="bounce")
    scene.smarthost.set(refuse={})
    scene.smarthost.wait(lambda host: any(
        b"550" in m["data"] for m in host.messages), 30)
    tap.ok(True, "a refused one is bounced")
    scene.smarthost.set(refuse={"mail": "451 4.3.0 not now"})
    scene.send(message("later"), password=PASSWORD)
    scene.log.wait(ev="deferred")
    for command in (("queue", "list"), ("queue", "retry", "--all"),
                    ("queue", "hold", "--all"), ("queue", "release", "--all"),
                    ("status",), ("log",), ("explain", "user", "ann"),
                    ("queue", "stats")):
        scene.submitctl(*command, check=False)
    scene.smarthost.set(refuse={})
    scene.delivered("later")
    tap.ok(True, "a deferred one is delivered later")


def renew(tap, scene):
    """SIGHUP, new certificates, a role that dies."""
    for act, event in ((scene.reload, "reload"),
                       (lambda: scene.install_certificate(
                           scene.ca.issue("new", "mail.play.example",
                                          "DNS:localhost,IP:127.0.0.1")),
                        "renewal")):
        mark = scene.log.mark()
        act()
        scene.log.wait(mark, ev=event, result="ok")
    scene.kill("queue")
    mark = scene.log.mark()
    scene.log.wait(mark, ev="spool")
    scene.send(message("afterwards"), password=PASSWORD)
    scene.delivered("afterwards")
    tap.ok(True, "mail is taken after reload, renewal and a death")


def test(tap):
    """All with one server."""
    with Scene(tap, fronts=1, auth_workers=1) as scene:
        scene.start()
        for part in (logins, mails, bounce, renew):
            part(tap, scene)
        tap.equal(scene.stop(), 0, "the server ends with status 0")
        tap.ok(len(os.listdir(scene.path("valgrind"))) > 8,
               "every process was watched")


can_run()
taplib.run(test)
