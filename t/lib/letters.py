"""Messages of every kind that a mail program may send, each as its parts, for
programs that compose, and as bytes, for those that take a message as it is.
"""

import base64
import os
import random

SENDER = "ann@play.example"
UTF8_SENDER = "\u00e4nn@play.example"
BOUNDARY = "=-a-line-of-no-part"
BIG = 20 * 1000 * 1000  # bytes of the whole message


def _attachment(path, name):
    """One part of a multipart message, in base64."""
    with open(path, "rb") as f:
        coded = base64.encodebytes(f.read()).replace(b"\n", b"\r\n")
    return ("--%s\r\nContent-Type: application/octet-stream\r\n"
            "Content-Transfer-Encoding: base64\r\n"
            "Content-Disposition: attachment; filename=\"%s\"\r\n\r\n"
            % (BOUNDARY, name)).encode() + coded


class Letter:
    """One message of one program."""

    def __init__(self, program, kind, body="Hello Bo\n", subject=None,
                 names=("Ann", "Bo"), recipients=1, files=(), implicit=False,
                 bare=False, utf8=False, mark=b""):
        """body has lines that end with LF; bare: with a Bcc field, without
        Date and Message-ID; utf8: with addresses that need SMTPUTF8;
        implicit: to the port with TLS from the start; mark: a regular
        expression for what the kind is about, if a program may code it."""
        self.kind, self.program = kind, program
        self.token = ("%s-%s" % (kind, program)).replace(" ", "-")
        self.body = body
        self.subject = subject or "About " + kind
        self.names = names
        self.files, self.mark = files, mark
        self.implicit, self.bare, self.utf8 = implicit, bare, utf8
        self.sender = UTF8_SENDER if utf8 else SENDER
        place = "b\u00f6-%s@\u6797.example" if utf8 else "%s@example.net"
        self.recipients = [place % self.token] + [
            "%d.%s" % (n, place % self.token) for n in range(2,
                                                             recipients + 1)]

    def fields(self):
        """The header without MIME fields, as a list of pairs."""
        sender, first = self.names
        fields = [("From", "%s <%s>" % (sender, self.sender)),
                  ("To", "%s <%s>" % (first, self.recipients[0]))]
        if self.bare:
            fields += [("Bcc", "hidden@example.net,\r\n secret@example.net")]
        fields += [("Subject", self.subject)]
        if not self.bare:
            fields += [("Date", "Fri, 13 Nov 2026 12:00:00 +0100"),
                       ("Message-ID", "<%s@laptop.example>" % self.token)]
        return fields

    def text_part(self):
        """Header and text of the only part, or of the first."""
        body = self.body.replace("\n", "\r\n").encode()
        return (b"Content-Type: text/plain; charset=utf-8\r\n"
                b"Content-Transfer-Encoding: %s\r\n\r\n"
                % (b"7bit" if body.isascii() else b"8bit")) + body

    def raw(self, without=()):
        """The message as bytes, its lines ended by CRLF."""
        head = "".join("%s: %s\r\n" % field for field in self.fields()
                       if field[0] not in without)
        head = (head + "MIME-Version: 1.0\r\n").encode()
        if not self.files:
            return head + self.text_part()
        mark = BOUNDARY.encode()
        return (head + b"Content-Type: multipart/mixed;\r\n boundary=\"%s\""
                b"\r\n\r\n--%s\r\n" % (mark, mark) + self.text_part() +
                b"".join(_attachment(path, os.path.basename(path))
                         for path in self.files) + b"--%s--\r\n" % mark)


class Files:
    """What is attached, in a directory."""

    def __init__(self, folder):
        os.makedirs(folder)
        self.small = [os.path.join(folder, "all bytes.bin"),
                      os.path.join(folder, "Gr\u00fc\u00dfe.txt")]
        self.big = [os.path.join(folder, "big.bin")]
        with open(self.small[0], "wb") as f:
            f.write(bytes(range(256)) * 20)
        with open(self.small[1], "w", encoding="utf-8") as f:
            f.write("Sch\u00f6ne Gr\u00fc\u00dfe\n.\n..\n")
        with open(self.big[0], "wb") as f:
            f.write(random.Random(1).randbytes(BIG * 57 // 78))


UTF8_TEXT = ("Gr\u00fc\u00dfe aus K\u00f6ln\n\u4f60\u597d, \u0442\u044b\n"
             "\U0001f4e7\n")
LONG = "a" * 998 + "\n" + "b" * 997 + "\n\n" + ".c" * 499 + "\nend\n"
DOTS = ".\n..\n.hidden\n\n...\n.\n\n.\n"


def letters(program, files):
    """All kinds, in the order of the table."""
    return [
        Letter(program, "text", bare=True),
        Letter(program, "attachments", files=files.small, implicit=True),
        Letter(program, "8-bit body", UTF8_TEXT,
               mark=rb"\r\n\r\nGr\xc3\xbc"),
        Letter(program, "UTF-8 headers", UTF8_TEXT, implicit=True,
               subject="Gr\u00fc\u00dfe \u4f60\u597d",
               names=("\u00c4nn M\u00fcller", "B\u00f6"),
               mark=rb"Subject: Gr\xc3\xbc"),
        Letter(program, "UTF-8 addresses", UTF8_TEXT, utf8=True,
               subject="Gr\u00fc\u00dfe", names=("\u00c4nn", "B\u00f6")),
        Letter(program, "lines of 998 bytes", LONG, implicit=True,
               mark=rb"\na{998}\r\n"),
        Letter(program, "leading dots", DOTS,
               mark=rb"\n\.\r\n\.\.\r\n\.hidden"),
        Letter(program, "empty body", "", implicit=True),
        Letter(program, "20 MB", files=files.big),
        Letter(program, "100 recipients", recipients=100, implicit=True),
    ]
