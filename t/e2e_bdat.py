#!/usr/bin/python3 -B
"""Messages in chunks (RFC 3030) through the real sockets: what arrives is what
was sent. Both ports offer the same; a priority is clamped by the user's right.
"""

import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib
from scene import BODY, PASSWORD, Scene, message, split_trace

ENVELOPE = (b"MAIL FROM:<ann@play.example> BODY=8BITMIME\r\n"
            b"RCPT TO:<bo@example.net>\r\n")
# More than a session reads at once, with what ends DATA in it.
LARGE = (BODY + b".\r\n..\r\nQUIT\r\n") * 2000


def chunks(data, size):
    """Data as BDAT commands, all in one."""
    out = []
    for at in range(0, len(data), size):
        piece = data[at:at + size]
        last = b" LAST" if at + size >= len(data) else b""
        out.append(b"BDAT %d%s\r\n%s" % (len(piece), last, piece))
    return b"".join(out)


def replies(session, count):
    """The codes of the next replies."""
    return [session.getreply()[0] for _ in range(count)]


def same_offers(tap, scene):
    """EHLO after STARTTLS, and on the other port."""
    with scene.tls_session() as starttls, \
            scene.tls_session(implicit=True) as implicit:
        moment = rb"\d{4}-\d\d-\d\dT[\d:]+Z"
        offers = [re.sub(moment, b"", s.ehlo()[1])
                  for s in (starttls, implicit)]
        tap.equal(offers[0], offers[1], "both ports offer the same")
        wanted = ("pipelining", "size", "8bitmime", "enhancedstatuscodes",
                  "dsn", "chunking", "binarymime", "smtputf8", "deliverby",
                  "limits", "requiretls", "futurerelease", "mt-priority",
                  "auth")
        tap.equal([w for w in wanted if w not in implicit.esmtp_features], [],
                  "all extensions are offered")


def arrives(tap, scene, token, body, size):
    """Pipelined with all commands and QUIT, in chunks of so many bytes."""
    data = message(token, body)
    count = -(-len(data) // size)
    session = scene.tls_session()
    session.login("ann", PASSWORD)
    session.send(ENVELOPE + chunks(data, size) + b"QUIT\r\n")
    tap.equal(replies(session, count + 3), [250] * (count + 2) + [221],
              "%s: %d chunks, and QUIT" % (token, count))
    session.sock.close()
    tap.equal(split_trace(scene.delivered(token)["data"])[1], data,
              token + ": arrives as it was sent")


def refused(tap, scene):
    """A message that is too large; the next one is another one."""
    data = message("behind", BODY)
    with scene.tls_session() as session:
        session.login("ann", PASSWORD)
        session.send(ENVELOPE + chunks(LARGE, 1000000) + ENVELOPE +
                     chunks(data, len(data)))
        count = -(-len(LARGE) // 1000000)
        codes = replies(session, count + 5)
    tap.equal((codes[:2], codes[count + 1], codes[count + 2:]),
              ([250, 250], 552, [250, 250, 250]),
              "a message beyond the limit is taken and refused")
    tap.equal(split_trace(scene.delivered("behind")["data"])[1], data,
              "the message behind it arrives")


def priorities(tap, scene):
    """What the user may, the configuration aside."""
    for right, asked, wanted in (("default", 1, "2.3.6 0 is the priority"),
                                 ("3", 5, "2.3.6 3 is the priority"),
                                 ("3", 3, "2.1.0 "), ("9", 9, "2.1.0 ")):
        scene.submitctl("user", "set", "ann", "--max-priority", right)
        with scene.tls_session() as session:
            session.login("ann", PASSWORD)
            code, text = session.docmd(
                "MAIL", "FROM:<ann@play.example> MT-PRIORITY=%d" % asked)
        tap.ok(code == 250 and text.decode().startswith(wanted),
               "priority %d, the user may give %s" % (asked, right))


def test(tap):
    """All of it."""
    with Scene(tap) as scene:
        scene.start()
        same_offers(tap, scene)
        arrives(tap, scene, "one", BODY, 1 << 20)
        arrives(tap, scene, "bytes", BODY[:300].rstrip() + b"\r\n", 1)
        arrives(tap, scene, "large", LARGE, 1 << 20)
        arrives(tap, scene, "pieces", LARGE, 7919)
        priorities(tap, scene)
        scene.stop()
        scene.configure(max_message_size="1M")
        scene.start()
        refused(tap, scene)


taplib.run(test)
