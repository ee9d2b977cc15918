#!/usr/bin/python3 -B
"""TLS sessions are resumed: at any front, after a reload, after a front has
died; not with a client certificate, not after ticket_lifetime, not if the
server's certificate was renewed."""

import os
import ssl
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from scene import Scene

TRIES = 60  # of 2 fronts, one does not come up in 60 tries: once in 2^60


class Client:
    """A client that keeps its TLS session, as mail programs do."""

    def __init__(self, scene, version, device=None):
        self.scene = scene
        self.context = scene.tls_context(device)
        self.context.minimum_version = version
        self.context.maximum_version = version
        self.session = None

    def visit(self):
        """One connection; was it resumed, and which front was it?"""
        sock = harness.socket.create_connection(
            ("127.0.0.1", self.scene.tls_port), 30)
        port = sock.getsockname()[1]
        mark = self.scene.log.mark()
        with self.context.wrap_socket(sock, server_hostname="localhost",
                                      session=self.session) as tls:
            tls.recv(100)  # the greeting; TLS 1.3 tickets come before it
            resumed = tls.session_reused
            self.session = tls.session
            tls.sendall(b"QUIT\r\n")
            while tls.recv(100):
                continue
        line = self.scene.log.wait(mark, ev="session", port=str(port))
        return resumed, line["sid"][:6]


VERSIONS = (("TLS 1.2", ssl.TLSVersion.TLSv1_2),
            ("TLS 1.3", ssl.TLSVersion.TLSv1_3))


def at_every_front(tap, scene):
    """Who has a ticket of one front is known to the other, too."""
    for name, version in VERSIONS:
        client = Client(scene, version)
        first, front = client.visit()
        tap.ok(not first, name + ": the first visit is a full handshake")
        visits = [client.visit()]
        while len({f for _, f in visits}) < 2 and len(visits) < TRIES:
            visits.append(client.visit())
        tap.ok(any(f != front for _, f in visits),
               name + ": the other front was seen")
        tap.ok(all(resumed for resumed, _ in visits),
               name + ": all others are resumed, at both")


def after_a_reload(tap, scene):
    """The next set has the same keys."""
    for name, version in VERSIONS:
        client = Client(scene, version)
        client.visit()
        mark = scene.log.mark()
        scene.reload()
        scene.log.wait(after=mark, ev="reload", result="ok")
        scene.settled()
        tap.ok(client.visit()[0], name + ": resumed after a reload")


def after_a_death(tap, scene):
    """So has a front that was started again."""
    for name, version in VERSIONS:
        client = Client(scene, version)
        client.visit()
        scene.kill("front")
        tap.ok(client.visit()[0], name + ": resumed after the fronts died")


def after_a_renewal(tap, scene):
    """Who was shown the old certificate must see the new one: a login could
    not be bound to the session otherwise (tls-server-end-point)."""
    clients = [(name, Client(scene, version)) for name, version in VERSIONS]
    for name, client in clients:
        client.visit()
        tap.ok(client.visit()[0], name + ": resumed before a renewal")
    mark = scene.log.mark()
    scene.old_fronts = scene.pids("front")
    scene.install_certificate(scene.ca.issue(
        "renewed", "mail.play.example", "DNS:localhost,IP:127.0.0.1"))
    scene.log.wait(after=mark, ev="renewal", result="ok")
    scene.settled()
    for name, client in clients:
        tap.ok(not client.visit()[0],
               name + ": a full handshake after a renewal")
        tap.ok(client.visit()[0], name + ": then resumed again")


def with_certificate(tap, scene):
    """Revocation and expiry are looked at each time."""
    for name, version in VERSIONS:
        client = Client(scene, version, scene.laptop)
        visits = [client.visit()[0] for _ in range(4)]
        tap.equal(visits, [False] * 4,
                  name + ": with a client certificate it never is")


def lifetime(tap, scene):
    """Keys that are too old are gone."""
    for value in ("1s", "0"):
        mark = scene.log.mark()
        scene.configure(ticket_lifetime=value)
        scene.reload()
        scene.log.wait(after=mark, ev="reload", result="ok")
        scene.settled()
        client = Client(scene, ssl.TLSVersion.TLSv1_3)
        client.visit()
        old = client.session
        if value == "0":
            tap.ok(not old.has_ticket, "a lifetime of 0: there is no ticket")
            continue
        tap.ok(old.has_ticket, "a lifetime of 1 s: there is a ticket")
        tap.equal(old.ticket_lifetime_hint, 1, "and it says so")
        end = harness.time.monotonic() + 20
        while client.visit()[0] and harness.time.monotonic() < end:
            client.session = old  # and not the one that was just renewed
        client.session = old
        tap.ok(not client.visit()[0], "it is not good for ever")


def test(tap):
    """All with one server."""
    with Scene(tap, smarthost=False, fronts=2) as scene:
        scene.route_to(harness.free_port())
        scene.start()
        for part in (at_every_front, after_a_reload, after_a_death,
                     after_a_renewal, with_certificate, lifetime):
            part(tap, scene)
        tap.equal(scene.stop(), 0, "the server ends with status 0")


taplib.run(test)
