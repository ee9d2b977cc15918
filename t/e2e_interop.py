#!/usr/bin/python3 -B
"""The interoperation table: real mail programs submit messages of every kind,
and the smarthost gets the bytes that the program sent, and our fix-ups.

What a program sends is known where it takes a message as it is. Where it
composes, it also sends the same to a recorder that offers what submitd offers.
The two messages differ in Date, Message-ID, Content-ID and boundaries only.
"""

import concurrent.futures
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib
from letters import UTF8_SENDER, Files, letters
from mailers import MAILERS, Failed, Server
from recorder import Recorder
from scene import PASSWORD, Scene, split_trace

DATE = rb"\w{3}, +\d+ \w{3} \d{4} \d\d:\d\d:\d\d [-+]\d{4}(?: \(\w+\))?"
ADDED = {  # what submitd writes where there is none
    b"Date": rb"(?m)^Date: " + DATE + rb"\r\n",
    b"Message-ID": rb"(?m)^Message-ID: <[^<>@\s]+@mail\.play\.example>\r\n"}
BOUNDARY = re.compile(rb'(?i)boundary="?([^";\s]+)')
OFFERS = ("SMTPUTF8",)
AT_ONCE = 6  # programs that run at one time
WORDS = {"given": "arrives as it was given to the program",
         "made": "arrives as the program made it",
         "coded": "arrives as the program made it: in another encoding",
         "can't": "the program has no SMTPUTF8, says so, and sends nothing"}


def split(data):
    """The header with the end of its last line, and the rest."""
    end = data.find(b"\r\n\r\n")
    return (data, b"") if end < 0 else (data[:end + 2], data[end + 2:])


def has_field(header, name):
    """Whether there is such a field."""
    return re.search(rb"(?im)^%s[ \t]*:" % name, header) is not None


def fixed_up(got, sent):
    """Takes from what was delivered the fields that submitd must have added,
    and from what was sent those that it must drop. Both are headers."""
    for name, pattern in ADDED.items():
        if not has_field(sent, name):
            got = re.sub(pattern, b"", got, count=1)
    return got, re.sub(rb"(?im)^Bcc[ \t]*:.*\r\n(?:[ \t].*\r\n)*", b"", sent)


def without_chance(header, body):
    """A message without what a program makes anew for each."""
    marks = BOUNDARY.findall(header) + BOUNDARY.findall(body[:65536])
    for number, mark in enumerate(dict.fromkeys(marks)):
        header = header.replace(mark, b"=-boundary-%d" % number)
        body = body.replace(mark, b"=-boundary-%d" % number)
    header = re.sub(rb"(?im)^(Date: )" + DATE + rb"(?=\r$)", rb"\1-", header)
    header = re.sub(rb"(?im)^(Message-ID: <)[^<>@\s]+@", rb"\1-@", header)
    body = re.sub(rb"\r\n(Content-I[dD]: <)[^<>@\s]+@", rb"\r\n\1-@", body)
    return header, body


def difference(got, want):
    """The first difference, as text; "" if there is none."""
    if got == want:
        return ""
    at = next((i for i, (g, w) in enumerate(zip(got, want)) if g != w),
              min(len(got), len(want)))
    return "lengths %d and %d, first difference at byte %d\ngot:  %r\n" \
        "want: %r\n" % (len(got), len(want), at, got[max(0, at - 60):at + 60],
                        want[max(0, at - 60):at + 60])


class Cell:
    """One program with one kind of message."""

    def __init__(self, scene, mailer, letter):
        self.scene, self.mailer, self.letter = scene, mailer, letter
        self.given = mailer.takes_raw(letter)
        if letter.utf8 and not mailer.utf8:
            self.word = "can't"
        else:
            self.word = "given" if self.given else "made"
        self.said = ""     # by the program
        self.trouble = ""  # what went wrong

    def name(self):
        """The name of the row."""
        return "%s, %s, %s: %s" % (
            self.mailer.name, self.letter.kind,
            "implicit TLS" if self.letter.implicit else "STARTTLS",
            WORDS[self.word])

    def run(self):
        """Sends, and compares."""
        try:
            if self.word == "can't":
                self.trouble = self.refused()
            else:
                self.trouble = self.delivered()
        except (Failed, TimeoutError) as e:
            self.trouble = str(e)

    def refused(self):
        """The user reads why; nothing is sent. Returns what is wrong."""
        try:
            self.mailer.send(self.letter, self.scene.target)
            return "the program believes that it was sent"
        except Failed as e:
            self.said = str(e)
        if not re.search(self.mailer.says, self.said):
            return "%r does not match %s" % (self.said, self.mailer.says)
        if self.scene.sink.find(self.letter.token):
            return "it was delivered"
        return ""

    def expected(self):
        """What the program sends: envelope and bytes."""
        if self.given and not self.letter.utf8:
            return {"from": self.letter.sender,
                    "rcpts": self.letter.recipients,
                    "data": self.letter.raw()}
        self.mailer.send(self.letter, self.scene.recorder_target)
        want = dict(self.scene.recorder.wait(self.letter.token))
        if self.given:
            want["data"] = self.letter.raw()
        return want

    def delivered(self):
        """Sends to submitd and waits at the smarthost; what is wrong."""
        want = self.expected()
        if not re.search(self.letter.mark, want["data"][:65536]):
            if self.given:
                return "the message is not of this kind"
            self.word = "coded"
        self.mailer.send(self.letter, self.scene.target)
        got = self.scene.sink.wait(self.letter.token)
        return self.compare_envelope(got, want) + \
            self.compare_data(got["data"], want["data"])

    def compare_envelope(self, got, want):
        """What is wrong with it."""
        wrong = ["%s: %r, not %r\n" % (key, got[key], want[key])
                 for key in ("from", "rcpts") if got[key] != want[key]]
        if self.letter.utf8:
            wrong += ["no SMTPUTF8 from the %s: %s\n" % (who, params)
                      for who, params in (("program", want["mail_params"]),
                                          ("server", got["mail_params"]))
                      if "SMTPUTF8" not in params.split()]
        return "".join(wrong)

    def compare_data(self, data, sent):
        """What is wrong with it."""
        header, body = split(data)
        received, header = split_trace(header)
        sent_header, sent_body = split(sent)
        header, sent_header = fixed_up(header, sent_header)
        if not self.given:
            header, body = without_chance(header, body)
            sent_header, sent_body = without_chance(sent_header, sent_body)
        wrong = difference(header, sent_header) + difference(body, sent_body)
        protocol = "UTF8SMTPSA" if self.letter.utf8 else "ESMTPSA"
        if " with %s " % protocol not in received:
            wrong += "no %s in Received: %s\n" % (protocol, received)
        return wrong


class Interop(Scene):
    """The scene, its smarthost a recorder, and a recorder beside it."""

    def __init__(self, tap):
        unlimited = ("suspend_new_recipients", "recipients_hour",
                     "recipients_day", "new_recipients_day")
        super().__init__(tap, smarthost=False, mechanisms="PLAIN",
                         **{"limit_" + what: 0 for what in unlimited})
        self.submitctl("address", "add", "ann", UTF8_SENDER)
        self.sink = Recorder(self.good, OFFERS)
        self.recorder = Recorder(self.good, OFFERS, login=True)
        self.route_to(self.sink.port)
        self.target = self._server(self)
        self.recorder_target = self._server(self.recorder)

    def _server(self, where):
        return Server(where.port, where.tls_port, self.ca.cert, "ann",
                      PASSWORD)

    def remove(self):
        """Ends the recorders, too."""
        for recorder in (self.sink, self.recorder):
            recorder.stop()
        super().remove()


def cells_of(scene):
    """The whole table, a program after the other."""
    files = Files(scene.path("files"))
    return [Cell(scene, make(scene.path("mailers", letter.token)), letter)
            for make in MAILERS for letter in letters(make.name, files)]


def run_all(cells):
    """Runs them, the largest messages first."""
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        done = [pool.submit(cell.run) for cell in
                sorted(cells, key=lambda cell: cell.letter.kind != "20 MB")]
        for future in done:
            future.result()


def table(tap, cells):
    """All at a glance: programs from left to right, kinds downwards."""
    programs = list(dict.fromkeys(cell.mailer.name for cell in cells))
    kinds = list(dict.fromkeys(cell.letter.kind for cell in cells))
    words = {(c.letter.kind, c.mailer.name): "FAILED" if c.trouble else c.word
             for c in cells}
    for kind in [""] + kinds:
        tap.note("%-18s  %s" % (kind, "  ".join(
            "%-*s" % (max(6, len(program)),
                      words[kind, program] if kind else program)
            for program in programs)))
    for word, meaning in WORDS.items():
        tap.note("%s: %s" % (word, meaning))
    for cell in cells:
        if cell.said:
            tap.note("%s, %s: %s" % (cell.mailer.name, cell.letter.kind,
                                     " ".join(cell.said.split())))


def test(tap):
    """A row for each cell, then the table."""
    with Interop(tap) as scene:
        scene.start()
        cells = cells_of(scene)
        run_all(cells)
        for cell in cells:
            tap.ok(not cell.trouble, cell.name(), cell.trouble)
        table(tap, cells)
        tap.equal(scene.stop(), 0, "the server ends with status 0")


for mailer in MAILERS:
    if not mailer.installed():
        taplib.skip_all("%s is not installed" % mailer.name)
taplib.run(test, deadline=900)
