#!/usr/bin/python3 -B
"""Where secrets are in memory: the private keys, the smarthost's password and
a client's password are looked for in the memory of every process, byte by
byte. They may be in few roles, and there only in memory that is locked and
left out of dumps."""

import base64
import os
import re
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from scene import PASSWORD, Scene, message

SMARTHOST_PASSWORD = "sesame-0Ff-6c7e1d"
MAP = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)")
HEX = re.compile(r"([\w ]+):\n((?:    [0-9a-f:]+\n)+)")


def numbers(key):
    """The secret numbers of a key file: {name: bytes}."""
    text = subprocess.run(("openssl", "pkey", "-in", key, "-noout", "-text"),
                          stdout=subprocess.PIPE, check=True).stdout.decode()
    found = {name: bytes.fromhex(re.sub(r"[\s:]", "", digits)).lstrip(b"\0")
             for name, digits in HEX.findall(text)}
    return {name: number for name, number in found.items()
            if name in ("priv", "privateExponent", "prime1", "prime2")}


def key_patterns(key):
    """What would show a key: its text, its numbers in both byte orders."""
    with open(key, encoding="ascii") as f:
        lines = f.read().split("\n")
    patterns = {"text": lines[len(lines) // 2 - 1].encode()}
    if len(patterns["text"]) < 40:
        patterns["text"] = lines[1].encode()
    for name, number in numbers(key).items():
        patterns[name] = number
        patterns[name + " reversed"] = number[::-1]
    return patterns


def regions(pid):
    """Writable memory: (begin, end, whether it is locked and not dumped)."""
    found, place = [], None
    with open("/proc/%d/smaps" % pid, encoding="ascii") as f:
        for line in f:
            match = MAP.match(line)
            if match:
                place = (int(match[1], 16), int(match[2], 16), match[3])
            elif line.startswith("VmFlags:") and "w" in place[2]:
                flags = line.split()
                found.append(place[:2] + ("lo" in flags and "dd" in flags,))
    return found


def search(pid, patterns):
    """{pattern: set of places, "kept" or "common"}."""
    found = {}
    with open("/proc/%d/mem" % pid, "rb", buffering=0) as mem:
        for begin, end, kept in regions(pid):
            mem.seek(begin)
            try:
                data = mem.read(end - begin)
            except OSError:  # the kernel's own pages
                continue
            for name, wanted in patterns.items():
                if wanted in data:
                    found.setdefault(name, set()).add(
                        "kept" if kept else "common")
    return found


def look(tap, scene, secrets, where):
    """Looks for each secret in each process; where: {secret: roles}."""
    processes = {**scene.lasting(), scene.server.pid: "parent"}
    for secret, patterns in secrets.items():
        for pid, role in sorted(processes.items(), key=lambda p: p[1]):
            found = search(pid, patterns)
            if role in where[secret]:
                tap.ok(found, "%s: %s has it" % (secret, role))
            places = set().union(*found.values()) if found else set()
            tap.ok(places <= ({"kept"} if role in where[secret] else set()),
                   "%s: %s %s" % (secret, role, "keeps it well"
                                  if role in where[secret] else
                                  "does not have it"), found)


def kind_of_key(tap, rsa):
    """One server, in which each secret has been in use."""
    with Scene(tap) as scene:
        server = scene.ca.issue("other-server", "mail.play.example",
                                "DNS:localhost,IP:127.0.0.1", rsa=rsa)
        client = scene.ca.issue("client", "client.play.example", rsa=rsa)
        second = scene.ca.issue("second-server", "other.play.example",
                                "DNS:other.play.example", rsa=rsa)
        scene.install_certificate(server)
        scene.configure(certificate=[{"cert": second.cert,
                                      "key": second.key}])
        with open(scene.path("certs/smarthost-password"), "w",
                  encoding="ascii", opener=lambda p, f: os.open(p, f, 0o600)
                  ) as f:
            f.write(SMARTHOST_PASSWORD + "\n")
        scene.new_smarthost(auth="relay:" + SMARTHOST_PASSWORD)
        scene.route_to(scene.smarthost.port, user="relay", client_cert=True,
                       password_file="smarthost-password")
        scene.configure(client_cert=client.cert, client_key=client.key)
        scene.start()
        for token in ("one", "two"):
            scene.send(message(token), password=PASSWORD)
            scene.delivered(token)
        context = scene.tls_context()
        sock = socket.create_connection(("127.0.0.1", scene.tls_port), 30)
        with context.wrap_socket(
                sock, server_hostname="other.play.example") as tls:
            tls.recv(100)
        # Other lines have passed where the password was.
        with scene.tls_session() as session:
            session.noop()
        secrets = {
            "server's key": key_patterns(server.key),
            "second key": key_patterns(second.key),
            "client's key": key_patterns(client.key),
            "smarthost's password": {"text": SMARTHOST_PASSWORD.encode()},
            "ann's password": {
                "text": PASSWORD.encode(),
                "as sent": base64.b64encode(b"\0ann\0" + PASSWORD.encode())},
        }
        look(tap, scene, secrets, {
            "server's key": ("parent", "front"),
            "second key": ("parent", "front"),
            "client's key": ("parent", "relay"),
            "smarthost's password": ("parent", "relay"),
            "ann's password": (),
        })


def test(tap):
    for rsa in (False, True):
        tap.note("keys: RSA" if rsa else "keys: P-256")
        kind_of_key(tap, rsa)


if not harness.is_root():
    taplib.skip_all("needs root to read the memory of the roles")
if harness.is_sanitized():
    taplib.skip_all("the sanitizers keep copies of what was freed")
taplib.run(test)
