#!/usr/bin/python3 -B
"""Every verb of submitctl, and every way to be refused: exit status, a
sentence on stderr, and a store that has not changed. The server is not needed,
but for the queue, where a small one of our own answers."""

import base64
import hashlib
import hmac
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import certs
import tap as taplib

SUBMITCTL = os.path.abspath(os.environ.get("SUBMITCTL",
                                           "./submitd/submitctl"))
(OK, USAGE, DATAERR, NOINPUT, NOUSER, UNAVAILABLE, CANTCREAT, IOERR, TEMPFAIL,
 PROTOCOL, NOPERM, CONFIG) = (0, 64, 65, 66, 67, 69, 73, 74, 75, 76, 77, 78)
HEX = "00112233445566778899aabbccddeeff" * 2
COLONS = ":".join(HEX[i:i + 2] for i in range(0, 64, 2))


class Ctl:
    """submitctl with a configuration of its own."""

    def __init__(self, directory):
        self.directory = directory
        self.conf = self.path("submitd.conf")
        self.users_db = self.path("db", "users.db")
        self.control = self.path("control")
        self.configure()

    def path(self, *names):
        """A file below the directory."""
        return os.path.join(self.directory, *names)

    def configure(self, **keys):
        """Writes the configuration."""
        keys = {"users_db": self.users_db, "control_socket": self.control,
                "user_auth": "12345:23456", "scram_iterations": "4096", **keys}
        with open(self.conf, "w", encoding="utf-8") as f:
            f.writelines('%s = "%s"\n' % pair for pair in keys.items())

    def run(self, *args, given=b"", **keys):
        """Runs a command; stdin is no terminal."""
        if isinstance(given, str):
            given = given.encode()
        keys.setdefault("env", {**os.environ, "TZ": "UTC0"})
        keys.setdefault("stdout", subprocess.PIPE)
        done = subprocess.run((SUBMITCTL, "-f", self.conf) + args, input=given,
                              stderr=subprocess.PIPE, timeout=60, check=False,
                              **keys)
        done.out = (done.stdout or b"").decode()
        done.err = done.stderr.decode()
        return done

    def json(self, *args, **keys):
        """What a command says with --json."""
        return json.loads(self.run("--json", *args, **keys).out)

    def content(self):
        """All bytes of the store."""
        with open(self.users_db, "rb") as f:
            return f.read()

    def query(self, sql, *values):
        """Rows of the store's file."""
        db = sqlite3.connect("file:%s?mode=ro" % self.users_db, uri=True)
        try:
            return db.execute(sql, values).fetchall()
        finally:
            db.close()


def does(tap, ctl, *args, given=b"", says=None):
    """A command that works; returns what it printed."""
    done = ctl.run(*args, given=given)
    name = " ".join(args)
    tap.ok(done.returncode == OK, name + ": works",
           "exit %d: %s" % (done.returncode, done.err))
    if says is not None:
        tap.like(done.out, says, name + ": says so")
    return done.out


def refuses(tap, ctl, name, args, status, why, **keys):
    """A command that is refused and changes nothing."""
    before = ctl.content() if os.path.exists(ctl.users_db) else None
    done = ctl.run(*args, **keys)
    after = ctl.content() if os.path.exists(ctl.users_db) else None
    good = (done.returncode == status and done.out == "" and before == after
            and re.search(why, done.err)
            and done.err.startswith("submitctl: "))
    tap.ok(good, "refused: " + name, "exit %d, expected %d" %
           (done.returncode, status), "stdout: " + done.out,
           "stderr: " + done.err, "store changed: %s" % (before != after))


# ---- the command line ----

def usage(tap, ctl):
    """Mistakes that are seen before anything is opened."""
    done = ctl.run()
    tap.equal(done.returncode, USAGE, "no command: usage")
    tap.like(done.err, r"usage: .*user add NAME", "no command: all are listed")
    tap.equal(ctl.run("-x", "status").returncode, USAGE, "unknown -x: usage")
    for name, args, why in (
            ("unknown noun", ("usr", "list"), 'no command "usr"'),
            ("unknown verb", ("user", "lst"),
             r'no command "user lst", but:\n.*user list'),
            ("noun alone", ("user",), r"user what\?\n.*user list"),
            ("unknown option", ("user", "list", "--all"),
             "unknown option --all\nusage: "),
            ("option without its value", ("user", "suspend", "x", "--reason"),
             "--reason needs a value"),
            ("value for a flag", ("user", "add", "x", "--no-password=1"),
             "takes no value"),
            ("too few words", ("address", "add", "ann"), "too few"),
            ("too many words", ("user", "show", "ann", "bo"), "too many"),
            ("help for nothing", ("help", "usr"), 'no command "usr"'),
            ("a password in the arguments", ("user", "passwd", "ann", "pw"),
             "too many")):
        refuses(tap, ctl, name, args, USAGE, "(?s)" + why)
    tap.like(does(tap, ctl, "help"), r"user add NAME.*queue list",
             "help: lists all")
    text = does(tap, ctl, "help", "cert")
    tap.ok("cert add" in text and "user add" not in text,
           "help cert: lists those")
    tap.like(does(tap, ctl, "help", "cert", "del"), r"cert del ID",
             "help cert del: says it")


def configuration(tap, ctl):
    """Without a good one nothing is done."""
    ctl.configure(users_dbx="x")
    refuses(tap, ctl, "unknown key", ("user", "list"), CONFIG,
            r"submitd\.conf:\d+: users_dbx: unknown key")
    os.unlink(ctl.conf)
    refuses(tap, ctl, "no configuration", ("user", "list"), CONFIG,
            "cannot be read")
    ctl.configure()


def init(tap, ctl):
    """The store, and who may read it."""
    refuses(tap, ctl, "no store yet", ("user", "list"), NOINPUT,
            "submitctl init")
    refuses(tap, ctl, "no store yet, to write",
            ("user", "add", "ann", "--no-password"), NOINPUT, "submitctl init")
    ctl.configure(users_db=ctl.path("no", "such", "users.db"))
    refuses(tap, ctl, "no place for a directory", ("init",), CANTCREAT,
            "cannot make the directory")
    ctl.configure(users_db=ctl.path("submitd.conf", "users.db"))
    refuses(tap, ctl, "directory is a file", ("init",), CANTCREAT,
            "Not a directory")
    ctl.configure()
    does(tap, ctl, "init", says="users.db is made.*\nNext: submitctl user add")
    root = os.geteuid() == 0
    for path, mode in ((ctl.path("db"), 0o750 if root else 0o700),
                       (ctl.users_db, 0o640 if root else 0o600)):
        sb = os.stat(path)
        tap.equal((oct(sb.st_mode & 0o7777), sb.st_uid,
                   sb.st_gid if root else 0),
                  (oct(mode), os.geteuid(), 23456 if root else 0),
                  "init: owner and mode of " + os.path.basename(path))
    before = ctl.content()
    tap.equal(ctl.json("init"), {"users_db": ctl.users_db, "created": False},
              "init again: nothing is made")
    tap.equal(ctl.content(), before, "init again: nothing is changed")
    if root:
        ctl.configure(user_auth="nobody-of-this-name")
        refuses(tap, ctl, "init for an unknown user", ("init",), CONFIG,
                "user_auth: no user")
        ctl.configure()


# ---- users ----

def scram_matches(record, password, iterations):
    """RFC 5802: the record is that of the password."""
    head, middle, keys = record.split("$")
    count, salt = middle.split(":")
    stored, server = keys.split(":")
    salted = hashlib.pbkdf2_hmac("sha256", password,
                                 base64.b64decode(salt), int(count))
    client = hmac.digest(salted, b"Client Key", "sha256")
    return (head == "SCRAM-SHA-256" and int(count) == iterations
            and base64.b64decode(stored) == hashlib.sha256(client).digest()
            and base64.b64decode(server)
            == hmac.digest(salted, b"Server Key", "sha256"))


def record_of(ctl, name):
    """The stored record of the account password; None without one."""
    rows = ctl.query("SELECT record FROM credential c JOIN user u"
                     " ON u.id = c.user_id WHERE u.name = ?"
                     " AND device_id IS NULL", name)
    return rows[0][0] if rows else None


def users(tap, ctl):
    """Adding, listing, changing, deleting."""
    does(tap, ctl, "user", "add", "Ann@Example.org", "--password-stdin",
         given="secret\n", says="^user ann@example.org is added\n$")
    tap.ok(scram_matches(record_of(ctl, "ann@example.org"), b"secret", 4096),
           "user add: the record is that of the password")
    added = ctl.json("user", "add", "bo", "--no-password", "--address",
                     "bo@example.org", "--address", "@Example.com",
                     "--policy=cert")
    tap.equal((added["name"], added["policy"], added["addresses"],
               added["password"], added["state"]),
              ("bo", "cert", ["@example.com", "bo@example.org"], [],
               "active"), "user add --json: says what is there")
    done = ctl.run("user", "add", "cy", "--no-password")
    tap.like(done.err, "cy owns no address.*submitctl address add cy",
             "user add: a hint where mail can't be sent")
    tap.equal(ctl.json("user", "add", "@example.net",
                       "--no-password")["addresses"], [],
              "user add: a name is never taken for a whole domain")
    does(tap, ctl, "user", "del", "@example.net")

    listed = ctl.json("user", "list")
    tap.equal([(u["name"], u["addresses"], u["password"]) for u in listed],
              [("ann@example.org", ["ann@example.org"], ["scram-sha-256"]),
               ("bo", ["@example.com", "bo@example.org"], []),
               ("cy", [], [])], "user list --json")
    tap.equal(listed, json.loads(ctl.run("user", "list", "--json").out),
              "--json may stand behind the verb")
    lines = does(tap, ctl, "user", "list").splitlines()
    at = lines[0].index("STATE")
    tap.equal((len(lines), [line[at:at + 6] for line in lines[1:]]),
              (4, ["active"] * 3), "user list: an aligned table")

    does(tap, ctl, "user", "set", "bo", "--policy", "both",
         says="user bo is changed")
    does(tap, ctl, "user", "suspend", "bo", "--reason", "lost phone",
         says="user bo is suspended")
    shown = ctl.json("user", "show", "BO")
    tap.equal({k: shown[k] for k in ("policy", "state", "reason")},
              {"policy": "both", "state": "suspended",
               "reason": "lost phone"}, "user show --json: all is set")
    tap.like(does(tap, ctl, "user", "show", "bo"),
             r"State: +suspended\nReason: +lost phone\n.*"
             r"Addresses: +@example\.com, bo@example\.org",
             "user show: lines for people")
    does(tap, ctl, "user", "resume", "bo", says="user bo is active")
    does(tap, ctl, "user", "set", "bo", "--max-priority", "4")
    tap.equal(ctl.json("user", "show", "bo")["max_priority"], 4,
              "user show --json: the highest priority")
    tap.like(does(tap, ctl, "user", "show", "bo"), r"Highest priority: +4\n",
             "user show: the highest priority")
    does(tap, ctl, "user", "set", "bo", "--max-priority=default")
    tap.equal(ctl.json("user", "show", "bo")["max_priority"], None,
              "user set: a priority as configured")
    does(tap, ctl, "user", "set", "bo", "--state=disabled", "--policy", "any")
    shown = ctl.json("user", "show", "bo")
    tap.equal((shown["state"], shown["reason"], shown["policy"]),
              ("disabled", "", "any"), "user set: state and policy at once")
    tap.equal(ctl.json("user", "del", "cy"), {"name": "cy", "deleted": True},
              "user del --json")
    tap.equal(len(ctl.json("user", "list")), 2, "user del: it is gone")


def passwords(tap, ctl):
    """By pipe; what is taken and what is not."""
    name = "ann@example.org"
    for title, given, typed in (
            ("with a newline", b"one\n", b"one"),
            ("without a newline", b"two", b"two"),
            ("with CR LF", b"three\r\n", b"three"),
            ("blanks are kept", b" four words here \n", b" four words here "),
            ("beyond ASCII", "f\u00fcnf\n".encode(), "f\u00fcnf".encode()),
            ("512 bytes", b"x" * 512 + b"\n", b"x" * 512)):
        done = ctl.run("user", "passwd", name, "--password-stdin", given=given)
        tap.ok(done.returncode == OK and
               scram_matches(record_of(ctl, name), typed, 4096),
               "user passwd: " + title, done.err)
        tap.equal("byte for byte" in done.err, not typed.isascii(),
                  "user passwd: a note only beyond ASCII: " + title)
        tap.ok(typed.decode() not in done.out + done.err or len(typed) < 6,
               "user passwd: nothing is shown: " + title)
    args = ("user", "passwd", name, "--password-stdin")
    for title, given, why in (
            ("empty input", b"", "is empty"),
            ("empty line", b"\n", "is empty"),
            ("two lines", b"one\ntwo\n", "more than one line"),
            ("not UTF-8", b"f\xfcnf\n", "not UTF-8"),
            ("overlong UTF-8", b"\xc0\xafx\n", "not UTF-8"),
            ("control character", b"a\tb\n", "control character"),
            ("NUL", b"a\0b\n", "control character"),
            ("C1 control character", b"a\xc2\x85b\n", "control character"),
            ("513 bytes", b"x" * 513 + b"\n", "longer than 512"),
            ("very long", b"x" * 100000, "longer than 512")):
        refuses(tap, ctl, "password: " + title, args, DATAERR, why,
                given=given)
    refuses(tap, ctl, "no terminal", args[:3], USAGE,
            "--password-stdin, or none with --no-password", given=b"x\n")
    refuses(tap, ctl, "both options", args + ("--no-password",), USAGE,
            "exclude each other", given=b"x\n")
    does(tap, ctl, "user", "passwd", name, "--no-password",
         says="has no password now")
    tap.equal(record_of(ctl, name), None, "user passwd --no-password: gone")


def at_terminal(ctl, args, answers):
    """Runs a command at a terminal; each answer follows a prompt. Returns
    the exit status (negative: a signal) and all that was on the screen."""
    pid, fd = pty.fork()
    if pid == 0:
        # It is ignored by who was started in the background.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execv(SUBMITCTL, (SUBMITCTL, "-f", ctl.conf) + args)
    screen, answers = b"", list(answers)
    prompted = 0
    while select.select([fd], [], [], 60)[0]:
        try:
            read = os.read(fd, 4096)
        except OSError:
            break  # the terminal is closed: the command has ended
        screen += read
        if answers and screen.count(b": ") > prompted:
            prompted = screen.count(b": ")
            os.write(fd, answers.pop(0))
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    return os.waitstatus_to_exitcode(status), screen.decode()


def prompts(tap, ctl):
    """Passwords typed by people."""
    name = "ann@example.org"
    args = ("user", "passwd", name)
    status, screen = at_terminal(ctl, args, (b"typed pw\n", b"typed pw\n"))
    tap.equal(status, OK, "prompt: works")
    tap.like(screen, "New password for ann@example.org: .*The same again",
             "prompt: asked twice")
    tap.unlike(screen, "typed", "prompt: no echo")
    tap.ok(scram_matches(record_of(ctl, name), b"typed pw", 4096),
           "prompt: the record is that of the password")
    before = ctl.content()
    status, screen = at_terminal(ctl, args, (b"one\n", b"other\n"))
    tap.equal(status, DATAERR, "prompt: two passwords: refused")
    tap.like(screen, "differ", "prompt: two passwords: says so")
    status, screen = at_terminal(ctl, args, (b"\n",))
    tap.equal(status, DATAERR, "prompt: empty: refused")
    status, screen = at_terminal(ctl, args, (b"\x03",))
    tap.equal(status, -signal.SIGINT, "prompt: interrupted")
    status, screen = at_terminal(ctl, ("user", "add", "Not Me"), ())
    tap.equal(status, DATAERR, "prompt: a bad name is told before")
    tap.unlike(screen, "assword", "prompt: nobody is asked in vain")
    tap.equal(ctl.content(), before, "prompt: refusals change nothing")


def user_errors(tap, ctl):
    """What is refused."""
    for args in (("user", "passwd", "zoe", "--no-password"),
                 ("user", "set", "zoe", "--policy", "any"),
                 ("user", "show", "zoe"), ("user", "suspend", "zoe"),
                 ("user", "resume", "zoe"), ("user", "del", "zoe"),
                 ("user", "del", "no such name"),
                 ("address", "add", "zoe", "zoe@example.org"),
                 ("address", "del", "zoe", "zoe@example.org"),
                 ("address", "list", "zoe"), ("cert", "add", "zoe", HEX),
                 ("cert", "list", "zoe")):
        refuses(tap, ctl, "unknown user: " + " ".join(args[:2]), args, NOUSER,
                "no user zoe|no such user")
    add = ("user", "add")
    none = ("--no-password",)
    for name, args, status, why in (
            ("duplicate", add + ("BO",) + none, DATAERR,
             "user bo exists already"),
            ("blank in the name", add + ("a b",) + none, DATAERR,
             'a b": a user name is made of'),
            ("empty name", add + ("",) + none, DATAERR, "1 to 64"),
            ("long name", add + ("a" * 65,) + none, DATAERR, "1 to 64"),
            ("bad address", add + ("cy", "--address", "cy@") + none, DATAERR,
             'address "cy@": '),
            ("one address twice", add + ("cy", "--address", "a@b.c",
                                         "--address", "A@b.c") + none,
             DATAERR, "cy owns a@b.c already|cy owns A@b.c already"),
            ("bad policy", add + ("cy", "--policy", "none") + none, USAGE,
             '"none" is no policy, expected any, cert, password or both'),
            ("nothing to set", ("user", "set", "bo"), USAGE,
             "nothing to set"),
            ("bad policy to set", ("user", "set", "bo", "--policy", "x"),
             USAGE, "no policy"),
            ("bad priority", ("user", "set", "bo", "--max-priority", "10"),
             USAGE, "no highest priority, expected 0 to 9"),
            ("bad state", ("user", "set", "bo", "--state", "x"), USAGE,
             "no state"),
            ("reason of two lines", ("user", "suspend", "bo", "--reason",
                                     "a\nb"), DATAERR, "one line"),
            ("long reason", ("user", "suspend", "bo", "--reason", "x" * 201),
             DATAERR, "longer than 200")):
        refuses(tap, ctl, name, args, status, why)


# ---- addresses, certificates, access map ----

def addresses(tap, ctl):
    """What a user may send as."""
    does(tap, ctl, "address", "add", "bo", "Bo.B@Example.net", "*",
         says="user bo: 2 addresses added")
    tap.equal(ctl.json("address", "add", "bo", "x@[IPv6:2001:DB8::1]"),
              {"user": "bo", "added": ["x@[IPv6:2001:DB8::1]"]},
              "address add --json")
    rows = ctl.json("address", "list", "bo")
    tap.equal([r["address"] for r in rows],
              ["*", "@example.com", "Bo.B@example.net", "bo@example.org",
               "x@[ipv6:2001:db8::1]"], "address list --json")
    tap.equal(len(ctl.json("address", "list")), 6, "address list: of all")
    tap.like(does(tap, ctl, "address", "list"),
             r"^USER +ADDRESS +CREATED\nann@example\.org +ann@example\.org ",
             "address list: a table")
    does(tap, ctl, "address", "del", "bo", "*", "BO.B@EXAMPLE.NET",
         "x@[ipv6:2001:db8::1]", says="3 addresses deleted")
    add = ("address", "add", "bo")
    for name, args, why in (
            ("no @", add + ("bo",), 'address "bo": it has no @'),
            ("as other servers write a domain", add + ("*@b.c",),
             "a whole domain is written @domain"),
            ("the second of two", add + ("good@b.c", "b@d@c"), 'b@d@c'),
            ("twice", add + ("bo@EXAMPLE.org",), "owns bo@example.org"),
            ("U-label", add + ("bo@m\u00fcnchen.de",), "xn-- form"),
            ("not his", ("address", "del", "bo", "ann@example.org"),
             "bo has no address ann@example.org"),
            ("one of two is not his",
             ("address", "del", "bo", "bo@example.org", "x@y.z"),
             "no address x@y.z")):
        refuses(tap, ctl, "address: " + name, args, DATAERR, why)


FINGERPRINTS = (
    ("plain", HEX), ("upper case", HEX.upper()), ("colons", COLONS),
    ("colons, upper case", COLONS.upper()), ("SHA256:", "SHA256:" + HEX),
    ("as openssl 3 prints it", "sha256 Fingerprint=" + COLONS.upper()),
    ("as openssl 1 prints it", "SHA256 Fingerprint=" + COLONS.upper()))
NO_FINGERPRINTS = (
    ("63 digits", HEX[1:]), ("65 digits", HEX + "0"), ("empty", ""),
    ("no hex", "g" + HEX[1:]), ("colon at the end", COLONS + ":"),
    ("one colon missing", COLONS.replace(":", "", 1)),
    ("one colon only", HEX[:32] + ":" + HEX[32:]),
    ("colons in odd places", COLONS[1:] + "0"), ("SHA-1", HEX[:40]),
    ("MD5 prefix", "MD5:" + HEX), ("a blank", HEX[:32] + " " + HEX[32:]))


def fingerprints(tap, ctl):
    """Each spelling is the same certificate."""
    for name, text in FINGERPRINTS:
        added = ctl.json("cert", "add", "bo", text, "--label", "my phone")
        tap.equal((added["kind"], added["value"], added["label"],
                   added["not_after"], added["state"]),
                  ("cert-sha256", HEX, "my phone", None, "usable"),
                  "cert add: " + name)
        tap.equal(ctl.json("cert", "show", text)["id"], added["id"],
                  "cert show: " + name)
        does(tap, ctl, "cert", "del", text, says="of user bo is deleted")
    for name, text in NO_FINGERPRINTS:
        refuses(tap, ctl, "fingerprint: " + name,
                ("cert", "add", "bo", "--", text), DATAERR,
                "no SHA-256 fingerprint: 64 hex digits are expected")


def certificates(tap, ctl):
    """Files, keys, listings."""
    fingerprints(tap, ctl)
    ca = certs.CA(ctl.path("ca"), name="Test CA")
    pair = ca.issue("laptop", "Ann's laptop")
    added = ctl.json("cert", "add", "ann@example.org", "--file", pair.cert)
    tap.equal((added["value"], added["label"], added["kind"]),
              (pair.sha256(), "Ann's laptop", "cert-sha256"),
              "cert add --file: fingerprint and label of the file")
    tap.like(added["created"], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$",
             "cert add: times in JSON are ISO 8601")
    tap.ok(added["not_after"] > added["created"],
           "cert add --file: the end of validity is known")
    der = subprocess.run(("openssl", "x509", "-in", pair.cert, "-pubkey",
                          "-noout"), stdout=subprocess.PIPE, check=True)
    der = subprocess.run(("openssl", "pkey", "-pubin", "-outform", "DER"),
                         input=der.stdout, stdout=subprocess.PIPE, check=True)
    by_key = ctl.json("cert", "add", "ann@example.org", "--pubkey", "--file",
                      pair.cert, "--label", "any with the key")
    tap.equal((by_key["kind"], by_key["value"], by_key["not_after"]),
              ("spki-sha256", hashlib.sha256(der.stdout).hexdigest(), None),
              "cert add --pubkey: the key's digest, without an end")
    listed = ctl.json("cert", "list", "ann@example.org")
    tap.equal([c["id"] for c in listed], [added["id"], by_key["id"]],
              "cert list --json")
    tap.like(does(tap, ctl, "cert", "list"),
             r"^ID +USER .*\n *%d +ann@example\.org +usable +\d{4}-\d\d-\d\d "
             r"\d\d:\d\d  Ann's laptop " % added["id"], "cert list: a table")
    tap.like(does(tap, ctl, "cert", "show", str(by_key["id"])),
             r"Kind: +spki-sha256\n", "cert show: by id")
    tap.like(does(tap, ctl, "user", "show", "ann@example.org"),
             r"Certificates:\n +ID .*Ann's laptop", "user show: with them")
    with open(pair.key, encoding="ascii") as key, \
            open(pair.cert, encoding="ascii") as cert, \
            open(ctl.path("both.pem"), "w", encoding="ascii") as both:
        both.write(key.read() + cert.read())
    refuses(tap, ctl, "certificate of somebody else",
            ("cert", "add", "bo", "--file", ctl.path("both.pem")), DATAERR,
            "stands for user ann@example.org already")
    certificate_errors(tap, ctl, pair)
    does(tap, ctl, "cert", "del", str(by_key["id"]))
    does(tap, ctl, "cert", "del", pair.sha256())
    tap.equal(ctl.json("cert", "list"), [], "cert del: gone")


def certificate_errors(tap, ctl, pair):
    """What is refused."""
    with open(ctl.path("cert.der"), "wb") as f:
        f.write(pair.der())
    with open(pair.cert, encoding="ascii") as f:
        text = f.read()
    with open(ctl.path("broken.pem"), "w", encoding="ascii") as f:
        f.write(text.replace("MII", "MIX", 1))
    with open(ctl.path("cut.pem"), "w", encoding="ascii") as f:
        f.write(text[:200])
    add = ("cert", "add", "bo")
    for name, args, status, why in (
            ("neither fingerprint nor file", add, USAGE, "give one of"),
            ("both", add + (HEX, "--file", pair.cert), USAGE, "give one of"),
            ("label of two lines", add + (HEX, "--label", "a\nb"), DATAERR,
             "one line"),
            ("empty label", add + (HEX, "--label", ""), DATAERR, "1 to 64"),
            ("no such file", add + ("--file", ctl.path("none.pem")), NOINPUT,
             "No such file"),
            ("a directory", add + ("--file", ctl.directory), IOERR,
             "cannot be read"),
            ("a key", add + ("--file", pair.key), DATAERR,
             "but a private key"),
            ("DER", add + ("--file", ctl.path("cert.der")), DATAERR,
             "no certificate in PEM form .*-inform DER"),
            ("broken", add + ("--file", ctl.path("broken.pem")), DATAERR,
             "malformed|no certificate"),
            ("cut", add + ("--file", ctl.path("cut.pem")), DATAERR,
             "no certificate in PEM"),
            ("unknown id", ("cert", "show", "999"), DATAERR,
             "no certificate 999"),
            ("unknown fingerprint", ("cert", "del", "f" * 64), DATAERR,
             "no certificate fff"),
            ("neither id nor fingerprint", ("cert", "del", "12x"), DATAERR,
             "no SHA-256 fingerprint")):
        refuses(tap, ctl, "cert: " + name, args, status, why)


def access_map(tap, ctl):
    """Entries of the map."""
    tap.equal(ctl.json("access", "list"), [], "access list: empty is []")
    does(tap, ctl, "access", "set", "TLS_Clt:", "VERIFY:128",
         says="TLS_Clt: is VERIFY:128 now")
    tap.equal(ctl.json("access", "set", "From:spam@example.org",
                       "ERROR:5.7.1:550", "go", "away"),
              {"key": "From:spam@example.org", "source": "cli",
               "value": "ERROR:5.7.1:550 go away"}, "access set --json")
    does(tap, ctl, "access", "set", "tls_clt:", "ENCR:112")
    tap.equal(does(tap, ctl, "access", "get", "TLS_CLT:"), "ENCR:112\n",
              "access get: in any case, replaced")
    tap.equal(ctl.json("access", "get", "tls_clt:"),
              {"key": "tls_clt:", "value": "ENCR:112"}, "access get --json")
    db = sqlite3.connect(ctl.users_db)
    db.executemany("INSERT INTO access (key, shown, value, source, line,"
                   " created) VALUES (lower(?1), ?1, ?2, 'file', ?3, 1)",
                   (("TLS_Clt:", "VERIFY", 1), ("Connect:192.0.2", "OK", 9)))
    db.commit()
    db.close()
    rows = ctl.json("access", "list")
    tap.equal([(r["key"], r["value"], r["source"], r["line"]) for r in rows],
              [("Connect:192.0.2", "OK", "file", 9),
               ("From:spam@example.org", "ERROR:5.7.1:550 go away", "cli",
                None),
               ("tls_clt:", "ENCR:112", "cli", None),
               ("TLS_Clt:", "VERIFY", "file", 1)], "access list --json")
    tap.equal(len(ctl.json("access", "list", "--source", "file")), 2,
              "access list --source")
    tap.equal(len(ctl.json("access", "list", "TLS_Clt:")), 2,
              "access list of a key")
    tap.equal(does(tap, ctl, "access", "get", "TLS_Clt:"), "ENCR:112\n",
              "access get: what was set here wins")
    does(tap, ctl, "access", "del", "TLS_CLT:", says="is deleted")
    tap.equal(does(tap, ctl, "access", "get", "TLS_Clt:"), "VERIFY\n",
              "access get: then the file's counts")
    for name, args, status, why in (
            ("file's entry", ("access", "del", "TLS_Clt:"), DATAERR,
             "line 1 of the map file"),
            ("no entry to delete", ("access", "del", "To:x"), DATAERR,
             "no access entry to:x"),
            ("no entry to get", ("access", "get", "To:x"), DATAERR,
             "no access entry to:x"),
            ("blank in the key", ("access", "set", "TLS_Clt: x", "VERIFY"),
             DATAERR, "."),
            ("empty value", ("access", "set", "To:x", ""), DATAERR, "."),
            ("a requirement that is none",
             ("access", "set", "TLS_Clt:192.0.2.1", "VERIFY,ENCR:128"),
             DATAERR, "."),
            ("tag with a secret",
             ("access", "set", "AuthInfo:x", '"P:secret"'), DATAERR,
             "has no meaning here"),
            ("unknown source", ("access", "list", "--source", "x"), USAGE,
             "no source")):
        refuses(tap, ctl, "access: " + name, args, status, why)


# ---- the store ----

def audit(tap, ctl):
    """Each write leaves one row, a refused one none."""
    before = ctl.query("SELECT count(*) FROM admin_audit")[0][0]
    env = {**os.environ, "SUDO_USER": "carla"}
    ctl.run("address", "add", "bo", "audit@example.org", env=env)
    ctl.run("address", "add", "bo", "audit@example.org", env=env)
    rows = ctl.query("SELECT uid, actor, what, object, detail FROM"
                     " admin_audit ORDER BY id")
    tap.equal(len(rows), before + 1, "audit: one row")
    tap.equal((rows[-1][0],) + rows[-1][2:],
              (os.getuid(), "address add", "bo", "audit@example.org"),
              "audit: what was changed")
    if os.getuid() == 0:
        tap.equal(rows[-1][1], "carla (sudo)", "audit: who was behind sudo")
    whole = ctl.query("SELECT group_concat(detail || object) FROM"
                      " admin_audit")[0][0]
    tap.unlike(whole, "secret|typed|SCRAM-SHA-256\\$", "audit: no secret")


def store_trouble(tap, ctl):
    """Stores that can't be read or written."""
    locked(tap, ctl)
    version = ctl.query("PRAGMA user_version")[0][0]
    set_version(ctl, version + 1)
    for args in (("user", "list"), ("user", "del", "bo")):
        refuses(tap, ctl, "newer schema", args, DATAERR, "later submitd")
    set_version(ctl, version)
    died_in_a_write(tap, ctl)
    good = ctl.users_db
    ctl.users_db = ctl.path("other.db")
    with open(ctl.users_db, "wb") as f:
        f.write(b"no database" * 100)
    ctl.configure()
    refuses(tap, ctl, "no database", ("user", "list"), DATAERR,
            "other.db: .*not a database")
    refuses(tap, ctl, "init over another file", ("init",), DATAERR,
            "other.db: ")
    ctl.users_db = good
    ctl.configure()
    with open("/dev/full", "wb") as full:
        done = ctl.run("user", "list", stdout=full)
    tap.equal(done.returncode, IOERR, "output that can't be written")
    permissions(tap, ctl)


def set_version(ctl, version):
    """Makes the store one of another schema version."""
    db = sqlite3.connect(ctl.users_db, isolation_level=None)
    db.execute("PRAGMA user_version = %d" % version)
    db.close()


def locked(tap, ctl):
    """Another writer, in a process of its own: reading the file here would
    drop a lock of this process."""
    with subprocess.Popen((sys.executable, "-c", """if True:
            import sqlite3, sys
            db = sqlite3.connect(sys.argv[1], isolation_level=None)
            db.execute("BEGIN IMMEDIATE")
            print("locked", flush=True)
            sys.stdin.read()""", ctl.users_db), stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        refuses(tap, ctl, "another writer", ("user", "del", "bo"), TEMPFAIL,
                "users.db: locked by another writer")
        does(tap, ctl, "user", "list")
        writer.stdin.close()


def died_in_a_write(tap, ctl):
    """A writer was killed half-way: a command that only reads repairs it."""
    subprocess.run((sys.executable, "-c", """if True:
        import os, sqlite3, sys
        db = sqlite3.connect(sys.argv[1], isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        for i in range(60):
            db.execute("INSERT INTO setting VALUES (?, ?)",
                       ("x%d" % i, "x" * 100000))
        os._exit(0)""", ctl.users_db), check=True)
    tap.ok(os.path.exists(ctl.users_db + "-journal"),
           "killed writer: its journal is there")
    tap.equal(len(ctl.json("user", "list")), 2, "killed writer: repaired")
    tap.equal(ctl.query("SELECT count(*) FROM setting"
                        " WHERE name LIKE 'x%'"), [(0,)],
              "killed writer: nothing of its work is left")


def permissions(tap, ctl):
    """Somebody who may not read or write the store."""
    program = ctl.path("submitctl")
    shutil.copy(SUBMITCTL, program)
    root = os.geteuid() == 0
    os.chmod(ctl.directory, 0o755)
    os.chmod(ctl.conf, 0o644)
    modes = ((ctl.path("db"), 0o755, 0o750), (ctl.users_db, 0o444, 0o640))
    for path, mode, _ in modes:
        os.chmod(path, mode)

    def run(*args):
        def drop():
            if root:
                os.setgid(65534)
                os.setuid(65534)
        return subprocess.run((program, "-f", ctl.conf) + args,
                              stdin=subprocess.DEVNULL, preexec_fn=drop,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=60, check=False)

    tap.equal(run("user", "list").returncode, OK, "read-only: may list")
    done = run("user", "del", "bo")
    tap.equal(done.returncode, NOPERM, "read-only: may not write")
    tap.like(done.stderr, "users.db: no permission", "read-only: says so")
    os.chmod(ctl.users_db, 0)
    tap.equal(run("user", "list").returncode, NOPERM, "no right to read")
    for path, _, mode in modes:
        os.chmod(path, mode)


# ---- the queue ----

class Server:
    """The other end of the control socket: answers as it is told."""

    def __init__(self, path):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.answers = []
        self.requests = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        """One request, one answer."""
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            with peer:
                line = peer.makefile("rb").readline()
                self.requests.append(json.loads(line))
                peer.sendall(self.answers.pop(0))

    def will(self, *lines):
        """The next answer: objects, or bytes as they are."""
        self.answers.append(b"".join(
            line if isinstance(line, bytes)
            else json.dumps(line).encode() + b"\n" for line in lines))


RCPTS = [{"to": "r@s.t", "state": "delivered", "attempts": 1,
          "next_try": None, "last": "2023-11-14T22:13:20Z", "code": 250,
          "esc": "2.0.0", "text": "taken"},
         {"to": "x@y.z", "state": "held", "attempts": 3, "next_try": None,
          "last": "2023-11-14T22:13:20Z", "code": 450, "esc": "4.2.1",
          "text": "later"},
         {"to": "u@v.w", "state": "waiting", "attempts": 0, "next_try": None,
          "last": None, "code": 0, "esc": "", "text": ""}]
ITEM = {"qid": "0193ab7c00001", "from": "ann@example.org", "user": "ann",
        "size": 5000, "arrived": "2023-11-14T22:13:20Z", "state": "waiting",
        "next_try": None, "rcpts": RCPTS}
STATUS = {"version": "0.1.0", "uptime_s": 93784, "sessions": 2,
          "roles": [{"role": "queue", "instance": 1, "pid": 77,
                     "state": "running"}],
          "queue": {"messages": 3, "bytes": 5000, "in_flight": 0,
                    "oldest": None, "recipients": {"held": 1}},
          "smarthost": {"host": "mx.example.net", "state": "down",
                        "trouble": "tls", "text": "no STARTTLS"},
          "alarms": [{"what": "smarthost", "trouble": "tls",
                      "since": "2023-11-14T22:13:20Z",
                      "text": "no STARTTLS"}]}


def queue(tap, ctl):
    """Requests, answers, and servers that misbehave."""
    for args in (("queue", "list"), ("queue", "show", "0a"),
                 ("queue", "stats"), ("queue", "hold", "0a", "0b"),
                 ("queue", "retry", "--all"), ("status",)):
        refuses(tap, ctl, "no server: " + " ".join(args), args, UNAVAILABLE,
                "is submitd running")
    server = Server(ctl.control)
    hostile = {**ITEM, "from": "a\x1b]0;x\x07\u202e@b", "qid": "0193ab7c00002"}
    server.will({"item": ITEM}, {"item": hostile}, {"ok": True})
    tap.equal(ctl.json("queue", "list"), [ITEM, hostile], "queue list --json")
    server.will({"item": ITEM}, {"item": hostile}, {"ok": True})
    out = does(tap, ctl, "queue", "list")
    tap.like(out, r"^QID .*\n0193ab7c00001 +2023-11-14 22:13 +4\.9K +waiting"
             r" +- +ann@example\.org +x@y\.z \(\+1\) +450 4\.2\.1 later\n",
             "queue list: a table")
    tap.ok("\x1b" not in out and "\u202e" not in out and "\\u{1b}" in out,
           "queue list: what strangers wrote is escaped")
    server.will({"item": {**ITEM, "from": ""}}, {"ok": True})
    does(tap, ctl, "queue", "list", says=" <> ")
    server.will({"ok": True})
    tap.equal(ctl.json("queue", "list"), [], "queue list --json: empty is []")
    server.will({"ok": True})
    does(tap, ctl, "queue", "list", says="queue is empty")
    server.will({"item": {**ITEM, "how": "cert"}}, {"ok": True})
    tap.like(does(tap, ctl, "queue", "show", "0193ab7c00001"),
             r"From: +ann@.*Logged in by: +cert\n.*Recipients:\n +TO .*\n"
             r" +r@s\.t +delivered .*\n"
             r" +x@y\.z +held +3 +2023-11-14 22:13 +- +450 4\.2\.1 later\n"
             r" +u@v\.w +waiting +0 +- +- +-\n",
             "queue show: with recipients")
    server.will({"item": ITEM}, {"ok": True})
    tap.equal(ctl.json("queue", "show", "0193ab7c00001"), ITEM,
              "queue show --json")
    server.will({"ok": True, **STATUS["queue"]})
    tap.like(does(tap, ctl, "queue", "stats"),
             r"^Messages: +3\nSize: +4\.9K\n.*Recipients held: +1\n",
             "queue stats: lines")
    server.will({"ok": True, **STATUS})
    tap.equal(ctl.json("status"), STATUS, "status --json")
    server.will({"ok": True, **STATUS})
    tap.like(does(tap, ctl, "status"),
             r"Up for: +1 d 02:03:04\n.*Messages queued: +3\n.*"
             r"Smarthost is: +down\n.*It said: +no STARTTLS\n.*"
             r"Roles:\n +ROLE .*\n +queue +1 +77 +running\nAlarms:\n.*"
             r"\n +smarthost +tls +2023-11-14 22:13 +no STARTTLS\n$",
             "status: lines")
    changes(tap, ctl, server)
    misbehaviour(tap, ctl, server)
    server.listener.close()
    os.unlink(ctl.control)


def changes(tap, ctl, server):
    """Verbs that change the queue."""
    del server.requests[:]
    for verb, did in (("hold", "held"), ("release", "released"),
                      ("retry", "to be tried now"), ("del", "deleted")):
        server.will({"ok": True, "changed": 1})
        does(tap, ctl, "queue", verb, "0193ab7c00001",
             says="^1 message %s\n$" % did)
        server.will({"ok": True, "changed": 7})
        later = {"later": 0} if verb in ("release", "retry") else {}
        tap.equal(ctl.json("queue", verb, "--all"), {"changed": 7, **later},
                  "queue %s --all --json" % verb)
        tap.equal(server.requests[-2:],
                  [{"cmd": "queue." + verb, "qid": "0193ab7c00001"},
                   {"cmd": "queue." + verb, "all": True}],
                  "queue %s: what is asked" % verb)
    server.will({"ok": True, "changed": 3, "later": 2})
    does(tap, ctl, "queue", "release", "--all",
         says="^3 messages released; 2 wait for the time the sender asked for "
         r"\(queue release --now sends them at once\)\n$")
    server.will({"ok": True, "changed": 2, "later": 0})
    does(tap, ctl, "queue", "release", "--now", "--user", "bo",
         says="^2 messages released\n$")
    tap.equal(server.requests[-1],
              {"cmd": "queue.release", "user": "bo", "now": True},
              "queue release --now: what is asked")
    gone = {"ok": False, "exit": 65, "error": "no message 0a in the queue"}
    server.will(gone)
    server.will({"ok": True, "changed": 1})
    done = ctl.run("queue", "del", "0a", "0b")
    tap.equal((done.returncode, done.out, done.err),
              (DATAERR, "1 message deleted\n",
               "submitctl: no message 0a in the queue\n"),
              "queue del: goes on after one that is gone, and says it")
    for name, args, status, why in (
            ("neither id nor --all", ("queue", "hold"), USAGE, "give either"),
            ("both", ("queue", "hold", "0a", "--all"), USAGE, "give either"),
            ("no queue id", ("queue", "del", "0a", "x1"), DATAERR,
             '"x1" is no queue id'),
            ("no queue id to show", ("queue", "show", "0x1"), DATAERR,
             "is no queue id")):
        refuses(tap, ctl, "queue: " + name, args, status, why)


def misbehaviour(tap, ctl, server):
    """Answers that are none."""
    for name, lines, status, why in (
            ("refusal", ({"ok": False, "exit": 75, "error": "disk full"},),
             TEMPFAIL, "disk full"),
            ("refusal without words", ({"ok": False},), 70,
             "without a reason"),
            ("nothing", (b"",), PROTOCOL, "broke off"),
            ("half a line", (b'{"ok":tr',), PROTOCOL, "broke off"),
            ("no JSON", (b"hello\n",), PROTOCOL, "not understood"),
            ("no object", (b"[1]\n",), PROTOCOL, "not understood"),
            ("the wrong number of items", ({"item": ITEM}, {"item": ITEM},
                                           {"ok": True}), PROTOCOL,
             "not understood"),
            ("items without an end", ({"item": ITEM},), PROTOCOL,
             "broke off")):
        server.will(*lines)
        refuses(tap, ctl, "answer: " + name, ("queue", "show", "0a"), status,
                why)


def test(tap):
    """All of it, in a directory of its own."""
    directory = tempfile.mkdtemp(prefix="submitctl-")
    ctl = Ctl(directory)
    try:
        for part in (usage, configuration, init, users, passwords, prompts,
                     user_errors, addresses, certificates, access_map, audit,
                     store_trouble, queue):
            part(tap, ctl)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    taplib.run(test)
