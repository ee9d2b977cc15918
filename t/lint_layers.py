#!/usr/bin/python3 -B
"""The walls between the folders: who may include what. Each foreign library
enters by few doors, and pure files know neither socket, file, clock, event nor
log."""

import fnmatch
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = ("store", "auth", "submitd")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:[^"\\\n]|\\.)*"', re.S)

# From a folder one may include own headers and those of:
BELOW = {"store": (), "auth": ("store",), "submitd": ("store", "auth")}

ROLES = ("submitd/%s.[ch]" % role for role in (
    "role", "parent", "front", "front_*", "authd", "authd_*", "pamd", "queue", "queue_*",
    "parent_*", "relay", "relay_*", "resolver",
    "storefix"))

# Headers of a library, and the files that may include them.
DOORS = {
    "sqlite3*.h": ("store/*.[ch]",),
    "sasl/*": ("auth/sasl.c", "auth/mech_*.c", "auth/mech.h",
               "auth/saslauthd.c", "submitd/sasl_client.c"),
    "security/*": ("auth/pam.c",),
    "confuse.h": ("submitd/conf.c",),
    "openssl/*": ("submitd/tls.c", "submitd/tls_*.[ch]", "submitd/tlsmem.c",
                  "submitd/stream.c", "submitd/stream_tls.c",
                  "auth/cert.c", "auth/certfile.c", "auth/ca.c", "auth/scram.c",
                  "auth/jwt.c", "submitd/digest.c"),
    "crypt.h": ("auth/cryptpw.c",),
    "event*.h": ("submitd/stream.c", "submitd/ipc.c", "submitd/control.c")
    + tuple(ROLES),
    "event2/*": (),  # as event*.h
    "jansson.h": ("auth/jwt.c", "submitd/control.[ch]", "submitd/queue*.[ch]",
                  "submitd/submitctl.c", "submitd/ctl*.[ch]"),
    "unbound.h": ("submitd/resolver.c",),
    "seccomp.h": ("submitd/callfilter.c",),
    "systemd/*": ("submitd/parent*.c",),
    "idn2.h": ("submitd/idn.c",),
}
DOORS["event2/*"] = DOORS["event*.h"]

PURE = ("submitd/netfiles", "submitd/smtp_addr", "submitd/smtp_param",
        "submitd/smtp_reply", "submitd/dotline", "submitd/header",
        "submitd/received", "submitd/backoff", "submitd/dsn",
        "submitd/base64", "submitd/proxyhdr", "submitd/idn",
        "submitd/mailbox", "submitd/shown", "submitd/authors",
        "submitd/mimewalk", "submitd/mimetype", "submitd/mime7bit",
        "submitd/conntable", "submitd/smtp_client", "auth/policy",
        "submitd/smtp_client_cmd", "submitd/smtp_client_reply",
        "submitd/frames", "submitd/tlsname",
        "auth/throttle")
IMPURE_HEADERS = ("sys/socket.h", "sys/stat.h", "sys/time.h", "sys/un.h",
                  "sys/mman.h", "fcntl.h", "unistd.h", "netdb.h", "poll.h",
                  "syslog.h", "log.h", "ipc.h", "stream.h", "event*",
                  "*/log.h")
IMPURE_CALLS = ("time", "clock_gettime", "gettimeofday", "open", "openat",
                "fopen", "socket", "read", "write", "send", "recv", "printf",
                "getenv", "getpid", "random", "getrandom", "syslog",
                "log_info", "log_warn", "log_debug", "log_event", "log_fatal")
# What a library may not do: talk to the administrator, or end the process.
LOUD_CALLS = ("exit", "_exit", "syslog", "openlog", "printf", "perror",
              "log_info", "log_warn", "log_event", "log_fatal")


def sources():
    """{path: text} of all C files, paths below the top."""
    found = {}
    for folder in FOLDERS:
        for name in sorted(os.listdir(os.path.join(TOP, folder))):
            if name.endswith((".c", ".h")):
                path = folder + "/" + name
                with open(os.path.join(TOP, path), encoding="utf-8") as f:
                    found[path] = f.read()
    return found


def matches(name, patterns):
    """The name fits one of the patterns."""
    return any(fnmatch.fnmatchcase(name, p) for p in patterns)


def own_include(path, name, known):
    """What an include in quotes may not do, or None."""
    folder = os.path.dirname(path)
    if "/" not in name:
        return None if name in ("config.h",) or folder + "/" + name in known \
            else "is not in this folder"
    other = name.split("/")[0]
    if other != folder and other not in BELOW[folder]:
        return "is out of bounds for %s/" % folder
    return None if name in known else "does not exist"


def system_include(path, name):
    """What an include in angle brackets may not do, or None."""
    for header, doors in DOORS.items():
        if fnmatch.fnmatchcase(name, header) and not matches(path, doors):
            return "has no door here"
    return None


def includes(tap, files):
    """Every include of every file."""
    seen = 0
    for path, text in files.items():
        wrong = []
        for kind, name in INCLUDE.findall(text):
            seen += 1
            why = own_include(path, name, files) if kind == '"' else \
                system_include(path, name)
            if why:
                wrong.append("%s %s" % (name, why))
        tap.equal(wrong, [], path + ": includes")
    tap.ok(seen > 100, "includes were found")


def calls(text, names):
    """Which of the functions the text calls; comments and texts apart."""
    code = COMMENT.sub(" ", text)
    return [name for name in names
            if re.search(r"(?<![\w>.])%s\s*\(" % name, code)]


def purity(tap, files):
    """Pure files."""
    for stem in PURE:
        tap.ok(stem + ".c" in files, stem + ".c exists")
        for path in (stem + ".c", stem + ".h"):
            text = files.get(path, "")
            wrong = [n for _, n in INCLUDE.findall(text)
                     if matches(n, IMPURE_HEADERS)]
            tap.equal(wrong + calls(text, IMPURE_CALLS), [], path + ": pure")


def silence(tap, files):
    """Libraries neither log nor exit."""
    for path, text in files.items():
        if not path.startswith("submitd/"):
            tap.equal(calls(text, LOUD_CALLS), [],
                      path + ": neither logs nor exits")


def test(tap):
    """All rules over all files."""
    files = sources()
    includes(tap, files)
    purity(tap, files)
    silence(tap, files)


taplib.run(test)
