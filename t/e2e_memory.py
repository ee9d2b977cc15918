#!/usr/bin/python3 -B
"""Memory does not grow with the number of sessions: 100,000 of all kinds in
make check-long, else 3,000."""

import os
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from traffic import LONG, LoadScene, Traffic, pause, pss_kib

WARM, SESSIONS = (10000, 100000) if LONG else (1500, 3000)
BATCH = 500
# What the allocator and caches may take on between two looks; a leak of 12
# bytes in a session is seen in 100,000.
SLACK_KIB = 1200
KINDS = (
    {"auth": "plain"},
    {"auth": "plain", "messages_per_session": 2, "size": 4096},
    {"auth": "login", "messages_per_session": 0},
    {"auth": "external"},
    {"auth": "plain", "tls": "implicit", "size": 100000, "share": 0.2},
    {"auth": "plain", "resume": None, "messages_per_session": 0},
    {"auth": "none", "messages_per_session": 0},
)


def options_of(scene, kind):
    """What the load program is told for this kind of session."""
    options = {"concurrency": 20, "messages_per_session": 1, "size": 1024,
               **kind}
    options["sessions"] = int(BATCH * options.pop("share", 1))
    if kind["auth"] == "external":
        options.update(cert=scene.laptop.cert, key=scene.laptop.key)
    if kind.get("tls") == "implicit":
        options["port"] = scene.tls_port
    return options


def strangers(scene, count):
    """Sessions that break off, in clear or in the handshake."""
    for number in range(count):
        with socket.create_connection(("127.0.0.1", scene.port), 10) as s:
            s.recv(200)
            s.sendall((b"EHLO x\r\n", b"STARTTLS\r\n", b"garbage\r\n",
                       b"")[number % 4])


def run(scene, traffic, sessions):
    """So many sessions of all kinds."""
    done = turn = 0
    while done < sessions:
        kind = KINDS[turn % len(KINDS)]
        done += traffic.batch(**options_of(scene, kind))["sessions"]
        if turn % len(KINDS) == 0:
            strangers(scene, 20)
            done += 20
        turn += 1
    return done


def measure(scene):
    """{process: KiB} of all that run, at rest."""
    arrived = -1
    while arrived != scene.sink.counters()["messages"]:
        arrived = scene.sink.counters()["messages"]
        pause(1)
    names = {scene.server.pid: "parent"}
    names.update(scene.roles())
    return {(name, pid): pss_kib(pid) for pid, name in names.items()
            if name != "store"}


def test(tap):
    """Warm up, measure, run, measure."""
    if not harness.is_root():
        taplib.skip_all("only root can see the memory of the roles")
    if harness.is_sanitized():
        taplib.skip_all("sanitizers keep memory that was freed")
    # Few decisions are remembered, and no mail for its duplicates: else
    # SQLite's cache of 4 MiB for the spool fills with them bit by bit.
    with LoadScene(tap, fronts=2, auth_workers=2, log_level="warning",
                   history_rows=1000, duplicate_window="0") as scene:
        scene.spawn(stderr=subprocess.PIPE, preexec_fn=harness.with_parent)
        scene.log.follow(scene.server.stderr)
        scene.ready()
        traffic = Traffic(scene)
        warm = run(scene, traffic, WARM)
        before = measure(scene)
        done = run(scene, traffic, SESSIONS)
        after = measure(scene)
        tap.equal(set(after), set(before), "no process has ended")
        tap.note("PSS in KiB after %d sessions and after %d more"
                 % (warm, done))
        for who in sorted(before):
            tap.note("%-9s %6d  %6d" % (who[0], before[who],
                                        after.get(who, 0)))
        tap.note("%-9s %6d  %6d" % ("all", sum(before.values()),
                                    sum(after.values())))
        for who in sorted(before):
            tap.ok(after.get(who, 0) <= before[who] + SLACK_KIB,
                   "%s does not grow" % who[0])
        tap.equal(dict(traffic.errors), {}, "no session has failed")
        scene.account(tap, traffic.acknowledged, timeout=120)
        tap.equal(scene.stop(), 0, "the server ends with status 0")


taplib.run(test, deadline=3600 if LONG else 400)
