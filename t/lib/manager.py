"""A service manager for tests: hears what a service tells it (sd_notify) and
passes sockets (sd_listen_fds), as systemd does."""

import os
import re
import socket
import struct
import sys
import threading
import time

from tap import SLOW

# Puts the passed descriptors from 3 on, says so, and becomes the service.
PASS = """
import fcntl, os, sys
numbers, names = sys.argv[1], sys.argv[2]
fds = [fcntl.fcntl(int(n), fcntl.F_DUPFD, 50) for n in numbers.split(",") if n]
for i, fd in enumerate(fds):
    os.dup2(fd, 3 + i)
    os.close(fd)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)),
                  LISTEN_FDNAMES=names)
os.execvp(sys.argv[3], sys.argv[3:])
"""
UCRED = struct.Struct("3i")


def listening(address, port, dual=False):
    """A socket as a socket unit makes it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    s = socket.socket(family, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
    s.bind((address, port))
    s.listen(100)
    return s


class Manager:
    """Reads all messages in a thread of its own."""

    def __init__(self, path, abstract=False):
        self.address = "@" + path if abstract else path
        self.messages = []  # (sender's pid, {key: value}), in their order
        self.caught_up = 0  # how often catch_up() was heard
        self.changed = threading.Condition()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.name = "\0" + path if abstract else path
        self.socket.bind(self.name)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            data, ancillary, _, _ = self.socket.recvmsg(
                4096, socket.CMSG_SPACE(UCRED.size))
            pid = UCRED.unpack(ancillary[0][2])[0] if ancillary else 0
            fields = dict(line.partition("=")[::2]
                          for line in data.decode().splitlines())
            with self.changed:
                if pid == os.getpid():
                    self.caught_up += 1
                else:
                    self.messages.append((pid, fields))
                self.changed.notify_all()

    def command(self, sockets=(), watchdog_us=None):
        """What to put before the service: (command, descriptors to keep).

        sockets are pairs of a name and a socket.
        """
        words = ["env", "NOTIFY_SOCKET=" + self.address]
        if watchdog_us:
            words.append("WATCHDOG_USEC=%d" % watchdog_us)
        fds = [s.fileno() for _, s in sockets]
        if sockets:
            words += [sys.executable, "-c", PASS, ",".join(map(str, fds)),
                      ":".join(name for name, _ in sockets)]
        return words, fds

    def mark(self):
        """A place among the messages, to be given as after."""
        with self.changed:
            return len(self.messages)

    def catch_up(self):
        """Waits until all that was said before now has been read."""
        with self.changed:
            goal = self.caught_up + 1
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
                s.sendto(b"X_CATCH_UP=1", self.name)
            self.changed.wait_for(lambda: self.caught_up >= goal)

    def wait(self, after=0, timeout=30, **wanted):
        """Waits for a message that has these fields; values are regular
        expressions."""
        end = time.monotonic() + timeout * SLOW

        def find():
            return next((fields for _, fields in self.messages[after:]
                         if all(re.search(v, fields.get(k, ""), re.S)
                                for k, v in wanted.items())), None)
        with self.changed:
            while find() is None:
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError("the manager has not heard %s, only %s"
                                       % (wanted, self.messages[after:]))
                self.changed.wait(left)
            return find()

    def senders(self):
        """The processes that have spoken."""
        with self.changed:
            return {pid for pid, _ in self.messages}
