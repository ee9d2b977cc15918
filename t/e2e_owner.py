#!/usr/bin/python3 -B
"""Whom the header of a message may name: from_header, plus_addressing, what
explain and the history say of it, and what reaches the smarthost."""

import os
import smtplib
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib
from scene import PASSWORD, Scene, split_trace

ANN = "ann@play.example"
BO = "bo@example.net"
BOSS = "boss@play.example"
REST = ("Date: Fri, 13 Nov 2026 12:00:00 +0100\r\n"
        "Message-ID: <%s@laptop.play.example>\r\n"
        "Subject: %s\r\n\r\nhello\r\n")

# name, header, the reply's code and a part of its text; ann owns ANN and all
# of own.example
REQUIRE = (
    ("own", "From: Ann <ann@play.example>\r\n", 250, ""),
    ("case", "From: ANN@PLAY.example\r\n", 250, ""),
    ("domain", "From: anything@own.example\r\n", 250, ""),
    ("two-own", "From: ann@play.example, x@own.example\r\n"
     "Sender: ann@play.example\r\n", 250, ""),
    ("comment", "From: ann@play.example (at home)\r\n", 250, ""),
    ("group", "From: us: ann@play.example, x@own.example;\r\n", 250, ""),
    ("missing", "To: x@example.net\r\n", 250, ""),
    ("other", "From: The Boss <boss@play.example>\r\n", 550,
     "<boss@play.example> in the From field; your account may use "
     "<ann@play.example>"),
    ("subdomain", "From: x@sub.own.example\r\n", 550, "x@sub.own.example"),
    ("second", "From: ann@play.example, boss@play.example\r\n", 550, BOSS),
    ("in-group", "From: us: ann@play.example, boss@play.example;\r\n", 550,
     BOSS),
    ("two-fields", "From: ann@play.example\r\nFrom: boss@play.example\r\n",
     550, "From field"),
    ("blank", "From : boss@play.example\r\n", 550, BOSS),
    ("folded", "From:\r\n\tThe Boss\r\n <boss@play.example>\r\n", 550, BOSS),
    ("name", 'From: "boss@play.example" <ann@play.example>\r\n', 550, BOSS),
    ("name-comment", "From: ann@play.example (boss@play.example)\r\n", 550,
     BOSS),
    ("encoded-q", "From: =?utf-8?q?boss=40play=2Eexample?= "
     "<ann@play.example>\r\n", 550, BOSS),
    ("encoded-b", "From: =?utf-8?b?Ym9zc0BwbGF5LmV4YW1wbGU=?= "
     "<ann@play.example>\r\n", 550, BOSS),
    ("brackets", "From: <boss@play.example> <ann@play.example>\r\n", 550, ""),
    ("route", "From: <@ann@play.example:boss@play.example>\r\n", 550, ""),
    ("no-domain", "From: boss\r\n", 550, "From field"),
    ("empty", "From:\r\n", 550, "From field"),
    ("control", "From: \"a\x01\" <ann@play.example>\r\n", 550, "From field"),
    ("sender", "From: ann@play.example\r\nSender: boss@play.example\r\n", 550,
     "Sender field"),
    ("resent", "From: ann@play.example\r\nResent-From: boss@play.example\r\n",
     550, "Resent-From field"),
    ("plus", "From: ann+lists@play.example\r\n", 550, "ann+lists"),
    ("8-bit", "From: Gr\u00fc\u00dfe <ann@play.example>\r\n", 250, ""),
    ("many", "From: %s\r\n" % ",\r\n ".join(
        "a%d@own.example" % i for i in range(500)), 550, "From field"),
)


def send(scene, token, header, sender=ANN, rest=REST):
    """The reply to a message with this header: (code, text)."""
    data = (header + rest % (token, token) if rest else header).encode()
    with scene.tls_session() as session:
        session.login("ann", PASSWORD)
        session.mail(sender)
        session.rcpt(BO)
        try:
            code, text = session.data(data)
        except smtplib.SMTPDataError as e:
            code, text = e.args
        return code, text.decode()


def received(scene, token):
    """The header that the smarthost got, without our Received."""
    return split_trace(scene.delivered(token)["data"])[1].decode().split(
        "\r\n\r\n")[0].split("\r\n")


def require(tap, scene):
    """The table, and what became of what was accepted."""
    for name, header, code, text in REQUIRE:
        got = send(scene, name, header)
        tap.ok(got[0] == code and text in got[1],
               "require: %s: %s %s" % (name, got[0], got[1]))
    tap.ok("From: Ann <ann@play.example>" in received(scene, "own"),
           "what is own arrives as it was")
    tap.ok("From: ann@play.example" in received(scene, "missing"),
           "a message without From gets one")
    tap.equal(send(scene, "null", "To: x@example.net\r\n", sender="")[0], 550,
              "no author and no sender: refused")
    tap.equal(send(scene, "receipt", "From: ann@play.example\r\n",
                   sender="")[0], 250, "a receipt of her own: accepted")


def told(tap, scene):
    """The log and the history say whose address it was."""
    mark = scene.log.mark()
    send(scene, "told", "From: boss@play.example\r\n")
    line = scene.log.wait(mark, ev="decision", phase="headers")
    tap.equal((line["result"], line["why"], line["author"]),
              ("refuse", "author", BOSS), "the log names the address")
    last = scene.submitctl_json("log", "--user", "ann", "--refused")[-1]
    tap.equal((last["phase"], last["code"], last["why"]),
              ("headers", 550, "author"), "submitctl log, too")


def sizes(tap, scene):
    """Headers beyond the usual."""
    big = "From: boss@play.example\r\n" + "X-Fill: %s\r\n" % ("x" * 900) * 100
    tap.equal(send(scene, "big", big)[0], 550, "90 KB of header: read whole")
    huge = "From: ann@play.example\r\n" + ("X-Fill: %s\r\n" % ("x" * 900)
                                           ) * 1150
    tap.equal(send(scene, "huge", huge)[0], 554, "1 MB of header: refused")
    one = "From: ann@play.example\r\nX: " + "x\r\n " * 250000 + "x\r\n"
    tap.equal(send(scene, "one", one)[0], 554, "1 MB of one field: refused")
    body = "From: ann@play.example\r\nnot a field\r\nFrom: boss@play.example" \
        "\r\n"
    tap.equal(send(scene, "broken", body)[0], 554,
              "a body right behind the fields: refused")
    tap.equal(send(scene, "text", "hello\r\nFrom: boss@play.example\r\n",
                   rest=None)[0], 250, "only a text: it is body")
    large = "From: boss@play.example\r\n\r\n" + "x" * 78 + "\r\n"
    code, text = send(scene, "large", large + ("y" * 78 + "\r\n") * 20000,
                      rest=None)
    tap.ok(code == 550 and BOSS in text, "1.6 MB of body: refused at its end")


def plus(tap, scene):
    """By option, and only what has her address before the plus sign."""
    scene.configure(plus_addressing=True)
    restart(scene)
    for address, code in (("ann+lists@play.example", 250),
                          ("ann+a+b@play.example", 250),
                          ("boss+ann@play.example", 550),
                          ("+ann@play.example", 550),
                          ('"ann+x"@play.example', 250)):
        tap.equal(send(scene, "p-" + address[:4].strip('"+'),
                       "From: %s\r\n" % address)[0], code,
                  "plus_addressing: %s: %d" % (address, code))
    tap.equal(send(scene, "p-env", "From: ann@play.example\r\n",
                   sender="ann+bounces@play.example")[0], 250,
              "plus_addressing: in the envelope")


def sender(tap, scene):
    """A Sender is put in, or replaced, or was good."""
    scene.configure(from_header="sender")
    restart(scene)
    tap.equal(send(scene, "s-new", "From: boss@play.example\r\n")[0], 250,
              "sender: somebody else in From")
    got = received(scene, "s-new")
    tap.equal((got[0], got[-1]), ("From: boss@play.example",
                                  "Sender: ann@play.example"),
              "sender: the Sender is added")
    send(scene, "s-bad", "Sender: eve@example.net\r\n"
         "From: boss@play.example\r\nSender: x@example.net\r\n")
    got = [line for line in received(scene, "s-bad")
           if line.startswith("Sender")]
    tap.equal(got, ["Sender: ann@play.example"], "sender: it is replaced")
    send(scene, "s-good", "Sender: x@own.example\r\n"
         "From: boss@play.example\r\n")
    got = received(scene, "s-good")
    tap.equal(got[:2], ["Sender: x@own.example", "From: boss@play.example"],
              "sender: her own stays where it is")
    big = "From: boss@play.example\r\n" + ("X-Fill: %s\r\n" % ("x" * 900)
                                           ) * 100
    send(scene, "s-big", big)
    tap.equal(received(scene, "s-big")[-1], "Sender: ann@play.example",
              "sender: behind 90 KB of header")
    send(scene, "s-null", "From: boss@play.example\r\n", sender="")
    tap.equal(received(scene, "s-null")[-1], "Sender: ann@play.example",
              "sender: without one in the envelope, her first address")


def off(tap, scene):
    """Nothing is asked."""
    scene.configure(from_header="off")
    restart(scene)
    tap.equal(send(scene, "off", "From: boss@play.example\r\n")[0], 250,
              "off: anybody")
    tap.ok(not any(line.startswith("Sender")
                   for line in received(scene, "off")), "off: no Sender")


def explain(tap, scene):
    """The same by hand."""
    def ask(value, *more):
        done = scene.submitctl_json("explain", "--user", "ann", "--from", ANN,
                                    "--header-from", value, *more)[-1]
        return (done["phase"], done["decision"], done["code"], done["why"])
    tap.equal(ask("Ann <ann@play.example>"),
              ("headers", "allow", None, "ok"), "explain: her own")
    tap.equal(ask("boss@play.example"), ("headers", "refuse", 550, "author"),
              "explain: somebody else")
    tap.equal(ask("boss", "--phase", "headers"),
              ("headers", "refuse", 550, "author_field"),
              "explain: no address at all")
    done = scene.submitctl_json("explain", "--user", "ann", "--from", ANN,
                                "--header-from", "boss@play.example")[-1]
    tap.ok("address add ann boss@play.example" in done["advice"],
           "explain: the advice: %s" % done["advice"])
    done = scene.submitctl("explain", "--phase", "headers", "--user", "ann",
                           check=False)
    tap.ok(done.returncode == 64 and "--header-from" in done.stderr,
           "explain: the phase needs a value")


def restart(scene):
    scene.stop()
    scene.start()


def test(tap):
    with Scene(tap) as scene:
        scene.submitctl("address", "add", "ann", "@own.example")
        scene.start()
        require(tap, scene)
        told(tap, scene)
        sizes(tap, scene)
        explain(tap, scene)
        plus(tap, scene)
        sender(tap, scene)
        off(tap, scene)


taplib.run(test)
