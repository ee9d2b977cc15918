"""The usual scene of an end-to-end test: a playground with user ann, her
laptop's certificate and a smarthost that records what it hears; and messages
to send through it.
"""

import os

from harness import Playground
from smarthost import Smarthost

PASSWORD = "correct horse, battery"

# What must come through untouched: dots in first place, eight-bit text, blanks
# at the end, the longest line, empty lines.
BODY = ("Hello Bo,\r\n"
        ".\r\n"
        "..\r\n"
        ".hidden dot\r\n"
        "\r\n"
        "Gr\u00fc\u00dfe, \u4f60\u597d\r\n"
        "blank at the end \r\n"
        "\ttab\r\n"
        + "x" * 998 + "\r\n"
        "From here on\r\n"
        "\r\n"
        "-- \r\n"
        "Ann\r\n").encode("utf-8")


def message(token, body=BODY, more="", author="Ann <ann@play.example>"):
    """A complete message whose subject is the token."""
    return ("From: %s\r\n"
            "To: Bo <bo@example.net>\r\n"
            "Subject: %s\r\n"
            "Date: Fri, 13 Nov 2026 12:00:00 +0100\r\n"
            "Message-ID: <%s@laptop.play.example>\r\n"
            "MIME-Version: 1.0\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n"
            "Content-Transfer-Encoding: 8bit\r\n"
            "%s"
            "\r\n" % (author, token, token, more)).encode() + body


def split_trace(data):
    """The Received field at the head of a message, unfolded, and the rest."""
    if not data.lower().startswith(b"received:"):
        return "", data
    end = data.index(b"\r\n")
    while data[end + 2:end + 3] in (b" ", b"\t"):
        end = data.index(b"\r\n", end + 2)
    return " ".join(data[:end].decode("utf-8", "replace").split()), \
        data[end + 2:]


class Scene(Playground):
    """A playground with a recording smarthost; not yet started."""

    def __init__(self, tap, smarthost=None, **keys):
        """smarthost: arguments for the Smarthost, cert among them if need be;
        False for none."""
        self.smarthost = None
        super().__init__(tap, **keys)
        try:
            self.good = self.ca.issue("smarthost", "localhost",
                                      "DNS:localhost")
            self.init()
            self.add_user("ann", PASSWORD)
            self.laptop = self.add_device("ann", "ann-laptop")
            if smarthost is not False:
                self.new_smarthost(**(smarthost or {}))
                self.route_to(self.smarthost.port)
        except BaseException:
            self.remove()
            raise

    def new_smarthost(self, pair=None, **options):
        """Starts a smarthost; one that ran is ended, its port is used again.

        pair is its certificate and key, the good one unless given.
        """
        if self.smarthost is not None:
            options.setdefault("port", self.smarthost.port)
            self.smarthost.stop()
        pair = pair or self.good
        self.smarthost = Smarthost(self._next_folder(),
                                   (pair.cert, pair.key), **options)
        return self.smarthost

    def _next_folder(self):
        number = 1
        while os.path.exists(self.path("smarthost-%d" % number)):
            number += 1
        return self.path("smarthost-%d" % number)

    def remove(self):
        """Ends the smarthost, too."""
        if self.smarthost is not None:
            self.smarthost.stop()
        super().remove()

    def delivered(self, token, timeout=30):
        """Waits for the message with this subject; returns its record."""
        wanted = b"\r\nSubject: " + token.encode() + b"\r\n"

        def find(host):
            return next((m for m in host.messages if wanted in m["data"]),
                        None)
        if not self.smarthost.wait(find, timeout):
            raise TimeoutError("the smarthost has no message %s" % token)
        return find(self.smarthost)
