#!/usr/bin/env python3
"""A DNS server for tests: answers from a table, UDP and TCP, one port.

As a program:

    dns.py [--addr 127.0.0.1] [--port 0] [--ttl 60] RECORD ...

Each RECORD is "NAME TYPE VALUE"; types are A, AAAA, PTR, CNAME, MX ("10
NAME"), TXT.  Instead of TYPE VALUE a word tells how to fail for NAME: SERVFAIL,
REFUSED, DROP (no answer), TRUNCATE (over UDP; the table's answer over TCP).
An address as NAME of a PTR is turned into its reverse name.  Names that are
in no record do not exist (NXDOMAIN); other types of a name that is are empty.

It prints "LISTENING ADDRESS PORT" and runs until SIGTERM.  On SIGUSR1 it
forgets the table and takes "NAME TYPE VALUE" lines from standard input up to
an empty line.

As a class:

    with Dns(["mail.test A 127.0.0.1", "slow.test DROP"]) as dns:
        ... dns.port ...
        dns.set([...])          # another table
        dns.queries             # [(name, type)] so far
"""

import argparse
import ipaddress
import signal
import socket
import struct
import sys
import threading

TYPES = {"A": 1, "CNAME": 5, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28}
NAMES = {v: k for k, v in TYPES.items()}
FAULTS = {"SERVFAIL": 2, "REFUSED": 5, "DROP": None, "TRUNCATE": 0}


def _name(text):
    out = b""
    for label in text.rstrip(".").split("."):
        raw = label.encode("latin-1")
        out += bytes([len(raw)]) + raw if raw else b""
    return out + b"\0"


def _rdata(kind, value):
    if kind in ("A", "AAAA"):
        return ipaddress.ip_address(value).packed
    if kind == "MX":
        number, _, host = value.partition(" ")
        return struct.pack("!H", int(number)) + _name(host)
    if kind == "TXT":
        return bytes([len(value)]) + value.encode("latin-1")
    return _name(value)


class Dns:
    def __init__(self, records=(), addr="127.0.0.1", port=0, ttl=60):
        self.ttl = ttl
        self.lock = threading.Lock()
        self.queries = []
        self.set(records)
        family = socket.AF_INET6 if ":" in addr else socket.AF_INET
        self.tcp = socket.socket(family, socket.SOCK_STREAM)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind((addr, port))
        self.tcp.listen(16)
        self.addr, self.port = self.tcp.getsockname()[:2]
        self.udp = socket.socket(family, socket.SOCK_DGRAM)
        self.udp.bind((addr, self.port))
        self.stopping = False
        self.threads = [threading.Thread(target=t, daemon=True)
                        for t in (self._serve_udp, self._serve_tcp)]
        for t in self.threads:
            t.start()

    def set(self, records):
        table, faults = {}, {}
        for record in records:
            words = record.split(None, 2)
            name = words[0].lower().rstrip(".")
            if len(words) == 3 and words[1] == "PTR":
                try:
                    name = ipaddress.ip_address(name).reverse_pointer
                except ValueError:
                    pass
            if words[1] in FAULTS:
                faults[name] = words[1]
            else:
                table.setdefault(name, {}).setdefault(
                    words[1], []).append(words[2])
        with self.lock:
            self.table, self.faults = table, faults

    def _find(self, name, kind):
        """(rcode, [(owner, type, value)]), following CNAMEs."""
        answers = []
        for _ in range(8):
            rows = self.table.get(name)
            if rows is None:
                return (0 if answers else 3), answers
            if kind in rows:
                return 0, answers + [(name, kind, v) for v in rows[kind]]
            if "CNAME" not in rows:
                return 0, answers
            target = rows["CNAME"][0].lower().rstrip(".")
            answers.append((name, "CNAME", target))
            name = target
        return 2, []

    def answer(self, query, udp):
        """The reply to a query, None to stay silent."""
        if len(query) < 17:
            return None
        labels, at = [], 12
        while at < len(query) and query[at]:
            labels.append(query[at + 1:at + 1 + query[at]])
            at += 1 + query[at]
        question = query[12:at + 5]
        number = struct.unpack("!H", query[at + 1:at + 3])[0]
        name = b".".join(labels).decode("latin-1").lower()
        kind = NAMES.get(number, str(number))
        with self.lock:
            self.queries.append((name, kind))
            fault = self.faults.get(name)
            rcode, answers = self._find(name, kind)
        flags = 0x8180
        if fault == "DROP":
            return None
        if fault == "TRUNCATE":
            flags |= 0x0200 if udp else 0
            answers = [] if udp else answers
        elif fault:
            rcode, answers = FAULTS[fault], []
        out = query[:2] + struct.pack("!HHHHH", flags | rcode, 1,
                                      len(answers), 0, 0) + question
        for owner, owner_kind, value in answers:
            data = _rdata(owner_kind, value)
            out += _name(owner) + struct.pack(
                "!HHIH", TYPES[owner_kind], 1, self.ttl, len(data)) + data
        return out

    def _serve_udp(self):
        while True:
            try:
                query, peer = self.udp.recvfrom(4096)
            except OSError:
                return
            if self.stopping:
                return
            reply = self.answer(query, True)
            if reply is not None:
                try:
                    self.udp.sendto(reply, peer)
                except OSError:
                    pass

    def _serve_tcp(self):
        while True:
            try:
                sock, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._session, args=(sock,),
                             daemon=True).start()

    def _session(self, sock):
        with sock, sock.makefile("rb") as f:
            while True:
                try:
                    head = f.read(2)
                    query = f.read(struct.unpack("!H", head)[0])
                    reply = self.answer(query, False)
                    if reply is not None:
                        sock.sendall(struct.pack("!H", len(reply)) + reply)
                except (OSError, struct.error):
                    return

    def stop(self):
        self.stopping = True
        try:
            self.tcp.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        # a datagram ends the wait that closing would not
        family = self.udp.family
        with socket.socket(family, socket.SOCK_DGRAM) as poke:
            poke.sendto(b"", (self.addr, self.port))
        for t in self.threads:
            t.join(5)
        self.tcp.close()
        self.udp.close()

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.stop()


def main():
    p = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--addr", default="127.0.0.1")
    p.add_argument("--port", type=int, default=0)
    p.add_argument("--ttl", type=int, default=60)
    p.add_argument("records", nargs="*")
    a = p.parse_args()
    signals = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with Dns(a.records, a.addr, a.port, a.ttl) as dns:
        print("LISTENING %s %d" % (dns.addr, dns.port), flush=True)
        while signal.sigwait(signals) == signal.SIGUSR1:
            dns.set(iter(lambda: sys.stdin.readline().strip(), ""))
            print("TAKEN", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
