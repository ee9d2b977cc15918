#!/usr/bin/python3 -B
"""The client's name: from the reverse DNS and back, remembered for who comes
again soon, and waited for no longer than name_timeout."""

import os
import smtplib
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib
from dns import Dns
from scene import PASSWORD, Scene

RECORDS = (
    "192.0.2.11 PTR laptop.example", "laptop.example A 192.0.2.11",
    "192.0.2.12 PTR forged.example", "forged.example A 198.51.100.1",
)
SILENT = "14.2.0.192.in-addr.arpa"


class Passed(smtplib.SMTP):
    """A session that a balancer passes on: any client's address will do."""

    def __init__(self, port, addr):
        self.head = b"PROXY TCP4 %s 203.0.113.9 5000 587\r\n" % addr.encode()
        super().__init__("127.0.0.1", port, "laptop", timeout=30)

    def _get_socket(self, host, port, timeout):
        sock = super()._get_socket(host, port, timeout)
        sock.sendall(self.head)
        return sock


def named(scene, addr):
    """Logs in from an address; the name in the session's line."""
    mark = scene.log.mark()
    with Passed(scene.port, addr) as session:
        session.starttls(context=scene.tls_context())
        session.login("ann", PASSWORD)
    return scene.log.wait(mark, ev="session", addr=addr)["name"]


def test(tap):
    """One server with a DNS server of its own."""
    with Dns(RECORDS + (SILENT + " DROP",), ttl=0) as dns, \
            Scene(tap, resolver="127.0.0.1@%d" % dns.port, fronts=1,
                  proxy_networks="127.0.0.1", name_timeout="5s") as scene:
        scene.start()
        tap.equal(named(scene, "192.0.2.11"), "laptop.example",
                  "a name that leads back to the address")
        asked = len(dns.queries)
        tap.ok(asked >= 2, "DNS was asked, there and back", dns.queries)
        dns.set(())
        tap.equal(named(scene, "192.0.2.11"), "laptop.example",
                  "who comes again soon has the same name")
        tap.equal(len(dns.queries), asked, "and DNS is not asked for it")
        dns.set(RECORDS + (SILENT + " DROP",))
        for addr, why in (("192.0.2.12", "leads elsewhere"),
                          ("192.0.2.13", "does not exist"),
                          ("192.0.2.14", "does not come in time")):
            tap.ok(named(scene, addr) in ("-", ""),
                   "a name that %s is none" % why)
        tap.equal(scene.stop(), 0, "the server ends with status 0")


taplib.run(test)
