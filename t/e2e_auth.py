#!/usr/bin/python3 -B
"""AUTH over the wire: every reply of RFC 4954 in its place, malformed
exchanges, EXTERNAL as clients write it, mechanisms by port and by user,
channel binding, and that failures look and last alike."""

import base64
import concurrent.futures
import os
import smtplib
import socket
import ssl
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib
from scene import PASSWORD, Scene
from scram import Scram

LONG = 12288  # octets of a line of AUTH (RFC 4954 section 4)


def b64(text):
    """Base64 as it stands on a line."""
    if isinstance(text, str):
        text = text.encode()
    return base64.b64encode(text).decode()


def plain(user, password, authzid=""):
    """The response of PLAIN."""
    return b64("%s\0%s\0%s" % (authzid, user, password))


def reply(code_and_text):
    """A reply as one text."""
    code, text = code_and_text
    return "%d %s" % (code, text.decode().replace("\n", " "))


OK, NOT, MALFORMED = "235 2.7.0", "535 5.7.8", "501 5.5.2"
NEXT, CANCELLED = "334 ", "501 5.7.0"
MAIL = "MAIL FROM:<ann@play.example>"
RIGHT = plain("ann", PASSWORD)

# name, (line, beginning of the reply) ...; each in a session of its own
EXCHANGES = (
    # the command
    ("no mechanism", ("AUTH", "501 5.5.4")),
    ("unknown mechanism", ("AUTH CRAM-MD5", "504 5.5.4")),
    ("ANONYMOUS", ("AUTH ANONYMOUS", "504 5.5.4")),
    ("part of a name", ("AUTH SCRAM", "504 5.5.4")),
    ("a name in lower case", ("auth plain " + RIGHT, OK)),
    ("a name that is none", ("AUTH PL@IN", "504 5.5.4")),
    ("a very long name", ("AUTH " + "A" * 300, "504 5.5.4")),
    ("a mechanism not offered here", ("AUTH EXTERNAL =", "504 5.5.4")),
    ("SCRAM-SHA-1 is not the usual", ("AUTH SCRAM-SHA-1", "504 5.5.4")),
    ("a line too long", ("AUTH PLAIN " + "A" * LONG, "500 5.5.6"),
     ("NOOP", "250 ")),
    ("a response too long", ("AUTH PLAIN", NEXT), ("A" * (LONG + 4),
                                                   "500 5.5.6"),
     ("NOOP", "250 ")),
    ("two arguments", ("AUTH PLAIN %s %s" % (RIGHT, RIGHT), MALFORMED)),
    ("the next command after a failure", ("AUTH PLAIN " + plain("ann", "x"),
                                          NOT), ("NOOP", "250 2.0.0"),
     ("AUTH PLAIN " + RIGHT, OK)),
    # base64
    ("not base64", ("AUTH PLAIN !!!!", MALFORMED)),
    ("base64 without its end", ("AUTH PLAIN " + RIGHT.rstrip("=")[:-1],
                                MALFORMED)),
    ("base64 with a blank", ("AUTH PLAIN YQ==  YQ==", MALFORMED)),
    ("base64 behind its end", ("AUTH PLAIN YQ==YQ==", MALFORMED)),
    ("base64 with bits left over", ("AUTH PLAIN YR==", MALFORMED)),
    ("=== is no empty response", ("AUTH PLAIN ===", MALFORMED)),
    ("a challenge answered by no base64", ("AUTH PLAIN", NEXT),
     ("!!!!", MALFORMED), ("NOOP", "250 ")),
    ("a challenge answered by =", ("AUTH PLAIN", NEXT), ("=", MALFORMED)),
    ("a challenge answered by a command", ("AUTH LOGIN", NEXT),
     ("QUIT NOW", MALFORMED)),
    # cancelling
    ("* at once", ("AUTH PLAIN", NEXT), ("*", CANCELLED),
     ("AUTH PLAIN " + RIGHT, OK)),
    ("* at the password", ("AUTH LOGIN", NEXT), (b64("ann"), NEXT),
     ("*", CANCELLED), (MAIL, "530 5.7.0")),
    ("* as initial response", ("AUTH PLAIN *", MALFORMED)),
    # the state
    ("a second AUTH", ("AUTH PLAIN " + RIGHT, OK),
     ("AUTH PLAIN " + RIGHT, "503 5.5.1")),
    ("a second AUTH by another mechanism", ("AUTH PLAIN " + RIGHT, OK),
     ("AUTH LOGIN", "503 5.5.1"), ("NOOP", "250 ")),
    ("AUTH inside a transaction", ("AUTH PLAIN " + RIGHT, OK),
     (MAIL, "250 "), ("AUTH PLAIN " + RIGHT, "503 5.5.1"),
     ("RCPT TO:<bo@example.net>", "250 ")),
    ("AUTH before EHLO", ("RSET", "250 "), ("AUTH PLAIN " + RIGHT, OK)),
    ("MAIL without AUTH", (MAIL, "530 5.7.0")),
    ("EHLO keeps the login", ("AUTH PLAIN " + RIGHT, OK),
     ("EHLO again", "250 "), (MAIL, "250 ")),
    # PLAIN
    ("PLAIN in two lines", ("AUTH PLAIN", NEXT), (RIGHT, OK)),
    ("PLAIN, empty", ("AUTH PLAIN =", MALFORMED)),
    ("PLAIN, empty line", ("AUTH PLAIN", NEXT), ("", MALFORMED)),
    ("PLAIN, no NUL", ("AUTH PLAIN " + b64("ann"), MALFORMED)),
    ("PLAIN, one NUL", ("AUTH PLAIN " + b64("\0ann"), MALFORMED)),
    ("PLAIN, three NULs", ("AUTH PLAIN " + b64("\0ann\0a\0b"), MALFORMED)),
    ("PLAIN, empty name", ("AUTH PLAIN " + plain("", PASSWORD), MALFORMED)),
    ("PLAIN, empty password", ("AUTH PLAIN " + plain("ann", ""), NOT)),
    ("PLAIN, not UTF-8", ("AUTH PLAIN " + b64(b"\0\xff\0x"), NOT)),
    ("PLAIN, blank behind the name", ("AUTH PLAIN " + plain("ann ", PASSWORD),
                                      NOT)),
    ("PLAIN, a name of 300 octets", ("AUTH PLAIN " + plain("a" * 300, "x"),
                                     NOT)),
    ("PLAIN, a password of 4000 octets", ("AUTH PLAIN " + plain(
        "ann", "x" * 4000), NOT)),
    ("PLAIN, as oneself", ("AUTH PLAIN " + plain("ann", PASSWORD, "ann"), OK)),
    ("PLAIN, by address", ("AUTH PLAIN " + plain("ann@play.example",
                                                 PASSWORD), OK)),
    ("PLAIN, as somebody else", ("AUTH PLAIN " + plain("ann", PASSWORD,
                                                       "bob"), NOT)),
    ("PLAIN, unknown user", ("AUTH PLAIN " + plain("nobody", PASSWORD), NOT)),
    ("PLAIN, disabled user", ("AUTH PLAIN " + plain("off", "off's"), NOT)),
    ("PLAIN, suspended user", ("AUTH PLAIN " + plain("held", "held's"), OK),
     ("MAIL FROM:<held@play.example>", "550 5.7.1")),
    # LOGIN
    ("LOGIN", ("AUTH LOGIN", "334 VXNlcm5hbWU6"),
     (b64("ann"), "334 UGFzc3dvcmQ6"), (b64(PASSWORD), OK)),
    ("LOGIN, name at once", ("AUTH LOGIN " + b64("ann"), "334 UGFzc3dvcmQ6"),
     (b64(PASSWORD), OK)),
    ("LOGIN, empty name", ("AUTH LOGIN", NEXT), ("", MALFORMED)),
    ("LOGIN, empty password", ("AUTH LOGIN", NEXT), (b64("ann"), NEXT),
     ("", NOT)),
    ("LOGIN, NUL in the password", ("AUTH LOGIN", NEXT), (b64("ann"), NEXT),
     (b64("a\0b"), MALFORMED)),
    ("LOGIN, unknown user: asked all the same", ("AUTH LOGIN", NEXT),
     (b64("nobody"), "334 UGFzc3dvcmQ6"), (b64("x"), NOT)),
    # SCRAM
    ("SCRAM, empty", ("AUTH SCRAM-SHA-256 =", MALFORMED)),
    ("SCRAM, no GS2 header", ("AUTH SCRAM-SHA-256 " + b64("ann"), MALFORMED)),
    ("SCRAM, mandatory extension", ("AUTH SCRAM-SHA-256 " + b64(
        "n,,m=x,n=ann,r=abcdefgh"), "5(01 5.5.2|35 5.7.8)")),
    ("SCRAM, no nonce", ("AUTH SCRAM-SHA-256 " + b64("n,,n=ann"), MALFORMED)),
    ("SCRAM, as somebody else is judged by the proof", (
        "AUTH SCRAM-SHA-256 " + b64("n,a=bob,n=ann,r=abcdefghijklmnop"), NEXT),
     ("*", CANCELLED)),
    ("SCRAM, junk for a proof", (
        "AUTH SCRAM-SHA-256 " + b64("n,,n=ann,r=abcdefghijklmnop"), NEXT),
     (b64("junk"), "5(01 5.5.2|35 5.7.8)")),
    ("SCRAM, wrong nonce", (
        "AUTH SCRAM-SHA-256 " + b64("n,,n=ann,r=abcdefghijklmnop"), NEXT),
     (b64("c=biws,r=other,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
      "5(01 5.5.2|35 5.7.8)")),
    ("SCRAM, unknown user is asked for a proof", (
        "AUTH SCRAM-SHA-256 " + b64("n,,n=nobody,r=abcdefghijklmnop"), NEXT),
     ("*", CANCELLED)),
    ("-PLUS without binding", ("AUTH SCRAM-SHA-256-PLUS " + b64(
        "n,,n=ann,r=abcdefghijklmnop"), NOT)),
    ("-PLUS was offered, the client did not see it", (
        "AUTH SCRAM-SHA-256 " + b64("y,,n=ann,r=abcdefghijklmnop"), NOT)),
    ("-PLUS with an unknown binding", ("AUTH SCRAM-SHA-256-PLUS " + b64(
        "p=tls-nothing,,n=ann,r=abcdefghijklmnop"), NOT)),
    # a user who may not use the mechanism
    ("534: right password, wrong mechanism", (
        "AUTH PLAIN " + plain("strict", "strict's"), "534 5.7.9")),
    ("534 is only for the right password", (
        "AUTH PLAIN " + plain("strict", "x"), NOT)),
)

# how a client writes EXTERNAL, the reply; with the certificate of ann
EXTERNAL = (
    ("=", ("AUTH EXTERNAL =", OK)),
    ("the user", ("AUTH EXTERNAL " + b64("ann"), OK)),
    ("the user's address", ("AUTH EXTERNAL " + b64("ann@play.example"), OK)),
    ("a blank behind", ("AUTH EXTERNAL ", OK)),
    ("no response, then an empty line", ("AUTH EXTERNAL", NEXT), ("", OK)),
    ("no response, then the user", ("AUTH EXTERNAL", NEXT), (b64("ann"), OK)),
    ("another user", ("AUTH EXTERNAL " + b64("bob"), NOT), (MAIL, "250 ")),
    ("nobody", ("AUTH EXTERNAL " + b64("nobody"), NOT)),
    ("a NUL", ("AUTH EXTERNAL " + b64("ann\0"), "5(01 5.5.2|35 5.7.8)")),
    ("cancelled", ("AUTH EXTERNAL", NEXT), ("*", CANCELLED)),
    ("not at all", (MAIL, "250 ")),
    ("a password besides", ("AUTH PLAIN " + RIGHT, OK)),
)


def play(tap, scene, kind, rows, device=None):
    """Plays exchanges, each in a session of its own."""
    for name, *steps in rows:
        said = []
        with scene.tls_session(device) as session:
            for line, _ in steps:
                # putcmd() would take a blank at the end away
                session.send(line.encode() + b"\r\n")
                said.append(reply(session.getreply()))
        want = "\n".join("(?:%s)[^\n]*" % w.replace(".", r"\.")
                         for _, w in steps)
        tap.like("\n".join(said), "^%s$" % want, kind + name)


def in_clear(tap, scene):
    """Before TLS there is no AUTH: 530, where RFC 4954 has 538."""
    with scene.session() as session:
        session.ehlo()
        for line in ("AUTH PLAIN " + RIGHT, "AUTH PLAIN", "AUTH EXTERNAL =",
                     "AUTH SCRAM-SHA-256", "AUTH NOTHING"):
            tap.like(reply(session.docmd(line)), "^530 5.7.0",
                     "in clear: %s: 530" % line.split(" ", 1)[1][:20])


def store_away(tap, scene):
    """Without the user store: 454, so that no client forgets its password."""
    path = scene.keys["users_db"]
    os.rename(path, path + ".away")
    # what was read is good for some milliseconds more
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with scene.tls_session() as session:
            said = reply(session.docmd("AUTH PLAIN " + RIGHT))
            if said.startswith("235"):
                continue
            tap.like(said, "^454 4.7.0", "without the store: 454")
            tap.like(reply(session.docmd("AUTH PLAIN " + plain(
                "nobody", "x"))), "^454 4.7.0", "nobody's name: 454, too")
            os.rename(path + ".away", path)
            tap.like(reply(session.docmd("AUTH PLAIN " + RIGHT)), "^235",
                     "with it again: 235")
            return
    tap.ok(False, "without the store nobody logs in", said)


def offered(session):
    """The mechanisms of EHLO."""
    return sorted(session.esmtp_features["auth"].split())


def by_port(tap, scene):
    """Each kind of port has its list."""
    with scene.tls_session() as session:
        tap.equal(offered(session), ["LOGIN", "PLAIN", "SCRAM-SHA-256",
                                     "SCRAM-SHA-256-PLUS"],
                  "the usual mechanisms")
    scene.configure(mechanisms="SCRAM-SHA-256 EXTERNAL",
                    mechanisms_tls="scram-sha-1, plain")
    scene.stop()
    scene.start()
    scene.submitctl("user", "passwd", "ann", "--password-stdin",
                    given=PASSWORD + "\n")
    with scene.tls_session() as session:
        tap.equal(offered(session), ["SCRAM-SHA-256"], "mechanisms")
        tap.like(reply(session.docmd("AUTH PLAIN " + RIGHT)), "^504 5.5.4",
                 "what is not offered is not taken")
    with scene.tls_session(scene.laptop) as session:
        tap.equal(offered(session), ["EXTERNAL", "SCRAM-SHA-256"],
                  "mechanisms, with a certificate")
    with scene.tls_session(implicit=True) as session:
        tap.equal(offered(session), ["PLAIN", "SCRAM-SHA-1"],
                  "mechanisms_tls")
        done = session.auth("SCRAM-SHA-1", Scram("ann", PASSWORD,
                                                 hash_name="sha1"))
        tap.equal(done[0], 235, "SCRAM-SHA-1, where it is named")
    with scene.tls_session(implicit=True) as session:
        tap.like(reply(session.docmd("AUTH PLAIN " + RIGHT)), "^235",
                 "PLAIN with two records")
    for key, value, words in (
            ("mechanisms", "PLAIN CRAM-MD5", '"CRAM-MD5" is not valid'),
            ("mechanisms_tls", "XOAUTH2", "need oauth_key_file")):
        old = scene.keys[key]
        scene.configure(**{key: value})
        mark = scene.log.mark()
        scene.reload()
        event = scene.log.wait(mark, ev="reload", result="refused")
        tap.like(event["error"], r":\d+: %s: .*%s" % (key, words),
                 "%s = %s is refused" % (key, value))
        scene.configure(**{key: old})
    scene.configure(mechanisms=None, mechanisms_tls=None)
    scene.stop()
    scene.start()


# ---- channel binding ----

def tls12(scene, before=None):
    """A TLS 1.2 session on the implicit port, perhaps a resumed one."""
    context = before.context if before else scene.tls_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    raw = socket.create_connection(("127.0.0.1", scene.tls_port), 30)
    wrapped = context.wrap_socket(raw, server_hostname="localhost",
                                  session=before and before.session)
    session = smtplib.SMTP(local_hostname="laptop", timeout=30)
    session.sock = wrapped
    session.file = None
    session.getreply()
    session.ehlo()
    return session, wrapped


def plus(session, binding, header="p=tls-unique,,"):
    """The reply to SCRAM-SHA-256-PLUS."""
    try:
        return reply(session.auth("SCRAM-SHA-256-PLUS", Scram(
            "ann", PASSWORD, header, binding)))
    except smtplib.SMTPAuthenticationError as e:
        return reply((e.smtp_code, e.smtp_error))


def unique(tap, scene):
    """tls-unique of TLS 1.2, as Python computes it."""
    session, wrapped = tls12(scene)
    tap.ok("SCRAM-SHA-256-PLUS" in offered(session), "TLS 1.2: -PLUS")
    binding = wrapped.get_channel_binding("tls-unique")
    tap.like(plus(session, binding), "^235", "tls-unique, full handshake")
    session, again = tls12(scene, wrapped)
    tap.ok(again.session_reused, "the session was resumed")
    binding = again.get_channel_binding("tls-unique")
    tap.like(plus(session, binding), "^235", "tls-unique, resumed")
    session, wrapped = tls12(scene)
    tap.like(plus(session, binding), "^" + NOT,
             "tls-unique of another connection: 535")
    tap.like(plus(session, b"", "p=tls-exporter,,"), "^" + NOT,
             "an empty binding: 535")
    session.close()


# ---- failures look alike ----

COUNT = 16
# Of "x", by crypt(3) with bcrypt of cost 10.
COSTLY = "$2b$10$abcdefghijklmnopqrstuu4T826PRnz0Hu6YlprUuxkZxOOj5Fw5S"
KINDS = (("unknown user", "nobody", "x"), ("wrong password", "ann", "x"),
         ("disabled user", "off", "off's"))


def last_line(session, mech, user, password):
    """All of a login but its last line, which is returned."""
    if mech == "PLAIN":
        return "AUTH PLAIN " + plain(user, password)
    if mech == "LOGIN":
        session.docmd("AUTH LOGIN")
        session.docmd(b64(user))
        return b64(password)
    scram = Scram(user, password)
    got = session.docmd("AUTH SCRAM-SHA-256 " + b64(scram()))
    return b64(scram(base64.b64decode(got[1])))


def one_failure(scene, mech, user, password, out):
    """Notes what was said and how long the last answer took."""
    with scene.tls_session() as session:
        line = last_line(session, mech, user, password)
        began = time.monotonic()
        got = session.docmd(line)
        out.append((reply(got), (time.monotonic() - began) * 1000))


def alike(tap, scene):
    """The same words after the same time, whatever was wrong."""
    for mech in ("PLAIN", "LOGIN", "SCRAM-SHA-256"):
        for _ in range(5):  # a busy machine has more jitter
            medians = alike_once(tap, scene, mech)
            if max(medians) - min(medians) < 100:
                break
        tap.ok(max(medians) - min(medians) < 100,
               mech + ": medians are within the jitter", medians)


def alike_once(tap, scene, mech):
    """Some failures of each kind; the medians of their times. Not too many at
    a time: the machine's load must not be what is measured."""
    found = {kind: [] for kind, _, _ in KINDS}
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        for job in [pool.submit(one_failure, scene, mech, user, password,
                                found[kind])
                    for _ in range(COUNT)
                    for kind, user, password in KINDS]:
            job.result()
    tap.equal({text for seen in found.values() for text, _ in seen},
              {"535 5.7.8 Authentication failed; check user name and "
               "password in your mail program"},
              mech + ": one reply to all failures")
    medians = []
    for kind, seen in found.items():
        times = sorted(ms for _, ms in seen)
        medians.append(statistics.median(times))
        tap.note("%s, %s: ms min %d, median %d, max %d of %d" % (
            mech, kind, times[0], medians[-1], times[-1], len(times)))
        tap.ok(len(times) == COUNT and times[0] >= 500,
               "%s, %s: never before 500 ms" % (mech, kind), times[0])
    return medians


def costly(tap, scene):
    """A record that takes some 40 ms to check must not be answered earlier
    or later than others."""
    path = scene.path("passwd")
    with open(path, "w", encoding="ascii") as f:
        f.write("costly:" + COSTLY + "\n")
    scene.submitctl("user", "import", "--format", "passwd", path)
    found = {"costly": [], "nobody": []}
    for _ in range(6):
        for user, seen in found.items():
            one_failure(scene, "PLAIN", user, "wrong", seen)
    for user, seen in found.items():
        times = sorted(ms for _, ms in seen)
        tap.note("%s: ms min %d, median %d, max %d" % (
            user, times[0], statistics.median(times), times[-1]))
        tap.ok(times[0] >= 500, "%s: never before 500 ms" % user)
    with scene.tls_session() as session:
        tap.like(reply(session.docmd("AUTH PLAIN " + plain("costly", "x"))),
                 "^235", "the right password of a costly record")


def test(tap):
    """One server for replies, one with the usual delay for times."""
    with Scene(tap, auth_fail_delay="5ms",
               throttle_exempt="127.0.0.1") as scene:
        for user in ("bob", "off", "held", "strict"):
            scene.add_user(user, user + "'s")
        scene.submitctl("user", "set", "off", "--state", "disabled")
        scene.submitctl("user", "suspend", "held", "--reason", "sends too much")
        scene.submitctl("user", "set", "strict", "--mechanisms",
                        "SCRAM-SHA-256")
        scene.start()
        play(tap, scene, "", EXCHANGES)
        play(tap, scene, "EXTERNAL: ", EXTERNAL, scene.laptop)
        for part in (in_clear, store_away, unique, by_port):
            part(tap, scene)
        scene.configure(auth_fail_delay=None)
        scene.stop()
        scene.start()
        alike(tap, scene)
        costly(tap, scene)


taplib.run(test, 600)
