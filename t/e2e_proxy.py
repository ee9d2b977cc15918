#!/usr/bin/python3 -B
"""Connections through a load balancer: the address in the PROXY header is the
client's in every respect, and only the balancer may say it."""

import os
import shutil
import smtplib
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib
from balancer import SIGNATURE, Balancer, version1, version2
from scene import PASSWORD, Scene, message, split_trace

BALANCER, STRANGER = "127.0.0.1", "127.0.0.2"
PORTS = (40001, 587)

# name, header, the client's address in the log
HEADERS = (
    ("version 1, IPv4", version1("192.0.2.7", "203.0.113.9", PORTS),
     "192.0.2.7"),
    ("version 1, IPv6", version1("2001:db8::7", "2001:db8::1", PORTS),
     "2001:db8::7"),
    ("version 2, IPv4", version2("192.0.2.8", "203.0.113.9", PORTS),
     "192.0.2.8"),
    ("version 2, IPv6 with TLVs and checksum",
     version2("2001:db8::8", "2001:db8::1", PORTS,
              ((1, b"smtp"), (2, b"mail.play.example"), (4, bytes(900))),
              True), "2001:db8::8"),
    ("version 2, a mapped address is IPv4",
     version2("::ffff:192.0.2.9", "2001:db8::1", PORTS), "192.0.2.9"),
    ("version 1, UNKNOWN", b"PROXY UNKNOWN\r\n", BALANCER),
    ("version 2, LOCAL", SIGNATURE + b"\x20\0\0\0", BALANCER),
)

# name, header, what the log says
BAD = (
    ("none", b"EHLO laptop\r\n", "no PROXY header came"),
    ("TLS at once", b"\x16\x03\x01\x02\0", "no PROXY header came"),
    ("a wrong checksum",
     version2("192.0.2.7", "203.0.113.9", PORTS, (), True)[:-1] + b"\0",
     "the checksum is wrong"),
    ("an address that is none", b"PROXY TCP4 192.0.2.700 203.0.113.9 1 2\r\n",
     "an address of the line is not valid"),
    ("a header that goes on for ever", b"PROXY UNKNOWN " + b"x" * 200,
     "the line is longer than 107 bytes"),
)


def log_in(session):
    """Greets, begins TLS, logs in."""
    session.login("ann", PASSWORD)
    return session


def through(tap, scene):
    """Every kind of header, at both ports, in one piece and in many."""
    for name, header, address in HEADERS:
        for implicit in (False, True):
            for pieces in (False, True):
                token = "p-%d" % tap.count
                mark = scene.log.mark()
                port = scene.tls_port if implicit else scene.port
                with Balancer(port, header, pieces) as balancer:
                    if implicit:
                        session = smtplib.SMTP_SSL(
                            "127.0.0.1", balancer.port, "laptop", timeout=30,
                            context=scene.tls_context())
                    else:
                        session = smtplib.SMTP("127.0.0.1", balancer.port,
                                               "laptop", 30)
                        session.starttls(context=scene.tls_context())
                    with session:
                        log_in(session)
                        session.sendmail("ann@play.example", "bo@example.net",
                                         message(token))
                event = scene.log.wait(after=mark, ev="session")
                tap.equal((event["addr"], event["messages"]), (address, "1"),
                          "%s, %s, %s: the client is %s" % (
                              name, "TLS" if implicit else "STARTTLS",
                              "byte by byte" if pieces else "in one piece",
                              address))
                if pieces:
                    continue
                login = scene.log.wait(after=mark, ev="auth")
                tap.equal((login["addr"], event["via"]),
                          (address, "-" if address == BALANCER else BALANCER),
                          name + ": also for the login; via the balancer")
                trace, _ = split_trace(scene.delivered(token)["data"])
                tap.like(trace, address.replace(".", r"\."),
                         name + ": and in Received")


def programs(tap, scene):
    """Real programs in front of it."""
    for name, command in (
            ("msmtp", ("msmtp", "-C", "/dev/null", "--host=127.0.0.1",
                       "--port=%d", "--tls=on", "--tls-starttls=on",
                       "--tls-trust-file=" + scene.ca.cert, "--auth=plain",
                       "--user=ann", "--from=ann@play.example",
                       "--passwordeval=cat " + scene.path("password"),
                       "bo@example.net")),
            ("curl", ("curl", "-sS", "--ssl-reqd", "--cacert", scene.ca.cert,
                      "--mail-from", "ann@play.example", "--mail-rcpt",
                      "bo@example.net", "--user", "ann:" + PASSWORD,
                      "--upload-file", "-", "smtp://127.0.0.1:%d/laptop"))):
        if not shutil.which(name):
            tap.note("no %s here" % name)
            continue
        mark = scene.log.mark()
        with Balancer(scene.port, version2("192.0.2.77", "203.0.113.9",
                                           PORTS)) as balancer:
            done = subprocess.run(
                [c % balancer.port if "%d" in c else c for c in command],
                input=message("by-" + name).replace(
                    b"\r\n", b"\n" if name == "msmtp" else b"\r\n"),
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
                check=False)
        tap.equal((done.returncode, done.stdout), (0, b""),
                  name + " submits through the balancer")
        event = scene.log.wait(after=mark, ev="accepted")
        tap.equal(event["client"], "192.0.2.77", "as 192.0.2.77")
        scene.delivered("by-" + name)


def refused(tap, scene):
    """Bad headers, and who is no balancer."""
    for name, header, why in BAD:
        mark = scene.log.mark()
        with socket.create_connection(("127.0.0.1", scene.port), 30) as raw:
            raw.sendall(header)
            try:
                got = raw.recv(4096)
            except ConnectionResetError:
                got = b""
            tap.equal(got, b"", "%s: closed without a word" % name)
        if name == BAD[0][0]:
            event = scene.log.wait(after=mark, ev="proxy")
            tap.equal((event["addr"], event["error"]), (BALANCER, why),
                      name + ": the log says why")
    with socket.create_connection(("127.0.0.1", scene.port), 30,
                                  source_address=(STRANGER, 0)) as raw:
        with raw.makefile("rb") as stream:
            tap.like(stream.readline().decode(), "^220 ",
                     "who is no balancer is greeted at once")
            raw.sendall(version1("192.0.2.7", "203.0.113.9", PORTS))
            tap.like(stream.readline().decode(), r"^500 5\.5\.1",
                     "and its header is an unknown command")
            raw.sendall(b"QUIT\r\n")
    event = scene.log.wait(ev="session", addr=STRANGER)
    tap.equal(event["via"], "-", "it is who it is")


def silent(tap, scene):
    """A balancer that says nothing."""
    mark = scene.log.mark()
    with socket.create_connection(("127.0.0.1", scene.port), 30) as raw:
        tap.equal(raw.recv(100), b"", "a balancer that sends no header is "
                  "closed in time")
    event = scene.log.wait(after=mark, ev="proxy")
    tap.equal(event["error"], "no whole PROXY header came in time",
              "the log says so")


def limited(tap, scene):
    """Limits count the client's address, never the balancer's."""
    raws = []
    with Balancer(scene.port, version1("192.0.2.50", "203.0.113.9",
                                       PORTS)) as one, \
            Balancer(scene.port, version1("192.0.2.51", "203.0.113.9",
                                          PORTS)) as two:
        replies = []
        for balancer in [one] * 4 + [two]:
            raws.append(socket.create_connection(("127.0.0.1", balancer.port),
                                                 30))
            replies.append(raws[-1].makefile("rb").readline().decode())
    tap.equal([r[:4] for r in replies], ["220 "] * 3 + ["421 ", "220 "],
              "three strangers of one client, four of the balancer")
    tap.like(replies[3], r"from 192\.0\.2\.50 ", "the client is named")
    for raw in raws:
        raw.close()


def mapped(tap, scene):
    """The access map, too, sees the client's address."""
    scene.submitctl("access", "set", "Connect:192.0.2.66", "REJECT")
    for address, want in (("192.0.2.66", "^5"), ("192.0.2.67", "^250")):
        with Balancer(scene.port, version1(address, "203.0.113.9",
                                           PORTS)) as balancer:
            with smtplib.SMTP("127.0.0.1", balancer.port, "laptop",
                              30) as session:
                session.starttls(context=scene.tls_context())
                session.ehlo()
                code, text = session.docmd("AUTH", "PLAIN AGFubgB4")
                if want != "^5":
                    log_in(session)
                    code, text = session.mail("ann@play.example")
                tap.like("%d %s" % (code, text.decode()), want,
                         "Connect:%s is asked" % address)


def test(tap):
    """One server behind a balancer."""
    with Scene(tap, proxy_networks=BALANCER, address_exempt="",
               address_strangers=3, handshake_timeout="3s", trace_client=True,
               name_timeout="0", auth_fail_delay="1ms") as scene:
        with open(scene.path("password"), "w", encoding="utf-8") as f:
            f.write(PASSWORD + "\n")
        scene.start()
        for part in (through, programs, refused, silent, limited, mapped):
            part(tap, scene)


taplib.run(test)
