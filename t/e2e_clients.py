#!/usr/bin/python3 -B
"""Real mail programs submit, in every way of logging in that they have, and
the smarthost gets the very bytes they sent."""

import base64
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib
from scene import PASSWORD, Scene, message, split_trace
from scram import Scram


def run(*command, given=b""):
    """A client program; its output if it succeeds."""
    done = subprocess.run(command, input=given, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60, check=False)
    if done.returncode != 0:
        raise RuntimeError("%s: exit %d: %s" % (
            command[0], done.returncode, done.stdout.decode("utf-8",
                                                            "replace")))
    return done.stdout.decode("utf-8", "replace")


class Clients:
    """The programs, all with the same parameters: token, mechanism, whether
    to show the certificate, whether TLS is there from the start."""

    def __init__(self, scene):
        self.scene = scene

    def port(self, implicit):
        """Where to go."""
        return self.scene.tls_port if implicit else self.scene.port

    def msmtp(self, token, mechanism, device, implicit):
        """msmtp reads lines that end with LF."""
        command = ["msmtp", "-C", "/dev/null", "--host=127.0.0.1",
                   "--port=%d" % self.port(implicit), "--tls=on",
                   "--tls-starttls=" + ("off" if implicit else "on"),
                   "--tls-trust-file=" + self.scene.ca.cert,
                   "--from=ann@play.example"]
        if mechanism:
            command += ["--user=ann", "--auth=" + mechanism.lower(),
                        "--passwordeval=cat " + self.scene.path("password")]
        if device:
            command += ["--tls-cert-file=" + device.cert,
                        "--tls-key-file=" + device.key]
        run(*command, "bo@example.net",
            given=message(token).replace(b"\r\n", b"\n"))

    def swaks(self, token, mechanism, device, implicit):
        """swaks, too; it takes a file and ends the last line itself."""
        file = self.scene.path("swaks.eml")
        with open(file, "wb") as f:
            f.write(message(token).replace(b"\r\n", b"\n")[:-1])
        command = ["swaks", "--server", "127.0.0.1", "--port",
                   str(self.port(implicit)), "--from", "ann@play.example",
                   "--to", "bo@example.net", "--data", "@" + file,
                   "--tls-on-connect" if implicit else "--tls",
                   "--tls-verify", "--tls-ca-path", self.scene.ca.cert]
        if mechanism:
            command += ["--auth", mechanism, "--auth-user", "ann",
                        "--auth-password", PASSWORD]
        if device:
            command += ["--tls-cert", device.cert, "--tls-key", device.key]
        run(*command)

    def curl(self, token, mechanism, device, implicit):
        """curl sends the file as it is."""
        command = ["curl", "-sS", "--cacert", self.scene.ca.cert,
                   "--mail-from", "ann@play.example",
                   "--mail-rcpt", "bo@example.net", "--upload-file", "-"]
        if mechanism:
            command += ["--login-options", "AUTH=" + mechanism, "--user",
                        "ann:" + ("" if mechanism == "EXTERNAL" else PASSWORD)]
        if device:
            command += ["--cert", device.cert, "--key", device.key]
        if implicit:
            command += ["smtps://127.0.0.1:%d/laptop" % self.port(True)]
        else:
            command += ["--ssl-reqd",
                        "smtp://127.0.0.1:%d/laptop" % self.port(False)]
        run(*command, given=message(token))

    def smtplib(self, token, mechanism, device, implicit):
        """Python; SCRAM is ours, and must see the server prove itself."""
        with self.scene.tls_session(device, implicit) as session:
            session.user, session.password = "ann", PASSWORD
            if mechanism == "PLAIN":
                session.auth("PLAIN", session.auth_plain)
            elif mechanism == "LOGIN":
                session.auth("LOGIN", session.auth_login)
            elif mechanism == "SCRAM-SHA-256":
                scram = Scram("ann", PASSWORD)
                session.auth(mechanism, scram)
                if not scram.verified:
                    raise RuntimeError("the server did not prove itself")
            session.sendmail("ann@play.example", "bo@example.net",
                             message(token), ["BODY=8BITMIME"])


# program, mechanism ("" for none), with certificate, TLS from the start
WAYS = (
    ("msmtp", "PLAIN", False, False),
    ("msmtp", "LOGIN", False, False),
    ("msmtp", "SCRAM-SHA-256", False, False),
    ("msmtp", "SCRAM-SHA-256", False, True),
    ("msmtp", "EXTERNAL", True, False),
    ("msmtp", "", True, False),
    ("swaks", "PLAIN", False, False),
    ("swaks", "LOGIN", False, True),
    ("swaks", "", True, False),
    ("curl", "PLAIN", False, False),
    ("curl", "LOGIN", False, True),
    ("curl", "EXTERNAL", True, False),
    ("curl", "", True, True),
    ("smtplib", "PLAIN", False, False),
    ("smtplib", "LOGIN", False, True),
    ("smtplib", "SCRAM-SHA-256", False, False),
    ("smtplib", "", True, False),
    ("smtplib", "PLAIN", True, True),
)


def check_delivery(tap, scene, token, name):
    """The message arrived with our trace field and is otherwise as sent."""
    record = scene.delivered(token)
    received, rest = split_trace(record["data"])
    tap.same_bytes(rest, message(token), name + ": the same bytes")
    tap.like(received, r"by mail\.play\.example .*\bwith ESMTPSA\b.*;",
             name + ": Received says ESMTPSA")
    tap.equal((record["from"], record["rcpts"]),
              ("ann@play.example", ["bo@example.net"]), name + ": envelope")


def programs(tap, scene):
    """Each program in each way."""
    clients = Clients(scene)
    for number, (program, mechanism, certificate, implicit) in enumerate(WAYS):
        token = "way-%d" % number
        name = "%s, %s%s%s" % (program, mechanism or "no AUTH",
                               ", certificate" if certificate else "",
                               ", implicit TLS" if implicit else "")
        mark = scene.log.mark()
        try:
            getattr(clients, program)(token, mechanism, scene.laptop
                                      if certificate else None, implicit)
        except RuntimeError as e:
            tap.ok(False, name + ": submits", e)
            continue
        check_delivery(tap, scene, token, name)
        if mechanism:
            event = scene.log.wait(after=mark, ev="auth", user="ann")
            tap.equal((event.get("mech"), event.get("result")),
                      (mechanism, "ok"), name + ": logged")


def b64(text):
    """Base64 as it stands on a line."""
    return base64.b64encode(text.encode()).decode()


# name, what follows AUTH EXTERNAL, answer to 334 if one is asked for
EXTERNAL = (
    ("user name as initial response", " " + b64("ann"), None),
    ("address as initial response", " " + b64("ann@play.example"), None),
    ("empty initial response", " =", None),
    ("blank at the end", " ", None),
    ("no initial response, empty answer", "", b64("")),
    ("no initial response, user name", "", b64("ann")),
)


def external(tap, scene):
    """SASL EXTERNAL in every form that clients use."""
    for name, initial, answer in EXTERNAL:
        with scene.tls_session(scene.laptop) as session:
            code, text = session.docmd("AUTH", "EXTERNAL" + initial)
            if answer is not None:
                tap.equal((code, text), (334, b""),
                          "EXTERNAL, %s: asks" % name)
                code, text = session.docmd(answer)
            tap.equal(code, 235, "EXTERNAL, %s: 235" % name)
            tap.equal(session.mail("ann@play.example")[0], 250,
                      "EXTERNAL, %s: may send" % name)


def fixed_up(tap, scene):
    """Date and Message-ID are added, Bcc is dropped, nothing else."""
    text = (b"From: ann@play.example\r\nBcc: secret@example.net,\r\n"
            b" other@example.net\r\nSubject: fixed\r\n\r\nbody\r\n")
    scene.send(text, password=PASSWORD)
    received, rest = split_trace(scene.delivered("fixed")["data"])
    header, _, body = rest.decode().partition("\r\n\r\n")
    tap.like(header, r"(?im)^Date: \w{3}, \d+ \w{3} \d{4} ", "Date is added")
    tap.like(header, r"(?im)^Message-ID: <[^<>@\s]+@[^<>@\s]+>",
             "Message-ID is added")
    tap.unlike(header, r"(?i)bcc|secret|other@", "Bcc is dropped")
    tap.equal(body, "body\r\n", "the body is the same")
    tap.unlike(received, r"127\.0\.0\.1|\bann\b",
               "Received hides the client's address and login")
    tap.like(received, r" tls TLS_\w+", "Received names the cipher")


def hidden_address(tap, scene):
    """Thunderbird says its address in EHLO."""
    with scene.tls_session(scene.laptop) as session:
        session.ehlo("[192.168.7.9]")
        session.sendmail("ann@play.example", "bo@example.net",
                         message("hidden"))
    received, _ = split_trace(scene.delivered("hidden")["data"])
    tap.like(received, r"^Received: from \S+ by mail", "Received has a name")
    tap.unlike(received, r"192\.168", "an address in EHLO is hidden, too")


def test(tap):
    """All of it with one server."""
    with Scene(tap) as scene:
        with open(scene.path("password"), "w", encoding="ascii") as f:
            f.write(PASSWORD + "\n")
        scene.start()
        programs(tap, scene)
        external(tap, scene)
        fixed_up(tap, scene)
        hidden_address(tap, scene)
        tap.equal(scene.smarthost.violations, [],
                  "the smarthost saw no breach of the protocol")
        tap.equal(scene.stop(), 0, "the server ends with status 0")


taplib.run(test)
