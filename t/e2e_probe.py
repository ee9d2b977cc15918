#!/usr/bin/python3 -B
"""What happens when a role tries what it must not, as root and as an ordinary
user. t/probed is submitd with a message that makes a role try. Each cell of
the tables that are printed at the end was seen, and after each of them a mail
went through."""

import os
import re
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import ordinary
import tap as taplib
from scene import PASSWORD, Scene, message

COLUMNS = ("front", "auth", "queue", "relay", "resolver", "store", "pam")

# What is expected, by letters:
WORDS = {
    "E": "EACCES, logged",       # the role says so itself, and goes on
    "K": "killed, replaced",     # parent says so
    "A": "allowed: its work",
    "U": "allowed: same user",   # only without root
    "P": "EPERM",                # of pam, whose refusals nobody logs
    "D": "EACCES",               # likewise, by the rights of its user
    "X": "peer dropped, replaced",
    "C": "socket closed, replaced",  # the one that is trusted less
    "O": "taken or ignored",
}

# Attempts, and a letter for each of COLUMNS; "-" is not tried: it is what the
# role is there for.
ATTEMPTS = (
    # name, argument, front auth queue relay resolver store pam
    ("read /etc/passwd", "read /etc/passwd", "EEEEEEA"),
    ("read users.db", "read {users}", "EAEEEAD"),
    ("write users.db", "write {users}", "EEEEEAD"),
    ("read queue.db", "read {queue}", "EEAEEED"),
    ("read the server's key", "read {key}", "EEEEEED"),
    ("make a file in /tmp", "make {tmp}/new", "EEEEEEA"),
    ("remove a file in /tmp", "unlink {tmp}/old-{role}", "EEEEEEA"),
    ("read a sibling's memory file", "memory-file {sibling}", "EEEEEED"),
    ("read a sibling's memory", "vm-read {sibling}", "KKKKKKP"),
    ("trace a sibling", "ptrace {sibling}", "KKKKKKP"),
    ("signal a sibling", "kill {sibling}", "KKKKKKP"),
    ("signal a sibling's thread", "tgkill {sibling}", "KKKKKKP"),
    ("signal by descriptor", "pidfd {sibling}", "KKKKKKP"),
    ("connect out: TCP", "tcp {tcp}", "EEEEEE-"),
    ("send out: UDP", "udp {tcp}", "EEEK-E-"),
    ("listen: TCP", "listen", "EEEEEE-"),
    ("connect: UNIX socket", "unix {unix}", "EEEEEE-"),
    ("connect: abstract socket", "abstract {unix}", "EEEEEEP"),
    ("fork", "fork", "KKKKKK-"),
    ("make a thread", "thread", "EEEEEE-"),
    ("exec", "exec /bin/true", "KKKKKK-"),
    ("executable memory", "mmap-exec", "KKKKKK-"),
    ("make memory executable", "mprotect-exec", "KKKKKK-"),
    ("become root", "setuid", "KKKKKKP"),
    ("allow to be traced", "dumpable", "EEEEEE-"),
    ("raise a limit", "rlimit", "EEEEEE-"),
    ("io_uring", "io_uring", "KKKKKKP"),
    ("bpf", "bpf", "KKKKKKP"),
    ("keyctl", "keyctl", "KKKKKK-"),
    ("mount", "mount {tmp}", "KKKKKKP"),
    ("unshare", "unshare", "KKKKKKP"),
    ("chroot", "chroot /", "KKKKKKP"),
)

# Who has a socket to whom, and what the receiver takes from that sender.
PARENT = "READY REFUSED LOG_LOST BAD_PEER"
LINKS = {
    ("front", "auth"): "SESSION AUTH_START AUTH_STEP AUTH_CANCEL MAIL RCPT "
                       "HEADERS SESSION_CLOSE",
    ("front", "queue"): "DATA_OPEN BODY_FILE SUBMIT DATA_ABORT SESSION_CLOSE",
    ("front", "resolver"): "RESOLVE",
    ("auth", "front"): "SESSION_FACTS AUTH_CHALLENGE AUTH_RESULT VERDICT "
                       "SESSION_KILL",
    ("auth", "queue"): "GRANT ENVELOPE ENVELOPE_RCPT HEADERS_OK DECISION ALARM "
                       "THROTTLE_ASK AUTH_SEEN SESSION_CLOSE",
    ("auth", "pam"): "PAM_CHECK TOKEN_CHECK",
    ("auth", "relay"): "SERVER_RULES SERVER_VERDICT",
    ("pam", "auth"): "PAM_RESULT",
    ("queue", "auth"): "THROTTLE_ANSWER",
    ("queue", "front"): "DATA_READY BODY_FD SUBMITTED",
    ("queue", "relay"): "JOB JOB_RCPT JOB_BODY",
    ("relay", "auth"): "SERVER_TLS SERVER_RCPT",
    ("relay", "queue"): "JOB_RESULT JOB_DONE RELAY_STATE",
    ("relay", "resolver"): "RESOLVE",
    ("resolver", "front"): "RESOLVED",
    ("resolver", "relay"): "RESOLVED",
    ("front", "parent"): PARENT,
    ("auth", "parent"): PARENT + " REPAIR REHASH",
    ("queue", "parent"): PARENT,
    ("relay", "parent"): PARENT,
    ("resolver", "parent"): PARENT,
    ("pam", "parent"): PARENT,
}
# These are in the list, but only as an answer: else they are out of turn.
ANSWERS = ("READY", "REFUSED")
# Whether a descriptor may come with the first type of the link: all others
# are tried with one.
CARRIERS = ("BODY_FD", "JOB_BODY")
# A front's word about a session of another.
FOREIGN = {("front", "auth"): "MAIL", ("front", "queue"): "DATA_OPEN"}
# The message whose lengths are spoiled, if it is not the first of the link;
# None: none of them has any, nor a number with a bound.
LENGTH = {("front", "queue"): "SUBMIT", ("queue", "front"): None}
MALFORMED = ("cut", "more", "length", "header", "type", "frame", "descriptor",
             "two", "empty")
TRUST = ("front", "relay", "resolver", "pam", "auth", "queue")
CLOSED = (("front", "queue"), ("auth", "queue"), ("queue", "front"),
          ("relay", "queue"), ("resolver", "relay"))


def types():
    """The names of all messages, from the table that packs them."""
    with open(os.path.join(harness.TOP, "submitd/proto.c"),
              encoding="utf-8") as f:
        lines = [line for line in f if line.startswith("\t[M_")]
    return [line.split('"')[1] for line in lines]


class Sockets:
    """A listener of TCP, one of UNIX, one with an abstract name: whoever is
    connected to them is noted."""

    def __init__(self, path):
        self.connected = []
        self.socks = []
        for family, name in ((socket.AF_INET, ("127.0.0.1", 0)),
                             (socket.AF_UNIX, path),
                             (socket.AF_UNIX, b"\0" + path.encode())):
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.bind(name)
            sock.listen(16)
            self.socks.append(sock)
            threading.Thread(target=self._accept, args=(sock,),
                             daemon=True).start()
        os.chmod(path, 0o777)
        self.port = self.socks[0].getsockname()[1]

    def _accept(self, sock):
        while True:
            try:
                peer, _ = sock.accept()
            except OSError:
                return
            self.connected.append(sock.family)
            peer.close()

    def close(self):
        """Ends it."""
        while self.socks:
            sock = self.socks.pop()
            sock.shutdown(socket.SHUT_RDWR)
            sock.close()


class Probe(Scene):
    """A server whose roles can be told to try something."""

    breaks_rules = True

    def __init__(self, tap):
        super().__init__(tap, log_level="debug", oauth_command="/bin/true",
                         limit_messages_hour=0, limit_messages_day=0,
                         **({"pam_user": "64906:64906"} if harness.is_root()
                            else {}))
        self.binary = os.path.join(harness.build_dir(), "t/probed")
        self.token = 0
        os.mkdir(self.path("tmp"))
        os.chmod(self.path("tmp"), 0o777)
        for role in COLUMNS:
            with open(self.path("tmp", "old-" + role), "wb"):
                pass
        self.sockets = Sockets(self.path("listener"))
        os.environ["SUBMITD_PROBE"] = self.path("probe")
        self.start()
        self.ask = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ask.connect(self.path("probe"))
        self.landlock = int(self.log.wait(0, ev="start",
                                          role="parent")["landlock"])
        self.mark = 0

    def stop(self, timeout=30):
        self.sockets.close()
        return super().stop(timeout)

    def fill(self, text, role):
        """The arguments of an attempt."""
        sibling = "relay" if role == "queue" else "queue"
        return text.format(
            users=self.path("data/users.db"), queue=self.path("spool/queue.db"),
            key=self.path("certs/server.key"), tmp=self.path("tmp"), role=role,
            sibling=self.pids(sibling)[0], tcp=self.sockets.port,
            unix=self.path("listener"))

    def probe(self, role, text):
        """Tells a role to try; what follows is in the log after self.mark."""
        self.mark = self.log.mark()
        self.ask.send(("%s %s" % (role, text)).encode())

    def mail(self):
        """One mail, end to end."""
        self.token += 1
        token = "probe %d" % self.token
        self.send(message(token), password=PASSWORD)
        self.delivered(token)

    def wait(self, **fields):
        """The next event since the attempt."""
        return self.log.wait(self.mark, **fields)

    def again(self, role):
        """Waits until the role is there again."""
        if role != "store":
            self.wait(ev="role", text=running(role))


def running(role):
    """The log line of a role that has begun."""
    return re.compile(r"ev=role role=%s .*state=running" % role)


def result_of(play, role, text):
    """Tries; what came of it, as a letter of WORDS."""
    play.probe(role, text)
    done = play.wait(text=re.compile(
        r"^%s\[\d+\]: ev=probe|ev=sandbox role=%s .*action=killed"
        % (role, role)))
    if done["ev"] == "sandbox":
        gone = play.wait(ev="role", text=re.compile(
            "role=%s .*state=gone" % role))
        play.again(role)
        return "K" if gone.get("signal") == "31" else "killed, but by what?"
    if done["result"] == "allowed":
        return "A"
    line = play.log.find(play.mark, ev="sandbox", result="EACCES",
                         pid=done["pid"])
    if done["result"] == "EACCES" and line is not None:
        return "E" if re.search("never makes|rights of its user",
                                line.get("error", "")) else line["text"]
    return {"EPERM": "P", "EACCES": "D"}.get(done["result"], done["result"])


def expected(play, letter, name, role):
    """What this kernel, and this user, make of a letter."""
    if letter == "D" and not harness.is_root() and "memory" not in name:
        return "U"  # pam is as free as its user
    if name == "connect out: TCP" and role in ("relay", "resolver") and \
            play.landlock < 4:
        return "A"
    if letter == "P" and play.landlock < 6 and "abstract" in name:
        return "A"
    return letter


def attempts(tap, play, mode):
    """The table of what touches the system; returns its rows."""
    rows = []
    for name, text, letters in ATTEMPTS:
        row = []
        for role, letter in zip(COLUMNS, letters):
            if letter == "-":
                row.append(WORDS["A"])
                continue
            before = play.pids(role)
            got = result_of(play, role, play.fill(text, role))
            want = expected(play, letter, name, role)
            if got == "A" and want == "U":
                got = "U"
            tap.ok(got == want, "%s: %s: %s: %s"
                   % (mode, role, name, WORDS.get(want)), "got: " + got,
                   *play.log.tail(6))
            if got != "K" and role != "store":
                tap.ok(play.pids(role) == before,
                       "%s: %s: %s: it runs on" % (mode, role, name))
            row.append(WORDS.get(got, got))
            play.mail()
        rows.append((name, row))
    tap.equal(play.sockets.connected, [], mode + ": nobody was connected to")
    for role in COLUMNS[:-1]:
        tap.ok(os.path.exists(play.path("tmp", "old-" + role)),
               "%s: %s has removed nothing" % (mode, role))
    return rows


def ipc_result(play, sender, receiver, how, name):
    """Sends; what came of it, as a letter."""
    play.probe(sender, "ipc %s %s %s" % (receiver, how, name))
    if how == "close":
        gone = min(sender, receiver, key=TRUST.index)
        play.wait(ev="replace", text=re.compile("role=%s .*has closed" % gone))
        play.again(gone)
        return "C"
    dropped = play.wait(role=receiver, ev="peer-dropped",
                        text=re.compile(" role=%s " % sender))
    if receiver != "parent":
        play.wait(ev="replace", text=re.compile("role=%s .*instance=%s "
                                                % (sender,
                                                   dropped["instance"])))
    play.again(sender)
    return "X"


def taken(tap, play, link, mode):
    """Types that the receiver takes: nobody is the worse for it."""
    sender, receiver = link
    names = [n for n in LINKS[link].split()
             if receiver != "parent" or n not in ANSWERS]
    before = play.lasting()
    for name in names:
        play.probe(sender, "ipc %s as-is %s" % (receiver, name))
        tap.equal(play.wait(role=sender, ev="probe")["result"], "sent",
                  "%s: %s to %s: %s is sent" % (mode, sender, receiver, name))
    play.mail()
    tap.equal(play.lasting(), before, "%s: %s to %s: what it may say does no "
              "harm" % (mode, sender, receiver))
    return "O"


def out_of_turn(tap, play, link, mode):
    """All other types, one after the other."""
    sender, receiver = link
    known = [n for n in LINKS[link].split()
             if receiver != "parent" or n not in ANSWERS]
    others = [n for n in types() if n not in known]
    results = {n: ipc_result(play, sender, receiver, "as-is", n)
               for n in others}
    play.mail()
    wrong = {n: r for n, r in results.items() if r != "X"}
    tap.ok(not wrong, "%s: %s to %s: out of turn: %s"
           % (mode, sender, receiver, " ".join(others)), wrong)
    return "X" if not wrong else str(wrong)


def one_ipc(tap, play, link, mode, how):
    """One malformed message."""
    sender, receiver = link
    name = next(n for n in LINKS[link].split() if n not in CARRIERS)
    if how == "foreign":
        name = FOREIGN[link]
    elif how == "length":
        name = LENGTH.get(link, name)
    got = ipc_result(play, sender, receiver, how, name)
    play.mail()
    want = "C" if how == "close" else "X"
    tap.ok(got == want, "%s: %s to %s: %s" % (mode, sender, receiver, how),
           got)
    return got


def messages(tap, play, mode):
    """The table of messages: links by kinds of message."""
    heads = ("may", "turn", "foreign") + MALFORMED + ("close",)
    rows = []
    for link in LINKS:
        row = [taken(tap, play, link, mode),
               out_of_turn(tap, play, link, mode)]
        for how in heads[2:]:
            if (how == "foreign" and link not in FOREIGN) or \
                    (how == "length" and LENGTH.get(link, "") is None) or \
                    (how == "close" and link not in CLOSED):
                row.append("")
            else:
                row.append(one_ipc(tap, play, link, mode, how))
        rows.append(("%s to %s" % link, row))
    return heads, rows


def complaints(tap, play, mode):
    """A front that cries wolf is replaced itself after a few times."""
    tap.note(mode + ": complaints")
    fronts = play.pids("front")
    for _ in range(4):
        queues = play.pids("queue")
        play.probe("front", "keep ipc queue complain")
        event = play.wait(ev="replace")
        play.again("queue" if "role=queue" in event["text"] else "front")
        if play.pids("queue") == queues:
            break
    tap.like(event["text"], "role=front .*complains too often",
             mode + ": who complains too often is replaced")
    tap.ok(play.pids("front") != fronts, mode + ": it is another front")
    play.mail()


def show(tap, title, heads, rows):
    """A table, in lines of TAP comments."""
    table = [("",) + tuple(heads)] + [(n,) + tuple(r) for n, r in rows]
    widths = [max(len(line[i]) for line in table)
              for i in range(len(table[0]))]
    tap.note(title)
    for line in table:
        tap.note(" | ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip())


def both(tap):
    """As whoever we are."""
    mode = "root" if harness.is_root() else "ordinary user"
    begun = time.monotonic()
    with Probe(tap) as play:
        play.mail()
        system = attempts(tap, play, mode)
        heads, ipc = messages(tap, play, mode)
        complaints(tap, play, mode)
        tap.equal(play.stop(), 0, mode + ": ends with status 0")
    show(tap, "probe, %s:" % mode, COLUMNS, system)
    show(tap, "messages, %s (%s):" % (
        mode, ", ".join("%s: %s" % (k, WORDS[k]) for k in "OXC")),
        heads, ipc)
    tap.note("%s: %.0f s" % (mode, time.monotonic() - begun))


def shipped(tap):
    """The program that is installed has nothing of it."""
    with open(harness.program("submitd"), "rb") as f:
        code = f.read()
    for text in (b"SUBMITD_PROBE", b"mprotect-exec", b"try_ptrace"):
        tap.ok(text not in code, "submitd has no %s" % text.decode())


def test(tap):
    shipped(tap)
    both(tap)
    if harness.is_root():
        ordinary.run(tap, both)


if harness.is_sanitized():
    taplib.skip_all("the sanitizers need wider filters")
taplib.run(test, 1800)
