#!/usr/bin/python3 -B
"""A smarthost that cannot prove who it is gets nothing: the mail waits, the
log says why, and not a byte of it leaves in clear. Once the smarthost is
mended the mail goes out."""

import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib
from certs import CA
from scene import PASSWORD, Scene, message, split_trace

# The reason that counts: ::1 may just not be listened on.
REASON = {"ev": "smarthost", "error": re.compile("^(?!Connection refused)")}
IN_CLEAR = r"\A((EHLO|HELO) [!-~]+\r\n|STARTTLS\r\n|QUIT\r\n)*\Z"


def bad_smarthosts(scene):
    """name, certificate, options, what the log has to say."""
    other = CA(scene.path("other-ca"), "Another CA")
    right = "DNS:localhost"
    return (
        ("wrong name", scene.ca.issue("elsewhere", "localhost",
                                      "DNS:elsewhere.example"),
         {}, "(?i)hostname mismatch|name"),
        ("expired", scene.ca.issue("old", "localhost", right, days=-1),
         {}, "(?i)expired"),
        ("self-signed", scene.ca.self_signed("selfmade", "localhost", right),
         {}, "(?i)self-signed"),
        ("another CA", other.issue("other", "localhost", right),
         {}, "(?i)issuer|chain|verif"),
        ("no STARTTLS", None, {"starttls": False}, "(?i)STARTTLS"),
        ("STARTTLS refused", None, {"refuse": {"starttls": "454 4.7.0 no"}},
         "(?i)STARTTLS|454"),
        ("injected reply behind STARTTLS", None, {"inject": "250 2.0.0 hi"},
         "(?i)STARTTLS|inject"),
    )


def waits(tap, scene, number, case):
    """One bad smarthost: then the good one in its place."""
    name, pair, options, why = case
    token = "waits-%d" % number
    host = scene.new_smarthost(pair, **options)
    mark = scene.log.mark()
    scene.send(message(token), password=PASSWORD)
    line = scene.log.wait(after=mark, level="warning", **REASON)
    tap.like(line["text"], why, name + ": the log says why")
    tap.ok(host.wait(lambda h: h.connections >= 2),
           name + ": it is tried again")
    check_silence(tap, name, host)
    listed = scene.submitctl("queue", "list").stdout
    tap.like(listed, r"ann@play\.example", name + ": the mail waits")
    mark = scene.log.mark()
    scene.new_smarthost()
    record = scene.delivered(token)
    # not before relay knows may the next smarthost take its place
    scene.log.wait(after=mark, ev="delivered")
    tap.same_bytes(split_trace(record["data"])[1], message(token),
                   name + ": delivered once the smarthost is mended")


def check_silence(tap, name, host):
    """The smarthost heard neither mail nor addresses."""
    with host.cond:
        tap.equal(host.messages, [], name + ": no mail went there")
        heard = b"".join(h[2] for h in host.heard).decode("latin-1")
        raw = b"".join(host.raw.values())
    tap.like(heard, IN_CLEAR, name + ": it heard EHLO and STARTTLS only")
    tap.ok(b"play.example>" not in raw and b"bo@example.net" not in raw
           and b"Subject" not in raw, name + ": no byte of the mail left")


def refusals(tap, scene):
    """One recipient is refused for good: the other gets the mail, the sender
    a bounce."""
    scene.new_smarthost(refuse={"rcpt:gone@example.net":
                                "550 5.1.1 no such user"})
    scene.send(message("split"), password=PASSWORD,
               to=["bo@example.net", "gone@example.net"])
    record = scene.delivered("split")
    tap.equal(record["rcpts"], ["bo@example.net"], "one recipient gets it")
    tap.ok(scene.smarthost.wait(bounces), "the sender gets a bounce")
    bounce = bounces(scene.smarthost)[0]
    tap.equal(bounce["rcpts"], ["ann@play.example"], "to the sender alone")
    text = bounce["data"].decode()
    tap.like(text, r"multipart/report;[^:]*delivery-status",
             "the bounce is a delivery report")
    tap.like(text, r"(?m)^Final-Recipient: rfc822; ?gone@example\.net\r$",
             "it names the recipient")
    tap.like(text, r"(?m)^Status: 5\.1\.1\r$", "its status")
    tap.like(text, r"(?m)^Diagnostic-Code: smtp; ?550 5\.1\.1 no such user",
             "and what the smarthost said")


def bounces(host):
    """Mails from the null sender."""
    return [m for m in host.messages if m["from"] == ""]


def credentials(tap, scene):
    """The smarthost wants a login and a certificate: it gets both, and a
    wrong password means waiting, not failing."""
    with open(scene.path("certs", "smarthost-password"), "w",
              encoding="ascii") as f:
        os.chmod(f.name, 0o600)
        f.write("to the smarthost\n")
    mark = scene.log.mark()
    scene.new_smarthost(auth="relay:something else",
                        client_ca=scene.ca.cert, require_client_cert=True)
    scene.configure(smarthost={"user": "relay", "client_cert": True,
                               "password_file": "smarthost-password"})
    scene.reload()
    scene.log.wait(after=mark, ev="reload", result="ok")
    mark = scene.log.mark()
    scene.send(message("login"), password=PASSWORD)
    line = scene.log.wait(after=mark, level="warning", **REASON)
    tap.like(line["text"], "535", "wrong password: the log says 535")
    tap.unlike("\n".join(scene.log.tail(10000)), "to the smarthost",
               "wrong password: the log does not have it")
    scene.new_smarthost(auth="relay:to the smarthost",
                        client_ca=scene.ca.cert, require_client_cert=True)
    record = scene.delivered("login")
    tap.equal(record["user"], "relay", "logged in at the smarthost")
    tap.ok(record["client_cert"], "showed a client certificate")
    tap.equal(record["sni"], "localhost", "said whom it wants to speak to")


def implicit(tap, scene):
    """TLS from the first byte."""
    mark = scene.log.mark()
    scene.new_smarthost(implicit=True)
    scene.configure(smarthost={"tls": "implicit", "user": None,
                               "password_file": None, "client_cert": None})
    scene.reload()
    scene.log.wait(after=mark, ev="reload", result="ok")
    scene.send(message("implicit"), password=PASSWORD)
    record = scene.delivered("implicit")
    tap.like(record["tls"], r"TLSv1\.[23]", "implicit TLS: delivered")
    tap.equal(scene.smarthost.clear_bytes(), b"",
              "implicit TLS: not a word in clear")


def reuse(tap, scene):
    """Several messages go over few connections."""
    host = scene.new_smarthost(implicit=True)
    for number in range(10):
        scene.send(message("many-%d" % number), password=PASSWORD)
        scene.delivered("many-%d" % number)
    tap.ok(host.connections < 10,
           "ten messages need less than ten connections",
           "connections: %d" % host.connections)


def test(tap):
    """All with one server."""
    with Scene(tap, retry_max="2s") as scene:
        scene.start()
        for number, case in enumerate(bad_smarthosts(scene)):
            waits(tap, scene, number, case)
        refusals(tap, scene)
        credentials(tap, scene)
        implicit(tap, scene)
        reuse(tap, scene)


taplib.run(test)
