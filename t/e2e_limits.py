#!/usr/bin/python3 -B
"""Too many clients: thousands of slow strangers, one address that floods,
everybody at once, a front that dies with its clients, one that reads nothing.
Whoever is honest gets through, and the numbers are right in the end."""

import base64
import os
import select
import signal
import smtplib
import socket
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib
from harness import wait_gone
from scene import PASSWORD, Scene, message
from strangers import Strangers

LOGIN = base64.b64encode(("\0ann\0" + PASSWORD).encode()).decode()
STRANGERS = {"silent": 500, "half": 500, "command": 500, "sitting": 470,
             "data": 30}
DEAF = 8  # clients that read nothing
SOON = 20  # s: what waits for nobody, on a machine that is busy


def connections(scene):
    """What the status says of them."""
    return scene.submitctl_json("status")["connections"]


def wait_status(scene, what, timeout=60):
    """Asks for the status until what(it) is true; it is then returned."""
    end = time.monotonic() + timeout
    while True:
        now = connections(scene)
        if what(now) or time.monotonic() > end:
            return now


def connect(scene, source, port=None):
    """A raw connection from an address of 127.0.0.0/8."""
    return socket.create_connection(("127.0.0.1", port or scene.port), 60,
                                    source_address=(source, 0))


def first_line(raw):
    """The first line that comes, "" at the end of file."""
    try:
        with raw.makefile("rb") as stream:
            return stream.readline().decode()
    except ConnectionResetError:
        return ""


def is_open(raw):
    """Nothing has ended the connection; what has come is thrown away."""
    raw.setblocking(False)
    try:
        while raw.recv(4096):
            continue
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        raw.settimeout(60)


def wait_end(raw, timeout=60):
    """Reads to the end; all that came."""
    raw.settimeout(timeout)
    got = b""
    try:
        while piece := raw.recv(4096):
            got += piece
    except ConnectionResetError:
        pass
    return got.decode("utf-8", "replace")


def close_all(raws):
    """Ends connections."""
    for raw in raws:
        raw.close()


def honest(scene, token, source="127.0.0.1"):
    """One message in a session of its own; how long that took, in s."""
    began = time.monotonic()
    with smtplib.SMTP("127.0.0.1", scene.port, "laptop", 60,
                      source_address=(source, 0)) as session:
        session.starttls(context=scene.tls_context())
        session.login("ann", PASSWORD)
        session.sendmail("ann@play.example", "bo@example.net", message(token))
    return time.monotonic() - began


def thousands(tap):
    """Two thousand slow strangers, each from its own address."""
    with Scene(tap, fronts=2, address_exempt="", name_timeout="1s") as scene:
        scene.start()
        honest(scene, "warm")
        alone = [honest(scene, "alone-%d" % i) for i in range(5)]
        with Strangers(scene.port, STRANGERS, scene.ca.cert, LOGIN) as crowd:
            crowd.ready()
            now = connections(scene)
            # from a new address each time: nobody knows it
            busy = [honest(scene, "busy-%d" % i, "127.0.0.%d" % (10 + i))
                    for i in range(10)]
        tap.note("honest session: alone median %.0f ms; among %d strangers "
                 "median %.0f ms, worst %.0f ms" % (
                     statistics.median(alone) * 1000, crowd.count,
                     statistics.median(busy) * 1000, max(busy) * 1000))
        tap.note("then: %s" % now)
        tap.ok(max(busy) < SOON, "%d strangers, an honest session goes "
               "through" % crowd.count, "%s" % busy)
        tap.ok(now["strangers"] <= 1000 + 32, "strangers are at most as many "
               "as they may be", "%s" % now)
        tap.ok(now["dropped"] > 0, "some had to go for others", "%s" % now)
        tap.equal(now["refused"], 0, "nobody was refused")
        for i in range(10):
            scene.delivered("busy-%d" % i)
        lines = scene.log.all(ev="limit")
        tap.ok(1 <= len(lines) <= now["dropped"] / 50,
               "the log has a line now and then", "%d lines" % len(lines))
        tap.ok(all(line["what"] == "strangers" and line["action"] == "dropped"
                   for line in lines), "which say what happened")


def slow_users(tap):
    """Neither DATA nor a command can be dribbled for ever; nor can strangers
    sit. Short times make it visible."""
    with Scene(tap, fronts=1, address_exempt="", handshake_timeout="2s",
               login_timeout="3s", data_timeout="2s", min_data_rate=100000,
               name_timeout="0") as scene:
        scene.start()
        mark = scene.log.mark()
        with Strangers(scene.port, {"silent": 2, "half": 2, "command": 2,
                                    "sitting": 2, "data": 2},
                       scene.ca.cert, LOGIN) as crowd:
            crowd.ready()
            ends = []
            while len(ends) < 10:
                seen = scene.log.mark()
                ends = scene.log.all(after=mark, ev="session")
                if len(ends) < 10:
                    scene.log.wait(after=seen, ev="session")
        # each of them was ended by the server, however it was busy
        tap.ok(all(int(e["ms"]) < SOON * 1000 for e in ends),
               "dribbling, silence and half handshakes end in their time",
               *[e["text"] for e in ends])
        tap.ok(any(e["user"] == "ann" for e in ends),
               "DATA at a byte a second, too")


def tarpit(tap, scene):
    """Errors slow down who makes them, and nobody else."""
    meanwhile = False
    for _ in range(10):  # a busy machine takes a second for the other session
        with scene.tls_session() as session:
            for _ in range(2):
                session.docmd("FROBNICATE")
            began = time.monotonic()
            session.putcmd("NOOP")
            honest(scene, "tarpit", "127.0.0.4")
            meanwhile = not select.select([session.sock], [], [], 0)[0]
            code = session.getreply()[0]
            waited = time.monotonic() - began
        if meanwhile:
            break
    tap.equal(code, 250, "after two errors of four the next command is "
              "answered")
    tap.ok(waited > 0.9, "a second later", "%.3f s" % waited)
    tap.ok(meanwhile, "another session began and ended meanwhile")
    wait_status(scene, lambda s: s["now"] == 0)


def limits(tap, scene):
    """One address, then all of them, up to the limit and beyond."""
    mark = scene.log.mark()
    raws = [connect(scene, "127.0.0.2") for _ in range(12)]
    lines = [first_line(raw) for raw in raws]
    tap.equal([line[:4] for line in lines], ["220 "] * 10 + ["421 "] * 2,
              "address_strangers: ten of one address, not twelve")
    tap.like(lines[11], r"^421 4\.7\.0 Too many connections from 127\.0\.0\.2 "
             r"that did not log in; ", "the others hear what to do")
    event = scene.log.wait(after=mark, ev="limit", what="address-strangers")
    tap.equal((event["addr"], event["action"], event["limit"]),
              ("127.0.0.2", "refused", "10"), "the log names the address")
    other = connect(scene, "127.0.0.3")
    tap.like(first_line(other), "^220 ", "another address gets in")
    status = connections(scene)
    tap.equal((status["now"], status["strangers"], status["refused"]),
              (11, 11, 2), "the status counts them")
    tap.equal([(a["addr"], a["connections"], a["strangers"])
               for a in status["addresses"]], [("127.0.0.2", 10, 10)],
              "and names who is at the limit")
    tap.like(scene.submitctl("status").stdout,
             r"Connections: +11\n.*127\.0\.0\.2 +10 +10\n",
             "also for people to read")
    tap.ok(honest(scene, "flood", "127.0.0.4") < SOON,
           "an honest session goes through")
    close_all(raws + [other])
    status = wait_status(scene, lambda s: s["now"] == 0)
    tap.equal((status["now"], status["strangers"]), (0, 0),
              "all are given back")


def sitters(tap, scene):
    """One that has sat makes way for a newcomer of its own address."""
    raws = [connect(scene, "127.0.0.2") for _ in range(10)]
    for raw in raws:
        first_line(raw)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        late = connect(scene, "127.0.0.2")
        line = first_line(late)
        if line.startswith("220"):
            break
        late.close()
        select.select([raws[0]], [], [], 0.2)
    tap.like(line, "^220 ", "after some seconds a sitter of the same address "
             "makes way")
    gone = [raw for raw in raws if not is_open(raw)]
    tap.equal(gone, [raws[0]], "it is the one that sat longest")
    close_all(raws + [late])
    wait_status(scene, lambda s: s["now"] == 0)


def logged_in(tap, scene):
    """Those who have logged in count apart."""
    sessions = []
    for _ in range(15):
        session = smtplib.SMTP("127.0.0.1", scene.port, "laptop", 30,
                               source_address=("127.0.0.5", 0))
        session.starttls(context=scene.tls_context())
        session.login("ann", PASSWORD)
        sessions.append(session)
    status = connections(scene)
    tap.equal((status["now"], status["strangers"]), (15, 0),
              "fifteen logins from one address, none of them strangers")
    late = connect(scene, "127.0.0.5")
    tap.like(first_line(late), r"^421 4\.7\.0 Too many connections from "
             r"127\.0\.0\.5; ", "address_connections: not sixteen")
    late.close()
    raws = [connect(scene, "127.0.%d.1" % (6 + i)) for i in range(45)]
    tap.equal({first_line(raw)[:4] for raw in raws}, {"220 "},
              "forty-five strangers more: everybody is let in")
    status = connections(scene)
    tap.ok(status["now"] <= 40 and status["strangers"] <= 20,
           "but no more than max_strangers stay", "%s" % status)
    tap.ok(all(s.noop()[0] == 250 for s in sessions),
           "no session that logged in was ended for them")
    tap.ok(not is_open(raws[0]) and is_open(raws[44]),
           "the oldest stranger went, the newest is there")
    told = connect(scene, "127.0.77.1")
    tap.like(first_line(told), "^220 ", "one more is let in")
    for i in range(25):
        raws.append(connect(scene, "127.0.%d.1" % (80 + i)))
    tap.like(wait_end(told), r"^421 4\.3\.2 Too many clients are waiting",
             "and told why it has to go when its turn comes")
    for session in sessions:
        session.close()
    close_all(raws + [told])
    status = wait_status(scene, lambda s: s["now"] == 0)
    tap.equal(status["now"], 0, "all are given back")


def known_address(tap, scene):
    """An address where somebody logged in before is the last to go."""
    honest(scene, "known", "127.0.0.6")
    friend = connect(scene, "127.0.0.6")
    first_line(friend)
    raws = [connect(scene, "127.1.%d.1" % i) for i in range(60)]
    for raw in raws:
        first_line(raw)
    tap.ok(is_open(friend), "sixty newer strangers don't push it out")
    close_all(raws + [friend])
    wait_status(scene, lambda s: s["now"] == 0)


def everybody(tap, scene):
    """max_connections is for all fronts together."""
    sessions = []
    for i in range(40):
        session = smtplib.SMTP("127.0.0.1", scene.port, "laptop", 30,
                               source_address=("127.0.1.%d" % (i + 1), 0))
        session.starttls(context=scene.tls_context())
        session.login("ann", PASSWORD)
        sessions.append(session)
    lines = []
    for i in range(5):
        raw = connect(scene, "127.0.2.%d" % (i + 1))
        lines.append(first_line(raw))
        raw.close()
    tap.equal({line[:9] for line in lines}, {"421 4.3.2"},
              "forty logged in at two fronts: the next is refused")
    tap.like(lines[0], "try again in a few minutes", "with what to do")
    raw = connect(scene, "127.0.2.9", scene.tls_port)
    tap.equal(wait_end(raw), "", "where TLS comes first it is just closed")
    raw.close()
    sessions.pop().quit()
    wait_status(scene, lambda s: s["now"] == 39)
    tap.ok(honest(scene, "place", "127.0.2.10") < SOON,
           "with one place again an honest session goes through")
    for session in sessions:
        session.close()
    wait_status(scene, lambda s: s["now"] == 0)


def dead_front(tap, scene):
    """A front that is killed gives back what it counted."""
    there = 20
    raws = [connect(scene, "127.0.3.%d" % (i % 5 + 1)) for i in range(20)]
    for raw in raws:
        first_line(raw)
    tap.equal(connections(scene)["now"], 20, "twenty clients of two fronts")
    for pid in scene.pids("front"):
        mark = scene.log.mark()
        os.kill(pid, signal.SIGKILL)
        wait_gone(pid)
        scene.log.wait(after=mark, ev="role", state="gone")
        there = sum(map(is_open, raws))
        left = wait_status(scene, lambda s, n=there: s["now"] == n)
        tap.equal((left["now"], left["strangers"]), (there, there),
                  "a killed front's clients are forgotten, those of the other "
                  "are not")
    tap.equal(there, 0, "with both fronts all are gone")
    for raw in raws:
        raw.close()
    status = wait_status(scene, lambda s: s["now"] == 0)
    tap.equal((status["now"], status["strangers"], status["handshakes"]),
              (0, 0, 0), "nothing is left over")
    raws = [connect(scene, "127.0.3.1") for _ in range(10)]
    tap.equal({first_line(raw)[:4] for raw in raws}, {"220 "},
              "the address has all its places again")
    close_all(raws)
    wait_status(scene, lambda s: s["now"] == 0)


def reload(tap, scene):
    """Old and new fronts count together."""
    session = scene.tls_session()
    session.login("ann", PASSWORD)
    mark = scene.log.mark()
    scene.reload()
    scene.log.wait(after=mark, ev="reload", result="ok")
    raws = [connect(scene, "127.0.4.1") for _ in range(3)]
    for raw in raws:
        first_line(raw)
    tap.equal(connections(scene)["now"], 4,
              "after SIGHUP the old front's session counts, too")
    session.quit()
    close_all(raws)
    scene.settled()
    status = wait_status(scene, lambda s: s["now"] == 0)
    tap.equal(status["now"], 0, "and is given back")
    mark = scene.log.mark()
    scene.configure(max_connections=20000)
    scene.reload()
    scene.log.wait(after=mark, ev="reload", result="ok")
    scene.settled()
    raws = [connect(scene, "127.0.4.1") for _ in range(3)]
    for raw in raws:
        first_line(raw)
    status = connections(scene)
    tap.equal((status["now"], status["limit"]), (3, 20000),
              "a limit that needs a larger table gets one")
    close_all(raws)


def small(tap):
    """A server with small limits: one front, which makes who has to go
    certain, then two."""
    for fronts, parts in ((1, (limits, sitters, logged_in, known_address,
                               tarpit)),
                          (2, (everybody, dead_front, reload))):
        with Scene(tap, fronts=fronts, address_exempt="", max_connections=40,
                   max_strangers=20, address_strangers=10,
                   address_connections=15, name_timeout="0",
                   error_delay="1s", max_errors=4) as scene:
            scene.start()
            for part in parts:
                part(tap, scene)


def full_disk(tap):
    """Queue says once that its disk is full; then MAIL says so at once."""
    alone = ("unshare", "--mount")
    if os.geteuid() != 0 or subprocess.run(
            alone + ("mount", "-t", "tmpfs", "none", "/mnt"), check=False,
            stderr=subprocess.DEVNULL).returncode != 0:
        tap.note("nothing can be mounted here: no full disk is tried")
        return
    with Scene(tap, fronts=1) as scene:
        os.mkdir(scene.path("spool"))
        scene.start(alone + (
            "sh", "-c", "mount -t tmpfs -o size=16m,mode=700 none \"$0\" && "
            "chown %d \"$0\" && exec \"$@\"" % scene.uid("queue"),
            scene.path("spool")))
        with scene.tls_session() as session:
            session.login("ann", PASSWORD)
            session.mail("ann@play.example", ["SIZE=1000"])
            session.rcpt("bo@example.net")
            tap.like("%d %s" % session.docmd("DATA"), "^452 .*4.3.1",
                     "a disk that is full: DATA: 452 4.3.1")
            tap.like("%d %s" % session.mail("ann@play.example", ["SIZE=1000"]),
                     "^452 .*4.3.1", "then MAIL says so")
        with scene.tls_session() as session:
            session.login("ann", PASSWORD)
            tap.like("%d %s" % session.mail("boss@play.example"), "^550 ",
                     "but to those who may send only")
            tap.like("%d %s" % session.mail("ann@play.example"),
                     "^452 .*4.3.1", "in every session")


def descriptors(tap):
    """Fewer descriptors than connections: strangers give theirs back."""
    with Scene(tap, fronts=1, address_exempt="", name_timeout="0") as scene:
        mark = scene.log.mark()
        scene.start(("prlimit", "--nofile=150:150"))
        event = scene.log.wait(after=mark, ev="limit", what="descriptors")
        tap.equal((event["count"], event["limit"]), ("150", "10064"),
                  "the log says at the start that 150 are too few")
        raws = [connect(scene, "127.0.5.%d" % (i + 1)) for i in range(200)]
        tap.like(first_line(raws[199]), "^220 ",
                 "two hundred strangers: the last is greeted all the same")
        event = scene.log.wait(after=mark, ev="limit", action="dropped")
        tap.equal(event["what"], "descriptors", "another had to go for it")
        tap.ok(honest(scene, "scarce") < SOON, "an honest session goes through")
        tap.equal(scene.log.find(after=mark, ev="accept"), None,
                  "and front never had to stop accepting")
        close_all(raws)


def memory(pid):
    """Memory of a process that no file is behind, in KiB (its part of files
    hangs on who else has them open); None where nobody but root may look, or
    where sanitizers keep what was freed."""
    try:
        with open("/proc/%d/maps" % pid, encoding="ascii") as f:
            if "libasan" in f.read():
                return None
        with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as f:
            return int(next(line for line in f if line.startswith("Pss_Anon:"))
                       .split()[1])
    except PermissionError:
        return None


def push(session, data, rounds=500):
    """Sends without reading until the server takes no more; how much."""
    sock = session.sock
    sock.setblocking(False)
    sent = 0
    for _ in range(rounds):
        try:
            sent += sock.send(data)
        except (BlockingIOError, OSError):
            if not select.select([], [sock], [], 1)[1]:
                break
    return sent


def kernel_bytes(port):
    """What the kernel holds for connections at a port, by its end of them:
    bytes to be sent and bytes not yet read."""
    sent = unread = 0
    with open("/proc/net/tcp", encoding="ascii") as f:
        for line in list(f)[1:]:
            words = line.split()
            if int(words[1].split(":")[1], 16) == port and words[3] == "01":
                queues = words[4].split(":")
                sent += int(queues[0], 16)
                unread += int(queues[1], 16)
    return sent, unread


def deaf(tap):
    """Clients that send and don't read cost little, and not for long."""
    with Scene(tap, fronts=1, command_timeout="4s", name_timeout="0") as scene:
        scene.start()
        sessions = []
        for _ in range(DEAF):
            session = scene.tls_session()
            session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sessions.append(session)
        before = memory(scene.pids("front")[0])
        mark = scene.log.mark()
        sent = [push(session, b"HELP\r\n" * 2000) for session in sessions]
        after = memory(scene.pids("front")[0])
        kernel = kernel_bytes(scene.port)
        tap.note("%d clients pushed %d KiB, the kernel keeps %d KiB of replies "
                 "and %d of commands" % (DEAF, sum(sent) // 1024,
                                         kernel[0] // 1024, kernel[1] // 1024))
        tap.ok(0 < kernel[0] < DEAF * 256 * 1024, "who doesn't read gets no "
               "more replies")
        tap.ok(0 < kernel[1] < DEAF * 512 * 1024, "nor is listened to")
        if before is None or after is None:
            tap.note("front's memory can't be measured here")
        else:
            tap.ok(after - before < DEAF * 64, "and costs front less than "
                   "64 KiB", "%d KiB" % (after - before))
        scene.log.wait(after=mark, ev="session")
        tap.ok(honest(scene, "deaf") < SOON, "others are served")
        for session in sessions:
            session.close()


def test(tap):
    """Some servers, one after another."""
    for part in (small, full_disk, descriptors, slow_users, deaf, thousands):
        part(tap)


if __name__ == "__main__":
    taplib.run(test, 600)
