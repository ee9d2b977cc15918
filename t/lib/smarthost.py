#!/usr/bin/env python3
"""A smarthost for tests: SMTP over TLS that hears, remembers and misbehaves.

As a program:

    smarthost.py --dir DIR [--certs DIR [--cert-kind KIND] | --cert F --key F]
                 [--addr 127.0.0.1] [--port 0] [options]

It prints "LISTENING ADDRESS PORT" once it serves and runs until SIGTERM.
With --make-certs DIR alone it makes the certificates (see make_certs) and
ends.

As a class:

    from smarthost import Smarthost, make_certs
    certs = make_certs("/tmp/x/certs", name="mail.test")
    with Smarthost("/tmp/x/sh", certs["good"]) as sh:
        ... sh.port ...
        sh.wait_messages(2, timeout=10)
        sh.messages[0]["data"]

What is kept, in the object and (the same) in DIR:

    messages    a dict for each message taken: number, conn, from, mail_params,
                rcpts, rcpt_params, data (bytes as sent by the client, dots
                unstuffed, with the last CRLF), user, tls, cipher, sni,
                client_cert (SHA-256 or ""), reply ("" when it was dropped)
                DIR/msg-NNNNNN.eml (data) and DIR/msg-NNNNNN.json (the rest)
    heard       [(conn, under_tls, bytes)] everything the client said as SMTP,
                one entry for each read
                DIR/heard.jsonl: {"conn", "tls", "text"} (latin-1)
    raw         {conn: bytes} as they came from the socket, ciphertext too
                DIR/raw-N.bin
    commands    [(conn, under_tls, line)] the lines taken as commands
    (hang)      DIR/hung-STAGE once somebody is left waiting, by --hold too
    violations  what the client did wrong: a bare LF, commands in a group
                where PIPELINING was not offered, bytes behind STARTTLS,
                a command in clear other than EHLO, STARTTLS, QUIT, a parameter
                of an extension or bytes above 127 that were not offered, more
                than LIMITS allows, DATA after BODY=BINARYMIME
    connections, tls_errors (texts), handshakes

Options (class: keyword of the same name with "_"):

    --implicit            TLS from the first byte
    --no-starttls         do not offer it (and refuse it)
    --cert-kind KIND      one of make_certs's names; default good
    --auth USER:PASSWORD  offer AUTH PLAIN under TLS and demand it
    --client-ca FILE      ask for a client certificate of this CA
    --require-client-cert
    --tls-max 1.2
    --no-pipelining, --no-8bitmime, --no-enhanced, --chunking, --size N
    --ehlo KEYWORD        a further line of the EHLO reply (repeatable): DSN,
                          BINARYMIME, SMTPUTF8, REQUIRETLS, "DELIVERBY 60",
                          MT-PRIORITY, "LIMITS RCPTMAX=2 MAILMAX=5"
    --name NAME           in greeting and EHLO reply
    --refuse STAGE[#K][/N]=REPLY   answer with REPLY, from the K-th time on and
                          N times, if given; "\\n" in it makes a reply of
                          several lines; 421 closes the connection behind it
    --drop STAGE[#K][/N]  close instead of answering; at dot the message is
                          kept first, as if only the reply had been lost
    --hang STAGE[#K][/N]  never answer; wait until the client leaves
    --hold STAGE[#K][/N]  answer when SIGUSR1 comes (class: go.set())
    --inject TEXT         send TEXT right behind the 220 of STARTTLS
    --trickle             send replies one byte at a time

Stages: connect (the greeting), ehlo (in clear), starttls, handshake (drop and
hang only), ehlo-tls, auth, mail, rcpt, rcpt:ADDRESS, data, dot (also of BDAT
LAST), bdat (other chunks), bdat-unknown (refuse only: the command is answered
and the chunk taken for commands), rset, quit.  A running Smarthost takes set(refuse={...}, drop=..., hang=...), each a
dict or list as of the constructor: {"rcpt:a@b.c": "550 no", "dot/1": "451 x"}.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import signal
import socket
import ssl
import sys
import threading
import time

from certs import CA
from tap import SLOW

def make_certs(folder, name="localhost", addrs=("127.0.0.1", "::1")):
    """Makes a CA and the certificates a test needs, once: {kind: (cert, key)}.

    good, wrong-name, expired, self-signed (right name), other-ca (right name,
    foreign CA), no-san (the name as CN only), client (good for a client), and
    ca, the CA that signed them all except the two its name excludes.
    """
    kinds = ("ca", "good", "wrong-name", "expired", "self-signed", "other-ca",
             "no-san", "client")
    out = {k: tuple(os.path.join(folder, k + e) for e in (".pem", ".key"))
           for k in kinds}
    done = os.path.join(folder, "made-for")
    want = " ".join((name,) + tuple(addrs))
    try:
        with open(done, encoding="utf-8") as f:
            if f.read() == want:
                return out
    except OSError:
        pass
    san = ",".join(["DNS:" + name] + ["IP:" + a for a in addrs])
    ca, other = CA(folder, "test CA"), CA(folder, "foreign CA", "foreign")
    ca.issue("good", name, san)
    ca.issue("wrong-name", name, "DNS:elsewhere.invalid")
    ca.issue("expired", name, san, days=-1)
    ca.self_signed("self-signed", name, san)
    other.issue("other-ca", name, san)
    ca.issue("no-san", name, "email:postmaster@" + name)
    ca.issue("client", "client", "DNS:client.test")
    with open(done, "w", encoding="utf-8") as f:
        f.write(want)
    return out


class Gone(Exception):
    """The client left, or the script says that the connection ends."""


class Wire:
    """One connection: bytes in and out, in clear or through a MemoryBIO."""

    def __init__(self, host, sock, number):
        self.host, self.sock, self.number = host, sock, number
        self.tls = None
        self.buf = b""
        self.sni = ""

    def raw(self):
        try:
            data = self.sock.recv(65536)
        except OSError as e:
            raise Gone(str(e)) from e
        self.host.record_raw(self.number, data)
        return data

    def _flush(self):
        data = self.out_bio.read()
        if data:
            self._send(data)

    def _send(self, data):
        try:
            if self.host.trickle and self.tls is None:
                for i in range(len(data)):
                    self.sock.sendall(data[i:i + 1])
            else:
                self.sock.sendall(data)
        except OSError as e:
            raise Gone(str(e)) from e

    def _tls_failed(self, error):
        with self.host.cond:
            self.host.tls_errors.append(str(error))
            self.host.cond.notify_all()
        raise Gone("TLS: %s" % error) from error

    def start_tls(self):
        self.in_bio, self.out_bio = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.host.context.wrap_bio(self.in_bio, self.out_bio,
                                         server_side=True)
        tls.wire = self  # for the SNI callback
        done = False
        while not done:
            try:
                tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                self._flush()
                data = self.raw()
                if not data:
                    raise Gone("closed in the handshake") from None
                self.in_bio.write(data)
            except ssl.SSLError as e:
                self._flush()
                self._tls_failed(e)
        self.tls = tls
        self._flush()
        with self.host.cond:
            self.host.handshakes += 1
            self.host.cond.notify_all()

    def read(self):
        """Some bytes more; raises Gone at the end."""
        if self.tls is None:
            data = self.raw()
        else:
            data = self._read_tls()
        if not data:
            raise Gone("closed")
        self.host.record_heard(self.number, self.tls is not None, data)
        self.buf += data

    def _read_tls(self):
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLWantReadError:
                self._flush()
                data = self.raw()
                if not data:
                    return b""
                self.in_bio.write(data)
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""
            except ssl.SSLError as e:
                self._tls_failed(e)

    def line(self):
        while b"\n" not in self.buf:
            self.read()
        line, self.buf = self.buf.split(b"\n", 1)
        if line.endswith(b"\r"):
            return line[:-1].decode("latin-1")
        self.host.violation("bare LF in a command: %r" % line)
        return line.decode("latin-1")

    def write(self, text):
        data = text.replace("\n", "\r\n").encode("latin-1") + b"\r\n"
        if self.tls is None:
            self._send(data)
            return
        step = 1 if self.host.trickle else len(data)
        for i in range(0, len(data), step):
            self.tls.write(data[i:i + step])
            self._flush()

    def close(self):
        try:
            if self.tls is not None:
                try:
                    self.tls.unwrap()
                except ssl.SSLError:
                    pass
                self._flush()
        except Gone:
            pass
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()


# What a parameter of MAIL or RCPT needs.
PARAMETERS = {"SIZE": "SIZE", "BODY=7BIT": "8BITMIME",
              "BODY=8BITMIME": "8BITMIME", "BODY=BINARYMIME": "BINARYMIME",
              "SMTPUTF8": "SMTPUTF8", "RET": "DSN", "ENVID": "DSN",
              "REQUIRETLS": "REQUIRETLS", "BY": "DELIVERBY",
              "MT-PRIORITY": "MT-PRIORITY", "AUTH": "AUTH",
              "NOTIFY": "DSN", "ORCPT": "DSN"}


class Session:
    """The dialogue on one wire."""

    def __init__(self, host, wire):
        self.host, self.wire = host, wire
        self.user = ""
        self.authed = False
        self.offered, self.limits = set(), {}
        self.mails, self.domains = 0, set()
        self.odd = False
        self.reset()

    def reset(self):
        self.sender = None
        self.mail_params = ""
        self.rcpts, self.rcpt_params = [], []
        self.said = 0
        self.chunks = []

    def answer(self, stages, reply):
        """Sends reply unless the script has another for one of stages."""
        for stage in stages:
            if self.host.take("drop", stage) is not None:
                raise Gone("script")
            if self.host.take("hang", stage) is not None:
                self.host.note_hang(stage)
                while True:
                    self.wire.read()
            if self.host.take("hold", stage) is not None:
                self.host.note_hang(stage)
                self.host.go.wait()
            text = self.host.take("refuse", stage)
            if text is not None:
                self.wire.write(text)
                if text.startswith("421"):
                    raise Gone("421")
                return False
        self.wire.write(reply)
        return True

    def run(self):
        if self.host.implicit:
            self.handshake()
        if not self.answer(["connect"], "220 %s ESMTP" % self.host.name):
            self.deaf()
        while True:
            line = self.wire.line()
            self.host.record_command(self.wire, line)
            verb, _, arg = line.partition(" ")
            verb = verb.upper()
            grouped = ("MAIL", "RCPT", "RSET")
            if verb == "BDAT" or self.odd:
                pass  # its bytes are part of it, or taken for commands
            elif self.wire.buf and verb not in grouped:
                self.host.violation("bytes behind " + verb)
            elif self.wire.buf and not self.host.pipelining:
                self.host.violation("group without PIPELINING")
            if self.wire.tls is None and verb not in (
                    "EHLO", "HELO", "STARTTLS", "QUIT"):
                self.host.violation("%s in clear" % verb)
            do = getattr(self, "do_" + verb.lower(), None)
            if do is None:
                self.wire.write("500 5.5.1 what is %s?" % verb)
            else:
                do(arg)

    def deaf(self):
        """After a refused greeting only QUIT is heard."""
        while True:
            if self.wire.line().upper() == "QUIT":
                self.do_quit("")
            self.wire.write("503 5.5.1 refused")

    def handshake(self):
        if self.host.take("drop", "handshake") is not None:
            raise Gone("script")
        if self.host.take("hang", "handshake") is not None:
            self.host.note_hang("handshake")
            while self.wire.raw():  # ciphertext: not what was said
                pass
            raise Gone("closed")
        self.wire.start_tls()

    def do_ehlo(self, _arg):
        tls = self.wire.tls is not None
        h, words = self.host, [self.host.name]
        words += ["PIPELINING"] if h.pipelining else []
        words += ["8BITMIME"] if h.eightbitmime else []
        words += ["ENHANCEDSTATUSCODES"] if h.enhanced else []
        words += ["SIZE %d" % h.size] if h.size is not None else []
        words += ["CHUNKING"] if h.chunking else []
        words += ["STARTTLS"] if h.starttls and not tls else []
        words += ["AUTH PLAIN"] if h.auth and tls else []
        words += h.ehlo
        self.offered = {w.split(" ")[0] for w in words[1:]}
        self.limits = dict(w.split("=") for word in words
                           if word.startswith("LIMITS ")
                           for w in word.split(" ")[1:])
        text = "\n".join("250-" + w for w in words[:-1])
        text = (text + "\n" if text else "") + "250 " + words[-1]
        self.reset()
        self.answer(["ehlo-tls" if tls else "ehlo"], text)

    do_helo = do_ehlo

    def do_starttls(self, _arg):
        if not self.host.starttls or self.wire.tls is not None:
            self.wire.write("502 5.5.1 STARTTLS is not offered")
            return
        reply = "220 2.0.0 go"
        if self.host.inject:
            reply += "\n" + self.host.inject
        if not self.answer(["starttls"], reply):
            return
        self.handshake()
        self.user, self.authed = "", False
        self.reset()

    def do_auth(self, arg):
        words = arg.split(" ")
        if words[0].upper() != "PLAIN" or self.wire.tls is None:
            self.wire.write("504 5.5.4 PLAIN only, under TLS")
            return
        if len(words) < 2:
            self.wire.write("334 ")
            words.append(self.wire.line())
        try:
            _, user, password = base64.b64decode(
                words[1], validate=True).split(b"\0")
        except ValueError:
            self.wire.write("501 5.5.2 bad base64")
            return
        want = (self.host.auth or "").encode()
        if not hmac.compare_digest(user + b":" + password, want):
            self.answer(["auth"], "535 5.7.8 wrong user or password")
        elif self.answer(["auth"], "235 2.7.0 welcome"):
            self.user, self.authed = user.decode("latin-1"), True

    @staticmethod
    def path(arg, word):
        head, _, rest = arg.partition(":")
        rest = rest.lstrip()
        if head.upper() != word or not rest.startswith("<"):
            return None, ""
        end = rest.find("> ")  # AUTH=<> ends with a bracket, too
        end = rest.rfind(">") if end < 0 else end
        return rest[1:end], rest[end + 1:].strip()

    def over_limit(self, name, count):
        if count > int(self.limits.get(name, count)):
            self.host.violation("%s: %d" % (name, count))

    def check(self, address, params):
        """What was said was offered."""
        for param in params.upper().split():
            key = param.partition("=")[0]
            needs = PARAMETERS.get(param if key == "BODY" else key, "?")
            if needs not in self.offered:
                self.host.violation("%s without %s" % (param, needs))
        utf8 = "SMTPUTF8" in (params + " " + self.mail_params).split()
        if not (address + params).isascii() and not utf8:
            self.host.violation("%r without SMTPUTF8" % address)

    def do_mail(self, arg):
        self.mails += 1
        self.over_limit("MAILMAX", self.mails)
        if self.host.auth and not self.authed:
            self.wire.write("530 5.7.0 authenticate first")
            return
        if self.sender is not None:
            self.wire.write("503 5.5.1 nested MAIL")
            return
        sender, params = self.path(arg, "FROM")
        if sender is None:
            self.wire.write("501 5.5.4 syntax")
            return
        self.check(sender, params)
        if self.answer(["mail"], "250 2.1.0 sender fine"):
            self.sender, self.mail_params = sender, params

    def do_rcpt(self, arg):
        if self.sender is None:
            self.wire.write("503 5.5.1 MAIL first")
            return
        to, params = self.path(arg, "TO")
        self.check(to, params)
        self.said += 1
        self.domains.add(to.rpartition("@")[2].lower())
        self.over_limit("RCPTMAX", self.said)
        self.over_limit("RCPTDOMAINMAX", len(self.domains))
        if self.answer(["rcpt:%s" % to, "rcpt"], "250 2.1.5 recipient fine"):
            self.rcpts.append(to)
            self.rcpt_params.append(params)

    def do_data(self, _arg):
        if not self.rcpts:
            if self.host.data_without_rcpt:
                self.wire.write("354 go on")
                self.read_data()
                self.wire.write("554 5.5.1 no recipients")
                self.reset()
            else:
                self.wire.write("503 5.5.1 RCPT first")
            return
        if "BODY=BINARYMIME" in self.mail_params.split():
            self.host.violation("DATA after BODY=BINARYMIME")
        if not self.answer(["data"], "354 go on"):
            return
        data = self.read_data()
        self.finish(data, "dot")

    def read_data(self):
        wire = self.wire
        while not ("\r\n" + wire.buf[:3].decode("latin-1") == "\r\n.\r\n" or
                   b"\r\n.\r\n" in wire.buf):
            wire.read()
        if wire.buf[:3] == b".\r\n":
            data, wire.buf = b"", wire.buf[3:]
        else:
            data, wire.buf = wire.buf.split(b"\r\n.\r\n", 1)
            data += b"\r\n"
        if data.startswith(b"."):
            data = data[1:]
        return data.replace(b"\r\n.", b"\r\n")

    def do_bdat(self, arg):
        words = arg.upper().split(" ")
        count = int(words[0])
        if self.host.peek("refuse", "bdat-unknown"):
            self.odd = True
            self.answer(["bdat-unknown"], "")
            return
        if "CHUNKING" not in self.offered:
            self.host.violation("BDAT without CHUNKING")
        while len(self.wire.buf) < count:
            self.wire.read()
        self.chunks.append(self.wire.buf[:count])
        self.wire.buf = self.wire.buf[count:]
        if not self.rcpts:
            self.wire.write("503 5.5.1 RCPT first")
        elif words[1:] == ["LAST"]:
            self.finish(b"".join(self.chunks), "dot")
        else:
            self.answer(["bdat"], "250 2.0.0 chunk taken")

    def finish(self, data, stage):
        words = self.mail_params.split()
        if max(data, default=0) > 127 and not (
                "BODY=8BITMIME" in words or "BODY=BINARYMIME" in words):
            self.host.violation("8-bit data that was not declared")
        refused = self.host.peek("refuse", stage)
        dropped = self.host.peek("drop", stage)
        if not refused:
            self.host.keep(self, data, "" if dropped else "250")
        self.reset()
        self.answer([stage], "250 2.0.0 taken as %d" %
                    len(self.host.messages))

    def do_rset(self, _arg):
        self.reset()
        self.answer(["rset"], "250 2.0.0 forgotten")

    def do_noop(self, _arg):
        self.wire.write("250 2.0.0 ok")

    def do_quit(self, _arg):
        self.answer(["quit"], "221 2.0.0 bye")
        raise Gone("QUIT")


class Smarthost:
    def __init__(self, folder, cert, addr="127.0.0.1", port=0, implicit=False,
                 starttls=True, auth=None, client_ca=None,
                 require_client_cert=False, tls_max=None, pipelining=True,
                 eightbitmime=True, enhanced=True, chunking=False, size=None,
                 ehlo=(), name="smarthost.test", refuse=None, drop=(),
                 hang=(), hold=(), inject="", trickle=False, data_without_rcpt=False):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.implicit, self.starttls, self.auth = implicit, starttls, auth
        self.pipelining, self.eightbitmime = pipelining, eightbitmime
        self.enhanced, self.chunking, self.size = enhanced, chunking, size
        self.ehlo, self.name, self.inject = list(ehlo), name, inject
        self.trickle, self.data_without_rcpt = trickle, data_without_rcpt
        self.cond = threading.Condition()
        self.script = {}
        self.set(refuse=refuse or {}, drop=drop, hang=hang, hold=hold)
        self.go = threading.Event()
        self.messages, self.heard, self.commands = [], [], []
        self.violations, self.tls_errors, self.raw = [], [], {}
        self.connections = self.handshakes = 0
        self.wires, self.threads = set(), []
        self.context = self._context(cert, client_ca, require_client_cert,
                                     tls_max)
        family = socket.AF_INET6 if ":" in addr else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((addr, port))
        self.listener.listen(128)
        self.addr, self.port = self.listener.getsockname()[:2]
        self.acceptor = threading.Thread(target=self._accept, daemon=True)
        self.acceptor.start()

    def _context(self, cert, client_ca, require, tls_max):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if tls_max == "1.2":
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(*cert)
        if client_ca or require:
            context.verify_mode = (ssl.CERT_REQUIRED if require
                                   else ssl.CERT_OPTIONAL)
            if client_ca:
                context.load_verify_locations(client_ca)

        def on_sni(obj, name, _context):
            obj.wire.sni = name or ""

        context.sni_callback = on_sni
        return context

    # ---- the script ----

    def set(self, refuse=None, drop=None, hang=None, hold=None):
        """Replaces the parts of the script that are given."""
        for kind, given in (("refuse", refuse), ("drop", drop),
                            ("hang", hang), ("hold", hold)):
            if given is None:
                continue
            items = given.items() if isinstance(given, dict) else [
                (g, "") for g in given]
            table = {}
            for stage, text in items:
                stage, slash, count = stage.partition("/")
                stage, _, first = stage.partition("#")
                table[stage] = [text, int(count) if slash else None,
                                int(first or 1)]
            with self.cond:
                self.script[kind] = table

    def peek(self, kind, stage):
        with self.cond:
            row = self.script[kind].get(stage)
            return row is not None and row[2] == 1

    def take(self, kind, stage):
        """The script's text for this stage, counted; None if there is none."""
        with self.cond:
            row = self.script[kind].get(stage)
            if row is None:
                return None
            if row[2] > 1:
                row[2] -= 1
                return None
            if row[1] is not None:
                row[1] -= 1
                if row[1] == 0:
                    del self.script[kind][stage]
            return row[0]

    # ---- what was heard ----

    def _append(self, name, data, mode="ab"):
        with open(os.path.join(self.folder, name), mode) as f:
            f.write(data)

    def note_hang(self, stage):
        """A client waits in vain from now on."""
        self._append("hung-" + stage, b"")

    def record_raw(self, number, data):
        with self.cond:
            self.raw[number] = self.raw.get(number, b"") + data
            self._append("raw-%d.bin" % number, data)

    def record_heard(self, number, tls, data):
        with self.cond:
            self.heard.append((number, tls, data))
            self._append("heard.jsonl", json.dumps(
                {"conn": number, "tls": tls,
                 "text": data.decode("latin-1")}).encode() + b"\n")
            self.cond.notify_all()

    def record_command(self, wire, line):
        with self.cond:
            self.commands.append((wire.number, wire.tls is not None, line))
            self.cond.notify_all()

    def violation(self, text):
        with self.cond:
            self.violations.append(text)
            self._append("violations", text.encode() + b"\n")

    def keep(self, session, data, reply):
        tls = session.wire.tls
        der = tls.getpeercert(True) if tls is not None else None
        message = {
            "conn": session.wire.number, "from": session.sender,
            "mail_params": session.mail_params, "rcpts": session.rcpts,
            "rcpt_params": session.rcpt_params, "user": session.user,
            "tls": tls.version() if tls is not None else "",
            "cipher": tls.cipher()[0] if tls is not None else "",
            "sni": session.wire.sni,
            "client_cert": hashlib.sha256(der).hexdigest() if der else "",
            "reply": reply}
        with self.cond:
            message["number"] = len(self.messages) + 1
            stem = "msg-%06d" % message["number"]
            self._append(stem + ".eml", data, "wb")
            self._append(stem + ".part",
                         json.dumps(message).encode() + b"\n", "wb")
            os.rename(os.path.join(self.folder, stem + ".part"),
                      os.path.join(self.folder, stem + ".json"))
            message["data"] = data
            self.messages.append(message)
            self.cond.notify_all()

    def clear_bytes(self):
        """All that was said outside TLS."""
        with self.cond:
            return b"".join(d for _, tls, d in self.heard if not tls)

    def wait(self, condition, timeout=30):
        """Waits until condition(self) is true; False when time is up."""
        end = time.monotonic() + timeout * SLOW
        with self.cond:
            while not condition(self):
                left = end - time.monotonic()
                if left <= 0 or not self.cond.wait(left):
                    return bool(condition(self))
        return True

    def wait_messages(self, count, timeout=30):
        return self.wait(lambda s: len(s.messages) >= count, timeout)

    # ---- life ----

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.cond:
                self.connections += 1
                wire = Wire(self, sock, self.connections)
                self.wires.add(wire)
                self.cond.notify_all()
            thread = threading.Thread(target=self._serve, args=(wire,),
                                      daemon=True)
            with self.cond:
                self.threads.append(thread)
            thread.start()

    def _serve(self, wire):
        try:
            Session(self, wire).run()
        except Gone:
            pass
        finally:
            wire.close()
            with self.cond:
                self.wires.discard(wire)
                self.threads.remove(threading.current_thread())
                self.cond.notify_all()

    def hang_up(self):
        """Cuts every open connection."""
        with self.cond:
            wires = list(self.wires)
        for wire in wires:
            try:
                wire.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.acceptor.join()
        self.hang_up()
        with self.cond:
            threads = list(self.threads)
        for thread in threads:
            thread.join(5)

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.stop()


def _parser():
    p = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--dir")
    p.add_argument("--make-certs", metavar="DIR")
    p.add_argument("--certs", metavar="DIR")
    p.add_argument("--cert-kind", default="good")
    p.add_argument("--cert-name", default="localhost",
                   help="the name in the certificates made")
    p.add_argument("--cert")
    p.add_argument("--key")
    p.add_argument("--addr", default="127.0.0.1")
    p.add_argument("--port", type=int, default=0)
    p.add_argument("--implicit", action="store_true")
    p.add_argument("--no-starttls", dest="starttls", action="store_false")
    p.add_argument("--auth", metavar="USER:PASSWORD")
    p.add_argument("--client-ca")
    p.add_argument("--require-client-cert", action="store_true")
    p.add_argument("--tls-max", choices=["1.2", "1.3"])
    p.add_argument("--no-pipelining", dest="pipelining", action="store_false")
    p.add_argument("--no-8bitmime", dest="eightbitmime", action="store_false")
    p.add_argument("--no-enhanced", dest="enhanced", action="store_false")
    p.add_argument("--chunking", action="store_true")
    p.add_argument("--size", type=int)
    p.add_argument("--ehlo", action="append", default=[])
    p.add_argument("--name", default="smarthost.test")
    p.add_argument("--refuse", action="append", default=[])
    p.add_argument("--drop", action="append", default=[])
    p.add_argument("--hang", action="append", default=[])
    p.add_argument("--hold", action="append", default=[])
    p.add_argument("--inject", default="")
    p.add_argument("--trickle", action="store_true")
    p.add_argument("--data-without-rcpt", action="store_true",
                   help="354 to DATA even if no recipient was taken")
    return p


def main():
    parser = _parser()
    given = vars(parser.parse_args())
    if given["make_certs"]:
        make_certs(given["make_certs"], given["cert_name"])
        if not given["dir"]:
            return 0
    certs, kind = given.pop("certs"), given.pop("cert_kind")
    name = given.pop("cert_name")
    given.pop("make_certs")
    cert, key = given.pop("cert"), given.pop("key")
    folder = given.pop("dir")
    if not folder or not (certs or (cert and key)):
        parser.error("--dir and --certs, or --cert and --key, are needed")
    pair = make_certs(certs, name)[kind] if certs else (cert, key)
    rows = [r.partition("=") for r in given["refuse"]]
    given["refuse"] = {r[0]: r[2].replace("\\n", "\n") for r in rows}
    awaited = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    with Smarthost(folder, pair, **given) as host:
        print("LISTENING %s %d" % (host.addr, host.port), flush=True)
        while signal.sigwait(awaited) == signal.SIGUSR1:
            host.go.set()
    return 0


if __name__ == "__main__":
    sys.exit(main())
