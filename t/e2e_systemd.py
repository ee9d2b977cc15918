#!/usr/bin/python3 -B
"""What a service manager hears of us, and the sockets that it passes. A small
program plays systemd."""

import os
import re
import signal
import smtplib
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from manager import Manager, listening
from scene import PASSWORD, message
from traffic import LoadScene, Traffic

NOT_FOR_ROLES = re.compile(rb"NOTIFY_SOCKET|LISTEN_|WATCHDOG_")


def start(scene, manager, sockets=(), **options):
    """Starts the server as a service of the manager."""
    command, fds = manager.command(sockets, **options)
    return scene.start(command, pass_fds=fds)


def environment(pid):
    """What a process was started with."""
    with open("/proc/%d/environ" % pid, "rb") as f:
        return f.read()


def starting(tap, scene, manager):
    """READY comes when clients are served, from parent alone."""
    scene.spawn(manager.command(watchdog_us=600000)[0],
                stderr=subprocess.PIPE, preexec_fn=harness.with_parent)
    scene.log.follow(scene.server.stderr)
    ready = manager.wait(READY="1")
    with scene.session() as session:
        tap.equal(session.noop()[0], 250, "at READY=1 clients are served")
    tap.equal(ready["MAINPID"], str(scene.server.pid), "MAINPID is parent")
    tap.like(ready["STATUS"], r"^Serving on \d+ sockets, set 0$",
             "STATUS says what it does")
    tap.equal([r for p, r in scene.lasting().items()
               if NOT_FOR_ROLES.search(environment(p))], [],
              "no role has the variables of the manager")


def stopped(pid):
    """Whether SIGSTOP has come to a process."""
    with open("/proc/%d/stat" % pid, encoding="ascii") as f:
        return f.read().rpartition(")")[2].split()[0] == "T"


def watchdog(tap, scene, manager):
    """Twice in each period."""
    took = []
    while not took or (took[-1] > 2 and len(took) < 10):  # a busy machine
        mark, begin = manager.mark(), time.monotonic()
        for _ in range(4):
            manager.wait(mark, WATCHDOG="1")
            mark = manager.mark()
        took.append(time.monotonic() - begin)
    tap.ok(0.6 < took[-1] <= 2, "WATCHDOG=1 comes twice in 600 ms",
           "four took, in s: %s" % took)
    os.kill(scene.server.pid, signal.SIGSTOP)
    harness.until(lambda: stopped(scene.server.pid))
    manager.catch_up()
    mark = manager.mark()
    try:
        manager.wait(mark, WATCHDOG="1", timeout=1)
        tap.ok(False, "a parent that hangs is silent")
    except TimeoutError:
        tap.ok(True, "a parent that hangs is silent")
    finally:
        os.kill(scene.server.pid, signal.SIGCONT)
    manager.wait(mark, WATCHDOG="1")


def reloading(tap, scene, manager):
    """RELOADING, then READY, whatever came of it."""
    before = time.monotonic_ns() // 1000
    mark = manager.mark()
    scene.reload()
    told = manager.wait(mark, RELOADING="1")
    tap.ok(before <= int(told["MONOTONIC_USEC"]) <=
           time.monotonic_ns() // 1000, "RELOADING=1 with MONOTONIC_USEC")
    ready = manager.wait(mark, READY="1")
    tap.like(ready["STATUS"], r"^Serving on \d+ sockets, set 1$",
             "READY=1 when the new set serves")
    scene.configure(max_errors="many")
    mark = manager.mark()
    scene.reload()
    ready = manager.wait(mark, READY="1")
    tap.like(ready["STATUS"], r"set 1; ALARM: configuration: .*:\d+: "
             r"max_errors: ", "a refused one ends with READY=1 and why")
    scene.configure(max_errors=None)
    mark = manager.mark()
    scene.reload()
    manager.wait(mark, READY="1")
    tap.like(manager.wait(mark, STATUS="set 2$")["STATUS"], "^Serving",
             "a good one ends the alarm")


def crash_loop(tap, scene, manager):
    """A role that dies again and again: everybody hears of it."""
    mark, begun = manager.mark(), time.monotonic()
    for _ in range(3):
        scene.kill_again("relay")
    text = r"relay: has died 3 times in a row, last by signal 9 " \
        r"\(Killed\); it is started again in 2 s"
    tap.ok(manager.wait(mark, STATUS="ALARM: " + text),
           "three deaths: the manager is told")
    alarms = scene.submitctl_json("status")["alarms"]
    tap.equal([(a["what"], a["trouble"]) for a in alarms],
              [("relay", "crash-loop")], "submitctl status says so")
    tap.ok(scene.log.wait(ev="alarm", what="relay", trouble="crash-loop"),
           "so does the log")
    # Each further death makes it wait twice as long.
    for _ in range(4):
        states = [r["state"] for r in scene.submitctl_json("status")["roles"]
                  if r["role"] == "relay"]
        if states == ["waiting"]:
            break
        begun = time.monotonic()
        scene.kill_again("relay")
    tap.equal(states, ["waiting"], "it waits to be started")
    mark = manager.mark()
    scene.log.wait(ev="alarm-over", what="relay", timeout=60)
    tap.ok(time.monotonic() - begun > 12, "10 s of health end the alarm")
    tap.ok(manager.wait(mark, STATUS=r"^Serving on \d+ sockets, set \d+$"),
           "the manager is told that, too")
    tap.equal(scene.submitctl_json("status")["alarms"], [],
              "also in submitctl status")
    log_mark = scene.log.mark()
    scene.kill_again("relay")
    tap.ok(harness.until(lambda: scene.pids("relay")), "it is started again")
    tap.ok(not scene.log.find(log_mark, ev="alarm"),
           "the next death is the first again")


def stopping(tap, scene, manager):
    """STOPPING, and the time that it may take."""
    mark = manager.mark()
    session = scene.tls_session()
    session.login("ann", PASSWORD)
    session.mail("ann@play.example")
    session.rcpt("bo@example.net")
    session.docmd("DATA")
    pid = scene.server.pid
    scene.server.terminate()
    told = manager.wait(mark, STOPPING="1")
    # stop_grace, then 10 s to kill; some more
    tap.ok(40e6 < int(told["EXTEND_TIMEOUT_USEC"]) <= 60e6,
           "STOPPING=1 and EXTEND_TIMEOUT_USEC by stop_grace")
    session.sock.sendall(message("at the end") + b"\r\n.\r\n")
    tap.equal(session.getreply()[0], 250, "the message is taken still")
    tap.equal(session.getreply()[0], 421, "and the session ended")
    session.close()
    tap.equal(scene.stop(), 0, "the server ends with status 0")
    tap.equal(manager.senders(), {pid}, "nobody but parent has spoken")


def by_address(tap, scene, manager):
    """The sockets are those of the configuration; they outlive the server."""
    sockets = [("submitd.socket", listening("127.0.0.1", scene.port)),
               ("submitd.socket", listening("127.0.0.1", scene.tls_port))]
    early = socket.create_connection(("127.0.0.1", scene.port), 30)
    mark = scene.log.mark()
    start(scene, manager, sockets)
    tap.equal(scene.log.find(mark, ev="ready")["passed"], "2",
              "two sockets were passed")
    tap.like(early.recv(100).decode(), "^220 ",
             "who came before the server is served")
    for implicit in (False, True):
        with scene.tls_session(implicit=implicit) as session:
            tap.equal(session.login("ann", PASSWORD)[0], 235,
                      "login over a passed socket")
    for turn in range(2):
        mark = manager.mark()
        scene.reload()
        manager.wait(mark, READY="1", STATUS="set %d$" % (turn + 1))
        with scene.tls_session() as session:
            tap.equal(session.noop()[0], 250, "served after a reload, too")
    early.close()
    tap.equal(scene.stop(), 0, "the server ends")
    with socket.create_connection(("127.0.0.1", scene.port), 30) as late:
        start(scene, manager, sockets)
        tap.like(late.recv(100).decode(), "^220 ",
                 "who came between two servers is served by the second")
    # One of them is wanted no more: it would keep its clients waiting.
    listen_tls = scene.keys["listen_tls"]
    scene.configure(listen_tls=None)
    mark = scene.log.mark()
    scene.reload()
    tap.like(scene.log.wait(mark, ev="reload")["error"],
             r"socket 4 \(submitd.socket\) on 127.0.0.1:\d+ passed by the "
             "service manager is in neither",
             "a reload that leaves one out is refused")
    scene.configure(listen_tls=listen_tls)
    scene.stop()
    for _, s in sockets:
        s.close()


def restarts(tap, scene, manager):
    """A restart under load: who is new waits, who is there is told, mail is
    neither lost nor doubled."""
    sockets = [("submitd.socket", listening("127.0.0.1", scene.port)),
               ("submitd.socket", listening("127.0.0.1", scene.tls_port))]
    start(scene, manager, sockets)
    with Traffic(scene, sessions=20) as traffic:
        for _ in range(3):
            traffic.goes_on(20)
            tap.equal(scene.stop(), 0, "a stop under load")
            start(scene, manager, sockets)
        traffic.goes_on(20)
    tap.equal(set(traffic.errors) - {"421"}, set(),
              "nobody was refused or cut off, but with 421")
    tap.note("%d sessions, of these failed: %s"
             % (traffic.sessions, dict(traffic.errors)))
    scene.account(tap, traffic.acknowledged)
    scene.stop()
    for _, s in sockets:
        s.close()


def by_name(tap, scene, manager):
    """Wherever they are bound; also one socket for both families."""
    port, tls_port = harness.free_port(), harness.free_port()
    sockets = [("submission", listening("::", port, dual=True)),
               ("submissions", listening("127.0.0.1", tls_port))]
    mark = scene.log.mark()
    start(scene, manager, sockets)
    tap.ok(harness.can_bind("127.0.0.1", scene.port),
           "the configured port is not bound")
    scene.port, kept = port, scene.port
    scene.tls_port, kept_tls = tls_port, scene.tls_port
    with scene.tls_session() as session:
        session.login("ann", PASSWORD)
    line = scene.log.wait(mark, ev="session", user="ann")
    tap.equal(line["addr"], "127.0.0.1", "IPv4 over it is IPv4 to us")
    with scene.tls_session(implicit=True) as session:
        tap.equal(session.noop()[0], 250, "submissions: TLS at once")
    scene.stop()
    scene.port, scene.tls_port = kept, kept_tls
    for _, s in sockets:
        s.close()


def refused(tap, scene, manager):
    """What cannot be used is named, and the server does not start."""
    other = listening("127.0.0.1", harness.free_port())
    idle = socket.socket()
    idle.bind(("127.0.0.1", 0))
    local = socket.socket(socket.AF_UNIX)
    local.bind(scene.path("local"))
    local.listen()
    for name, s, why in (
            ("one that the configuration has not", other,
             r"socket 3 \(x\.socket\) on 127\.0\.0\.1:\d+ passed by the service "
             r"manager is in neither listen nor listen_tls: add its address"),
            ("one that does not listen", idle, "does not listen: is there "
             "Accept=yes"),
            ("a local one", local, "is no TCP socket")):
        command, fds = manager.command([("x.socket", s)])
        done = subprocess.run(
            command + [harness.program("submitd"), "-f", scene.conf_file,
                       "-d"], pass_fds=fds, stderr=subprocess.PIPE, text=True,
            timeout=30, check=False)
        tap.equal(done.returncode, 78, name + ": exit status 78")
        tap.like(done.stderr, why, name + ": it is said why")
        s.close()


def test(tap):
    """One scene, several servers."""
    with LoadScene(tap, stop_grace="30s") as scene:
        manager = Manager(scene.path("notify"))
        for part in (starting, watchdog, reloading, crash_loop, stopping):
            part(tap, scene, manager)
        scene.configure(listen=["127.0.0.1:%d" % scene.port],
                        listen_tls=["127.0.0.1:%d" % scene.tls_port])
        manager = Manager(scene.path("another"), abstract=True)
        for part in (by_address, restarts, by_name, refused):
            part(tap, scene, manager)


taplib.run(test, deadline=400)
