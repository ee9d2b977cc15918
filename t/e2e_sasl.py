#!/usr/bin/python3 -B
"""Other implementations of SASL log in: GNU SASL's command, with channel
bindings, and Cyrus SASL's sample client. Both must take our server's proof."""

import base64
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib
from scene import PASSWORD, Scene


def reply(code_and_text):
    """A reply as one text."""
    code, text = code_and_text
    return "%d %s" % (code, text.decode().replace("\n", " "))


# ---- GNU SASL ----

class Introducer:
    """gsasl says STARTTLS without EHLO; this says EHLO for it."""

    def __init__(self, port):
        self.port = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.here = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.port), 30)
            greeting = self._line(server)
            server.sendall(b"EHLO laptop\r\n")
            while self._line(server)[3:4] != b" ":
                continue
            client.sendall(greeting)
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=pair,
                                 daemon=True).start()

    @staticmethod
    def _line(sock):
        line = b""
        while not line.endswith(b"\n"):
            line += sock.recv(1)
        return line

    @staticmethod
    def _pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


# mechanism, TLS, how the first message begins
GNU = (
    ("SCRAM-SHA-256-PLUS", "1.2", "^p=tls-unique,,n=ann,"),
    ("SCRAM-SHA-256-PLUS", "1.3", "^p=tls-exporter,,n=ann,"),
    ("SCRAM-SHA-256", "1.3", "^n,,n=ann,"),
    ("SCRAM-SHA-1-PLUS", "1.3", "^p=tls-exporter,,n=ann,"),
    ("SCRAM-SHA-1", "1.3", "^n,,n=ann,"),
    ("PLAIN", "1.3", "^\0ann\0"),
    ("LOGIN", "1.3", "^ann$"),
)


def gsasl(scene, between, mechanism, version, password):
    """What the command prints."""
    return subprocess.run(
        ("gsasl", "--smtp", "--connect", "localhost:%d" % between.here,
         "--starttls", "--x509-ca-file", scene.ca.cert, "--priority",
         "NORMAL:-VERS-ALL:+VERS-TLS" + version, "-m", mechanism, "-a", "ann",
         "-p", password, "--verbose")
        + (() if mechanism.endswith("PLUS") else ("--no-cb",)), input="", text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
        check=False).stdout


def gnu_sasl(tap, scene):
    """Each mechanism with the right password and a wrong one."""
    between = Introducer(scene.port)
    for mechanism, version, begins in GNU:
        name = "gsasl, TLS %s, %s" % (version, mechanism)
        mark = scene.log.mark()
        said = gsasl(scene, between, mechanism, version, PASSWORD)
        tap.like(said, r"235 2\.7\.0", name)
        first = said[said.index("AUTH " + mechanism):].splitlines()[1:]
        lines = [base64.b64decode(line).decode("latin1") for line in first
                 if re.match(r"[A-Za-z0-9+/]{4,}=*$", line)]
        tap.ok(any(re.match(begins, line) for line in lines),
               name + ": its first message", lines)
        event = scene.log.wait(mark, ev="auth")
        tap.equal((event["mech"], event["result"]), (mechanism, "ok"),
                  name + ": logged")
        tap.like(gsasl(scene, between, mechanism, version, "wrong"),
                 r"535 5\.7\.8", name + ": a wrong password")
    between.listener.close()


# ---- Cyrus SASL ----

class Sample:
    """sasl-sample-client, which asks for a password at a terminal."""

    def __init__(self, mechanism, password):
        self.password = password
        self.seen = ""
        self.content = False
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp("sasl-sample-client",
                      ("sasl-sample-client", "-m", mechanism, "-s", "smtp",
                       "-n", "mail.play.example", "-a", "ann", "-u", "ann",
                       "-e", "ssf=256", "-l"))

    def until(self, pattern, timeout=20):
        """Reads until the pattern comes, and cuts there; the match."""
        end = time.monotonic() + timeout
        while True:
            asked = re.search("(?i)password: ?$", self.seen)
            if asked:
                self.seen = self.seen[:asked.start()]
                self.write(self.password)
            found = re.search(pattern, self.seen)
            if found:
                self.seen = self.seen[found.end():]
                return found
            ready, _, _ = select.select([self.fd], [], [],
                                        max(0, end - time.monotonic()))
            if not ready:
                raise TimeoutError("sasl-sample-client: " + self.seen)
            self.seen += os.read(self.fd, 65536).decode("latin1")

    def write(self, line):
        """A line to it; the terminal shows it again."""
        os.write(self.fd, line.encode() + b"\n")

    def server_says(self, data):
        """A challenge, in the notation it takes."""
        self.write("S: " + base64.b64encode(data).decode())

    def client_says(self):
        """What it sends; nothing once it is content with the server."""
        found = self.until(
            r"(?m)^C: ([A-Za-z0-9+/=]*)\r\n|^Negotiation complete\r\n")
        if found[1] is None:
            self.content = True
        return base64.b64decode(found[1] or "")

    def close(self):
        """Ends it."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def converse(session, mechanism, client):
    """Carries lines to and fro; the last reply."""
    client.server_says(mechanism.encode())
    # what it sends first is the mechanism, and the initial response behind
    # a NUL
    name, nul, initial = client.client_says().partition(b"\0")
    line = name.decode()
    if nul:
        line += " " + (base64.b64encode(initial).decode() or "=")
    got = session.docmd("AUTH", line)
    while got[0] == 334:
        client.server_says(base64.b64decode(got[1]))
        got = session.docmd(base64.b64encode(client.client_says()).decode())
    return reply(got)


def cyrus(tap, scene):
    """Each mechanism with the right password and a wrong one."""
    for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"):
        for password, want in ((PASSWORD, "^235 2.7.0"),
                               ("wrong", "^535 5.7.8")):
            client = Sample(mechanism, password)
            mark = scene.log.mark()
            try:
                with scene.tls_session() as session:
                    said = converse(session, mechanism, client)
            finally:
                client.close()
            name = "sasl-sample-client, %s, %s" % (
                mechanism, "right" if password == PASSWORD else "wrong")
            tap.like(said, want, name)
            if mechanism.startswith("SCRAM"):
                tap.equal(client.content, password == PASSWORD,
                          name + ": the server's proof")
            event = scene.log.wait(mark, ev="auth")
            tap.equal(event["mech"], mechanism, name + ": logged")


def test(tap):
    """One server that offers all."""
    with Scene(tap, smarthost=False, auth_fail_delay="5ms",
               throttle_exempt="127.0.0.1", mechanisms=(
                   "SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS "
                   "SCRAM-SHA-1 PLAIN LOGIN")) as scene:
        # a password that is set now has a record of SHA-1, too
        scene.submitctl("user", "passwd", "ann", "--password-stdin",
                        given=PASSWORD + "\n")
        scene.route_to(9)
        scene.start()
        gnu_sasl(tap, scene)
        cyrus(tap, scene)
        tap.equal(scene.stop(), 0, "ends with status 0")


for program, package in (("gsasl", "gsasl"),
                         ("sasl-sample-client", "sasl2-bin")):
    if not taplib.has_program(program):
        taplib.skip_all("%s is not installed (package %s)" % (program,
                                                              package))
taplib.run(test)
