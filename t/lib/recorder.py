"""An SMTP server that takes every message and keeps it: the quick one.

Other than smarthost.py it obeys no script and notes nothing but messages, so
that twenty megabytes are no more work than they must be. It stands for the
smarthost (STARTTLS, no login), and for submitd itself when a test asks what a
client would send to it: the same offers, a login that takes any password, and
a second port with TLS from the start.

    with Recorder(pair, ["SMTPUTF8"], login=True) as recorder:
        ... recorder.port, recorder.tls_port ...
        recorder.wait("bo@")    # the message to a recipient like that

A message is a dict: from, mail_params, rcpts, and data: its bytes as sent,
without stuffed dots, with the last CRLF.
"""

import socket
import ssl
import threading
import time

END = b"\r\n.\r\n"
ALWAYS = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "SIZE 26214400")


class Gone(Exception):
    """The client has left."""


def path(argument):
    """"FROM:<address> PARAMETERS" as a pair of texts."""
    address, _, parameters = argument.partition("<")[2].partition(">")
    return address, parameters.strip()


class Session(threading.Thread):
    """One connection."""

    def __init__(self, recorder, sock, implicit):
        super().__init__(daemon=True)
        self.recorder, self.sock, self.implicit = recorder, sock, implicit
        self.tls = False
        self.buffer = bytearray()
        self.message = None

    def run(self):
        """The dialogue, to its end."""
        try:
            with self.sock:
                if self.implicit:
                    self.start_tls()
                self.answer("220 recorder.test ESMTP")
                while self.command(self.line()):
                    pass
        except (Gone, OSError):
            pass

    def start_tls(self):
        """What follows is encrypted."""
        self.sock = self.recorder.context.wrap_socket(self.sock,
                                                      server_side=True)
        self.tls = True

    def answer(self, text):
        """One reply."""
        self.sock.sendall(text.encode() + b"\r\n")

    def more(self):
        """Some bytes more."""
        data = self.sock.recv(65536)
        if not data:
            raise Gone()
        self.buffer += data

    def line(self):
        """The next line, without its end."""
        while b"\r\n" not in self.buffer:
            self.more()
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line.decode("utf-8", "replace")

    def command(self, line):
        """Obeys one command; False after the last."""
        verb, _, argument = line.partition(" ")
        verb = verb.upper()
        if verb == "QUIT":
            self.answer("221 2.0.0 bye")
            return False
        getattr(self, "do_" + verb.lower(), self.unknown)(argument)
        return True

    def unknown(self, _argument):
        """A command that this server does not have."""
        self.answer("500 5.5.1 unknown")

    def do_ehlo(self, _argument):
        """The offers."""
        offers = list(ALWAYS) + self.recorder.offers
        if not self.tls:
            offers.append("STARTTLS")
        elif self.recorder.login:
            offers.append("AUTH PLAIN LOGIN")
        self.answer("250-recorder.test\r\n" +
                    "".join("250-%s\r\n" % o for o in offers[:-1]) +
                    "250 " + offers[-1])

    def do_starttls(self, _argument):
        """TLS from here on."""
        self.answer("220 2.0.0 go on")
        self.start_tls()

    def do_auth(self, argument):
        """Everybody is welcome."""
        mechanism, _, initial = argument.partition(" ")
        if mechanism.upper() == "LOGIN":
            for prompt in ("VXNlcm5hbWU6", "UGFzc3dvcmQ6")[bool(initial):]:
                self.answer("334 " + prompt)
                self.line()
        elif not initial:
            self.answer("334 ")
            self.line()
        self.answer("235 2.7.0 welcome")

    def do_mail(self, argument):
        """A message begins."""
        sender, parameters = path(argument)
        self.message = {"from": sender, "mail_params": parameters, "rcpts": []}
        self.answer("250 2.1.0 sender fine")

    def do_rcpt(self, argument):
        """One recipient more."""
        if self.message is None:
            self.answer("503 5.5.1 MAIL first")
            return
        self.message["rcpts"].append(path(argument)[0])
        self.answer("250 2.1.5 recipient fine")

    def do_data(self, _argument):
        """The text, dots taken away."""
        if self.message is None or not self.message["rcpts"]:
            self.answer("503 5.5.1 RCPT first")
            return
        self.answer("354 go on")
        data = self.buffer
        data[:0] = b"\r\n"  # the end can stand in the very first line
        seen = 0
        while (at := data.find(END, seen)) < 0:
            seen = max(0, len(data) - len(END) + 1)
            self.more()
        self.buffer = data[at + len(END):]
        text = bytes(memoryview(data)[2:at + 2])
        text = text[text.startswith(b"."):]
        self.message["data"] = text.replace(b"\r\n.", b"\r\n")
        self.recorder.keep(self.message)
        self.message = None
        self.answer("250 2.0.0 taken")

    def do_rset(self, _argument):
        """Forgets what was begun."""
        self.message = None
        self.answer("250 2.0.0 forgotten")

    def do_noop(self, _argument):
        """Nothing."""
        self.answer("250 2.0.0 fine")


class Recorder:
    """Listens on two ports of 127.0.0.1."""

    def __init__(self, pair, offers=(), login=False):
        self.offers, self.login = list(offers), login
        self.messages = []
        self.changed = threading.Condition()  # its lock is an RLock
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pair.cert, pair.key)
        self.listeners = []
        self.port = self._listen(False)
        self.tls_port = self._listen(True)

    def _listen(self, implicit):
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.listeners.append(listener)
        threading.Thread(target=self._accept, args=(listener, implicit),
                         daemon=True).start()
        return listener.getsockname()[1]

    def _accept(self, listener, implicit):
        while True:
            try:
                sock = listener.accept()[0]
            except OSError:
                return
            Session(self, sock, implicit).start()

    def keep(self, message):
        """A message has come."""
        with self.changed:
            self.messages.append(message)
            self.changed.notify_all()

    def find(self, token):
        """All messages to a recipient whose address has the token."""
        with self.changed:
            return [m for m in self.messages if token in m["rcpts"][0]]

    def wait(self, token, timeout=300):
        """The first of them, as soon as it is there."""
        end = time.monotonic() + timeout
        with self.changed:
            while not (found := self.find(token)):
                left = end - time.monotonic()
                if left <= 0 or not self.changed.wait(left):
                    raise TimeoutError("no message to " + token)
            return found[0]

    def stop(self):
        """Takes no connection more."""
        for listener in self.listeners:
            try:
                listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.stop()
