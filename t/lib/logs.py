"""The log of a running submitd: read line by line, taken apart, waited for."""

import os
import re
import select
import threading
import time

from tap import SLOW

LINE = re.compile(r"(\w+)\[(\d+)\]: (warning: )?(.*)")
FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')
ESCAPE = re.compile(r'\\(x([0-9a-f]{2})|.)')


def unescape(text):
    """The value of a field, without its quotes and escapes."""
    if not text.startswith('"'):
        return text
    return ESCAPE.sub(lambda m: chr(int(m[2], 16)) if m[2] else m[1],
                      text[1:-1])


def parse(line):
    """One line as a dictionary: its fields and role, pid, text, level."""
    match = LINE.match(line)
    if match is None:
        return {"role": "", "pid": 0, "level": "", "text": line}
    event = {k: unescape(v) for k, v in FIELD.findall(match[4])}
    event.update(role=match[1], pid=int(match[2]), text=line,
                 level="warning" if match[3] else "info")
    return event


class Log:
    """All lines that came out of a pipe, also copied to a file. Who asks for a
    place or an event sees all that was written before the question."""

    def __init__(self, copy):
        self.lines = []
        self.events = []
        self.changed = threading.Condition()
        self.copy = copy
        self.pipes = {}  # those being read, with the beginning of a line

    def follow(self, pipe):
        """Reads a pipe to its end in a thread of its own."""
        os.set_blocking(pipe.fileno(), False)
        with self.changed:
            self.pipes[pipe] = b""
        threading.Thread(target=self._read, args=(pipe,), daemon=True).start()

    def _read(self, pipe):
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        while pipe in self.pipes:
            poll.poll()
            with self.changed:
                self._drain()
        pipe.close()

    def _drain(self):
        """Takes what there is; the caller has the lock."""
        for pipe in list(self.pipes):
            try:
                while data := os.read(pipe.fileno(), 65536):
                    self._take(pipe, data)
            except BlockingIOError:
                continue
            self._take(pipe, b"\n" if self.pipes[pipe] else b"")
            del self.pipes[pipe]
            self.changed.notify_all()

    def _take(self, pipe, data):
        with open(self.copy, "ab") as out:
            out.write(data)
        *whole, self.pipes[pipe] = (self.pipes[pipe] + data).split(b"\n")
        for raw in whole:
            line = raw.decode("utf-8", "replace")
            self.lines.append(line)
            self.events.append(parse(line))
        self.changed.notify_all()

    def mark(self):
        """A place in the log, to be given as after=."""
        with self.changed:
            self._drain()
            return len(self.events)

    def find(self, after=0, **fields):
        """The first event after a mark that has all fields, or None.

        A value may be a compiled regular expression.
        """
        with self.changed:
            self._drain()
            return self._find(after, fields)

    def _find(self, after, fields):
        for number in range(after, len(self.events)):
            event = self.events[number]
            if all(agrees(event.get(k), v) for k, v in fields.items()):
                return event
        return None

    def all(self, after=0, **fields):
        """All events after a mark that have the fields."""
        with self.changed:
            self._drain()
            return [e for e in self.events[after:]
                    if all(agrees(e.get(k), v) for k, v in fields.items())]

    def wait(self, after=0, timeout=30, **fields):
        """The same as find(), but waits for the event to come.

        TimeoutError at the deadline, or when nobody can write it any more.
        """
        end = time.monotonic() + timeout * SLOW
        with self.changed:
            while True:
                event = self._find(after, fields)
                if event is not None:
                    return event
                after = len(self.events)
                left = end - time.monotonic()
                if left <= 0 or not self.pipes:
                    raise TimeoutError("the log has no %s" % fields)
                self.changed.wait(left)

    def end(self, timeout=30):
        """Waits until nobody can write any more."""
        with self.changed:
            self.changed.wait_for(lambda: not self.pipes, timeout * SLOW)

    def tail(self, count=60):
        """The last lines, for whoever looks for the reason of a failure."""
        with self.changed:
            return self.lines[-count:]


def agrees(have, want):
    """A field has the value, or matches the regular expression."""
    if have is None:
        return False
    if isinstance(want, re.Pattern):
        return want.search(str(have)) is not None
    return have == want
