#!/usr/bin/python3 -B
"""The access map over real sessions: from the command line, by import, and by
the file that the server keeps in step with. The file's new content counts once
the log says so; a broken one changes nothing."""

import json
import os
import re
import shutil
import smtplib
import sqlite3
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from scene import PASSWORD, Scene, message

EX_USAGE, EX_DATAERR, EX_NOINPUT, EX_NOUSER = 64, 65, 66, 67
EX_CANTCREAT, EX_CONFIG = 73, 78
HERE = "127.0.0.1"  # its name is localhost, on every machine
PLAIN, OTHER = "127.0.0.4", "127.0.0.3"  # have no names


def write_map(scene, text):
    """Puts text into the file of the map, as an editor does."""
    path = scene.path("access")
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path + ".new", 0o644)
    os.rename(path + ".new", path)


def change_map(scene, text, result="ok"):
    """The same; waits until the server has taken or refused it."""
    mark = scene.log.mark()
    write_map(scene, text)
    return scene.log.wait(mark, ev="access-map", result=result)


def session_from(scene, address, device=None):
    """A session under TLS, from another of the loopback addresses."""
    session = smtplib.SMTP(
        "127.0.0.1", scene.port, local_hostname="laptop", timeout=30,
        source_address=(address, 0))
    session.starttls(context=scene.tls_context(device))
    session.ehlo()
    return session


def reply(code_and_text):
    """A reply as one text."""
    code, text = code_and_text
    return "%d %s" % (code, text.decode().replace("\n", " "))


def ask(scene, address=HERE, device=None, sender="ann@play.example",
        rcpt="bo@example.net", login=True):
    """The last reply of a session up to RCPT."""
    with session_from(scene, address, device) as session:
        if login and session.has_extn("auth"):
            session.login("ann", PASSWORD)
        answer = session.mail(sender)
        if answer[0] == 250 and rcpt:
            answer = session.rcpt(rcpt)
        return reply(answer)


def decides(tap, scene, name, want, **facts):
    """The reply that one session gets."""
    tap.like(ask(scene, **facts), "^" + want, "%s: %s" % (name, want))


# ---- commands; no server runs yet ----

def refused(tap, scene, name, args, status, why, given=""):
    """A command that is refused and changes nothing."""
    before = scene.submitctl("access", "list").stdout
    done = scene.submitctl("access", *args, given=given, check=False)
    tap.equal((done.returncode, done.stdout), (status, ""),
              "%s: exit %d" % (name, status))
    tap.like(done.stderr, why, name + ": says why")
    tap.equal(scene.submitctl("access", "list").stdout, before,
              name + ": nothing has changed")


# name, map, what is said of it
BAD_MAPS = (
    ("a bad value", "a.b OK\nTLS_Clt: VERIFY+\n", r":2: .*items are CN"),
    ("two errors", "a.b\nTLS_Clt: ENCR\nb.c OK\n",
     r"stdin:1: .*no value.*stdin:2: .*ENCR:128.*2 errors"),
    ("a continued line", "a.b ERROR:550\n\tgo away\n",
     r":2: .*not continued.*Postfix"),
    ("a control character in a key", "a.b OK\nj\x01rg@a.b OK\n", r":2: "),
    ("a byte order mark", "\ufeffTLS_Clt: VERIFY\n",
     r"\A(?!.*warning).*:1: .*byte order mark"),
    ("Try_TLS in quotes", "Try_TLS:a.b \"NO\"\n", r":1: .*without quotes"),
)

# name, map, warning or note, entries
ODD_MAPS = (
    ("a double", "a.b OK\nA.B REJECT\n", r":2: warning: .*line 1", 1),
    ("a wildcard", "Connect:*.a.b OK\n", r":1: warning: never matches", 1),
    ("a network", "TLS_Clt:10.0.0.0/8 VERIFY\n",
     r":1: warning: never matches", 1),
    ("a foreign tag", "ClientRate: 10\na.b OK\n",
     r":1: note: ClientRate: has no meaning", 1),
    ("a secret", "AuthInfo:a \"U:u\" \"P:hush\"\n",
     r"\A(?!.*hush).*:1: note: AuthInfo: ", 0),
    ("more than the default", "TLS_Clt:a.b VERIFY\n",
     r":1: warning: demands more", 1),
    ("letters without meaning", "Srv_Features: l v S\n",
     r":1: note: of the letters 'vS' none has a meaning", 1),
)


def commands(tap, scene):
    """set, import, diff: what is refused, and what is told."""
    refused(tap, scene, "set", ("set", "TLS_Clt:", "VERYFY"), EX_DATAERR,
            "expected OK, SKIP, VERIFY, VERIFY:bits or ENCR:bits")
    refused(tap, scene, "set, a foreign tag", ("set", "Spam:a", "FRIEND"),
            EX_DATAERR, "no meaning")
    for name, text, why in BAD_MAPS:
        for verb in "import", "diff":
            refused(tap, scene, "%s, %s" % (verb, name), (verb, "-"),
                    EX_DATAERR, "(?s)" + why, given=text)
    with open(scene.path("latin1"), "wb") as f:
        f.write(b"a.b OK\nTLS_User:j\xf6rg VERIFY\n")
    for verb in "import", "diff":
        refused(tap, scene, verb + ", a key that is not UTF-8",
                (verb, scene.path("latin1")), EX_DATAERR,
                r"latin1:2: .*not UTF-8")
    refused(tap, scene, "import, no file", ("import", "/nonexistent"),
            EX_NOINPUT, "No such file")
    for name, text, why, entries in ODD_MAPS:
        done = scene.submitctl("access", "import", "-", given=text)
        tap.like(done.stderr, "(?s)" + why, "import, %s: told" % name)
        tap.equal(len(scene.submitctl_json("access", "list")), entries,
                  "import, %s: %d entries" % (name, entries))
    scene.submitctl("access", "import", "-", given="a OK\nb OK\n")
    done = scene.submitctl("--json", "access", "diff", "-",
                           given="B RELAY\nc OK\n")
    tap.equal([(r["change"], r["key"], r["old"], r["new"], r["line"])
               for r in json.loads(done.stdout)],
              [("removed", "a", "OK", None, None),
               ("changed", "B", "OK", "RELAY", 1),
               ("added", "c", None, "OK", 2)], "diff: what import would do")
    done = scene.submitctl("--json", "access", "import", "-",
                           given="B RELAY\nc OK\n")
    tap.equal(json.loads(done.stdout), {"entries": 2, "added": 1,
                                        "changed": 1, "removed": 1},
              "import: what was done")
    done = scene.submitctl("access", "set", "TLS_Clt:a.b", " VERIFY ")
    tap.like(done.stderr, "warning: demands more than the entry TLS_Clt:",
             "set: warns of an entry that can be evaded")
    tap.equal(scene.submitctl("access", "get", "tls_clt:A.B").stdout,
              "VERIFY\n", "set: blanks at the ends do not count")
    scene.submitctl("access", "del", "TLS_Clt:a.b")

    letters, ascii_form = "From:x@B\u00dccher.example", \
        "From:x@xn--bcher-kva.example"
    done = scene.submitctl("access", "set", letters, "REJECT")
    tap.equal(done.stdout, ascii_form + " is REJECT now\n",
              "a domain in letters: kept in its xn-- form")
    for key in (letters, ascii_form):
        tap.equal(scene.submitctl("access", "get", key).stdout, "REJECT\n",
                  "get " + key)
        tap.equal([r["key"] for r in scene.submitctl_json(
            "access", "list", key)], [ascii_form], "list " + key)
        got = scene.submitctl_json("access", "test", "--phase", "mail",
                                   "--client-addr", "192.0.2.1",
                                   "--from", key[5:])
        tap.equal((got["decision"], got["key"]),
                  ("refuse", ascii_form.lower()), "test " + key)
    scene.submitctl("access", "del", letters)
    tap.equal(scene.submitctl("access", "list").stdout.count("xn--"), 0,
              "del " + letters)
    scene.submitctl("access", "import", "/dev/null")
    exports(tap, scene)


def exports(tap, scene):
    """export: to standard output, or to a file that is not there yet."""
    scene.submitctl("access", "import", "-", given="a OK\nB RELAY\n")
    for words in (), ("-",):
        done = scene.submitctl("access", "export", *words)
        tap.equal(done.stdout, "a\tOK\nB\tRELAY\n",
                  "export %s: standard output" % " ".join(words))
    tap.ok(not os.path.exists("-"), "export -: makes no file")
    path = scene.path("exported")
    tap.like(scene.submitctl("access", "export", path).stdout,
             "2 entries written", "export FILE: says so")
    scene.submitctl("access", "import", "-", given="c OK\n")
    refused(tap, scene, "export, to a file that is there", ("export", path),
            EX_CANTCREAT, "is there already")
    with open(path, encoding="utf-8") as f:
        tap.equal(f.read(), "a\tOK\nB\tRELAY\n", "it is as it was")
    scene.submitctl("access", "export", "--force", path)
    with open(path, encoding="utf-8") as f:
        tap.equal(f.read(), "c\tOK\n", "export --force: replaced")
    refused(tap, scene, "export, no such folder", ("export", "/nonexistent/x"),
            EX_CANTCREAT, "No such file")
    scene.submitctl("access", "import", "/dev/null")


# options behind --phase, decision, code and enhanced code, deciding entry
DRY_RUNS = (
    ("tls_client --client-addr 192.0.2.1 --verify NO", "defer", "454 4.7.0",
     "tls_clt:"),
    ("tls_client --client-addr 192.0.2.1 --verify OK", "allow", None, None),
    ("tls_client --client-addr 192.0.2.1", "defer", "454 4.7.0", "tls_clt:"),
    ("tls_client --client-name x.a.b --client-addr 192.0.2.1 --bits 128",
     "allow", None, None),
    ("tls_client --client-name x.a.b --client-addr 192.0.2.1 --bits 112",
     "refuse", "503 5.7.0", "tls_clt:a.b"),
    ("tls_client --client-name x.a.b --resolve forged --client-addr "
     "192.0.2.1 --bits 128", "defer", "454 4.7.0", "tls_clt:"),
    ("tls_client --client-addr 2001:db8::1 --verify NO", "allow", None, None),
    ("tls_client --client-addr 192.0.2.2 --verify OK --cn ann", "allow", None,
     None),
    ("tls_client --client-addr 192.0.2.2 --verify OK --cn bob", "defer",
     "454 4.7.0", "tls_clt:192.0.2.2"),
    ("connect --client-addr 192.0.2.3", "refuse", "550 5.7.1",
     "connect:192.0.2.3"),
    ("connect --client-addr ::ffff:192.0.2.3", "refuse", "550 5.7.1",
     "connect:192.0.2.3"),
    ("mail --client-addr 192.0.2.1 --verify OK --from <x@c.d>", "refuse",
     "530 5.7.0", None),
    ("mail --client-addr 192.0.2.1 --verify OK --user ann --by cert "
     "--from <ann@play.example>", "allow", None, None),
    ("mail --client-addr 192.0.2.1 --verify OK --user ann "
     "--from bob@play.example", "refuse", "550 5.7.1", None),
    ("rcpt --client-addr 192.0.2.1 --verify OK --from x@c.d --rcpt b@e.f "
     "--cert-issuer /CN=ca", "allow", None, None),
    ("rcpt --client-addr 192.0.2.1 --verify FAIL --from x@c.d --rcpt b@e.f "
     "--cert-issuer /CN=ca --client-name x.y", "refuse", "550 5.7.1", None),
    ("tls_server --server-name mx.a.b --verify NONE", "defer", "403 4.7.0",
     "tls_srv:a.b"),
    ("tls_rcpt --server-name mx.e.f --bits 128 --rcpt u@secret.example",
     "defer", "454 4.7.0", "tls_rcpt:secret.example"),
    ("try_tls --server-name old.a.b", "refuse", "550 5.7.1", None),
    ("srv_features --client-addr 192.0.2.1", "allow", None, None),
)
DRY_MAP = """TLS_Clt:	VERIFY
TLS_Clt:a.b	PERM+ENCR:128
TLS_Clt:IPv6:2001:db8	OK
TLS_Clt:192.0.2.2	VERIFY+CN:ann
Connect:192.0.2.3	REJECT
CertIssuer:/CN=ca	RELAY
TLS_Srv:a.b	TEMP+VERIFY
TLS_Rcpt:secret.example	ENCR:256
Try_TLS:old.a.b	NO
Srv_Features:	V
"""
BAD_RUNS = (
    ("", "--phase is needed"),
    ("--phase data --client-addr 192.0.2.1", '"data" is no phase'),
    ("--phase connect", "needs --client-name or --client-addr"),
    ("--phase rcpt --client-addr 192.0.2.1", "needs --rcpt"),
    ("--phase try_tls --client-addr 192.0.2.1", "needs --server-name"),
    ("--phase connect --client-addr 192.0.2", "is no address"),
    ("--phase connect --client-name a --resolve maybe", "expected ok, fail"),
    ("--phase connect --client-name a --verify MAYBE", "expected OK, TRUSTED"),
    ("--phase connect --client-name a --bits many", "is no number of bits"),
    ("--phase connect --client-name a --by cert", "--by says how --user"),
    ("--phase connect --client-name a --user ann --by luck", "expected cert"),
)


def dry_runs(tap, scene):
    """access test: by the server's own code, without a server."""
    scene.submitctl("access", "import", "-", given=DRY_MAP)
    for options, decision, code, key in DRY_RUNS:
        got = scene.submitctl_json("access", "test", "--phase",
                                   *options.split())
        reply_code = got["code"] and "%d %s" % (got["code"], got["enhanced"])
        tap.equal((got["phase"], got["decision"], reply_code),
                  (options.split()[0], decision, code), "test: " + options)
        if key is not None:
            tap.equal(got["key"], key, "the entry that decides: " + key)
            tap.equal([s["key"] for s in got["ladder"]][-1], key,
                      "it is the last of the rules")
    shown = scene.submitctl("access", "test", "--phase", "connect",
                            "--client-addr", "192.0.2.3").stdout
    tap.like(shown, r"Decision: +refuse\n.*Text: +Access denied\n.*"
             r"Rules:\n.*connect +refuse +connect:192\.0\.2\.3 +REJECT",
             "test: for people")
    for options, why in BAD_RUNS:
        refused(tap, scene, "test " + options, ("test", *options.split()),
                EX_USAGE, why)
    done = scene.submitctl("access", "test", "--phase", "connect",
                           "--client-name", "a", "--user", "nobody",
                           check=False)
    tap.equal(done.returncode, EX_NOUSER, "test, unknown user: exit 67")
    scene.submitctl("access", "import", "/dev/null")


# ---- requirements ----

def by_default(tap, scene):
    """The entry without a host; from the file, as it changes."""
    decides(tap, scene, "no entry", "250")
    event = change_map(scene, "TLS_Clt:\tPERM+VERIFY\n")
    tap.equal((event["added"], event["changed"], event["removed"]),
              ("1", "0", "0"), "the log counts what was added")
    tap.equal(event["keys"], "+TLS_Clt:", "the log has the key")
    decides(tap, scene, "PERM+VERIFY, no certificate", r"503 5\.7\.0")
    decides(tap, scene, "PERM+VERIFY, a pinned certificate", "250",
            device=scene.laptop)
    decides(tap, scene, "PERM+VERIFY, a certificate of our CA", "250",
            device=scene.guest)
    event = change_map(scene, "TLS_Clt:\tENCR:512\n")
    tap.equal(event["keys"], "~TLS_Clt:", "the log has the changed key")
    decides(tap, scene, "ENCR:512", r"454 4\.7\.0 .*encryption too weak")
    change_map(scene, "TLS_Clt:\tENCR:128\n")
    decides(tap, scene, "ENCR:128", "250")


def by_address(tap, scene):
    """Entries for addresses and prefixes beat the default."""
    change_map(scene, "TLS_Clt:\t\tVERIFY\n"
                      "TLS_Clt:127.0.0.4\tOK\n")
    decides(tap, scene, "the default", r"454 4\.7\.0 not authenticated")
    decides(tap, scene, "an exempted address", "250", address=PLAIN)
    change_map(scene, "TLS_Clt:\t\tVERIFY\n"
                      "TLS_Clt:127.0.0.4\tVERIFY\n"
                      "TLS_Clt:127.0\tOK\n")
    decides(tap, scene, "an exempted prefix", "250")
    decides(tap, scene, "an address within it", r"454 4\.7\.0",
            address=PLAIN)


def by_name(tap, scene):
    """Entries for names need a name that is confirmed."""
    mark = scene.log.mark()
    change_map(scene, "TLS_Clt:\tOK\nTLS_Clt:localhost\tTEMP+VERIFY\n")
    event = scene.log.wait(mark, ev="access-map", line="2")
    tap.like(event["warning"], r"demands more than the entry TLS_Clt:",
             "an entry that can be evaded: the log warns")
    decides(tap, scene, "a name", r"403 4\.7\.0")
    decides(tap, scene, "the same with a certificate", "250",
            device=scene.laptop)
    decides(tap, scene, "a client without a name", "250", address=PLAIN)
    change_map(scene, "TLS_Clt:\tVERIFY\n"
                      "TLS_Clt:localhost\tOK\n"
                      "TLS_Clt:[127.0.0.3]\tOK\n")
    decides(tap, scene, "a name that is exempted", "250")
    decides(tap, scene, "a client without a name is not", r"454 4\.7\.0",
            address=PLAIN)
    decides(tap, scene, "but by its address in brackets", "250",
            address=OTHER)


def by_user(tap, scene):
    """Our own tag."""
    change_map(scene, "TLS_User:ann\tPERM+VERIFY\n")
    decides(tap, scene, "TLS_User, no certificate", r"503 5\.7\.0")
    decides(tap, scene, "TLS_User, a certificate", "250",
            device=scene.laptop)
    with session_from(scene, HERE) as session:
        session.login("bob", PASSWORD)
        tap.like(reply(session.mail("bob@play.example")), "^250",
                 "TLS_User: another user is not asked")


# ---- replies ----

def refusals(tap, scene):
    """REJECT and ERROR, for hosts, senders and recipients."""
    change_map(scene, "Connect:127.0.0.4\tREJECT\n"
                      "Connect:127.0.0.3\tERROR:4.7.1:451 come back later\n"
                      "From:ann@play.example\tERROR:5.7.1:550 not today\n"
                      "To:blocked.example\tREJECT\n")
    decides(tap, scene, "Connect REJECT", r"550 5\.7\.1 Access denied",
            address=PLAIN)
    decides(tap, scene, "Connect ERROR", r"451 4\.7\.1 come back later",
            address=OTHER)
    decides(tap, scene, "From ERROR", r"550 5\.7\.1 .*not today")
    decides(tap, scene, "From, another sender", "250", sender="")


def relaying(tap, scene):
    """RELAY entries, for those who are nobody."""
    change_map(scene, "Connect:127.0.0.4\tRELAY\n")
    decides(tap, scene, "nobody", r"530 5\.7\.0", login=False)
    decides(tap, scene, "Connect RELAY", "250", address=PLAIN, login=False)
    change_map(scene, "To:partner.example\tRELAY\n")
    decides(tap, scene, "To RELAY", "250", login=False,
            rcpt="bo@mail.partner.example")
    decides(tap, scene, "To RELAY, another recipient", r"550 5\.7\.1",
            login=False)
    change_map(scene, "CertIssuer:%s\tSUBJECT\nCertSubject:%s\tRELAY\n"
               % (scene.issuer, scene.subject))
    decides(tap, scene, "CertIssuer SUBJECT, CertSubject RELAY", "250",
            login=False, device=scene.guest)
    change_map(scene, "CertIssuer:%s\tSUBJECT\nCertSubject:%s\tRELAY\n"
               % (scene.issuer, scene.subject + "x"))
    decides(tap, scene, "CertSubject of somebody else", r"530 5\.7\.0",
            login=False, device=scene.guest)
    change_map(scene, "CertIssuer:%s\tRELAY\n" % scene.issuer)
    decides(tap, scene, "CertIssuer RELAY", "250", login=False,
            device=scene.guest)
    decides(tap, scene, "CertIssuer RELAY, no certificate", r"530 5\.7\.0",
            login=False)


def discard_and_quarantine(tap, scene):
    """Accepted, but not sent."""
    change_map(scene, "Connect:127.0.0.4\tDISCARD\n"
                      "Connect:127.0.0.3\tQUARANTINE:look at it\n")
    for address, token in ((PLAIN, "thrown away"), (OTHER, "looked at")):
        mark = scene.log.mark()
        with session_from(scene, address) as session:
            session.login("ann", PASSWORD)
            session.sendmail("ann@play.example", "bo@example.net",
                             message(token))
        tap.ok(True, "the message that is %s is accepted" % token)
        scene.log.wait(mark, ev="accepted")
    held = scene.submitctl_json("queue", "list")
    tap.equal(len(held), 1, "one message waits")
    shown = json.dumps(held) + scene.submitctl("queue", "show",
                                               held[0]["qid"]).stdout
    tap.like(shown, "held.*look at it", "it is held, with the reason")
    scene.submitctl("queue", "release", held[0]["qid"])
    scene.delivered("looked at")
    tap.ok(not any(b"thrown away" in m["data"]
                   for m in scene.smarthost.messages),
           "the discarded one never leaves")


# ---- the file ----

def bad_lines(tap, scene):
    """A file with an error changes nothing, however it is broken."""
    good = "TLS_Clt:\tPERM+VERIFY\n"
    path = scene.path("access")
    change_map(scene, good)
    for name, text, line in (
            ("a bad value", "TLS_Clt:\tOK\nTLS_Clt:x\tVERYFY\n", 2),
            ("a continued line", "TLS_Clt:\tOK\nTo:a\t550\n  no\n", 3),
            ("a key alone", "TLS_Clt:\n", 1)):
        mark = scene.log.mark()
        event = change_map(scene, text, "refused")
        tap.like(event["error"], r"^%s:%d: " % (re.escape(path), line),
                 name + ": the log names file and line")
        tap.ok(scene.log.wait(mark, ev="access-map", line=str(line)),
               name + ": and the line as a field")
        decides(tap, scene, name + ": the entries of before stay",
                r"503 5\.7\.0")
    change_map(scene, good)
    for name, act, field, want in (
            ("a file that others can write: refused",
             lambda: os.chmod(path, 0o666), "error",
             "writable by others.*chmod go-w"),
            ("after chmod, as the log advised: taken",
             lambda: os.chmod(path, 0o644), "entries", "^1$"),
            ("deleted: refused at once", lambda: os.unlink(path), "error",
             "cannot be read: No such file")):
        mark = scene.log.mark()
        act()
        event = scene.log.wait(mark, ev="access-map")
        tap.like(event.get(field, ""), want, name)
    mark = scene.log.mark()
    scene.reload()
    scene.log.wait(mark, ev="access-map", result="refused")
    scene.log.wait(mark, ev="reload", result="ok")
    scene.settled()
    decides(tap, scene, "the file is gone: the entries stay", r"503 5\.7\.0")
    event = change_map(scene, "# none\n")
    tap.equal(event["keys"], "-TLS_Clt:", "the log has the removed key")
    decides(tap, scene, "a file without entries", "250")


def other_ways(tap, scene):
    """Written in place, by a link, with SIGHUP; secrets are not stored."""
    mark = scene.log.mark()
    with open(scene.path("access"), "w", encoding="utf-8") as f:
        f.write("TLS_Clt:\tPERM+VERIFY\n")
    scene.log.wait(mark, ev="access-map", result="ok")
    decides(tap, scene, "written in place", r"503 5\.7\.0")
    with open(scene.path("other"), "w", encoding="utf-8") as f:
        f.write("AuthInfo:mx \"U:ann\" \"P:hush\"\nTLS_Clt:\tOK\n")
    mark = scene.log.mark()
    os.symlink(scene.path("other"), scene.path("link"))
    os.rename(scene.path("link"), scene.path("access"))
    scene.log.wait(mark, ev="access-map", result="ok")
    event = scene.log.wait(mark, ev="access-map", line="1")
    tap.like(event["notice"], "AuthInfo", "a foreign tag: the log has a note")
    decides(tap, scene, "a link was put in its place", "250")
    with open(scene.path("data/users.db"), "rb") as f:
        tap.ok(b"hush" not in f.read(), "the secret is not in the store")
    tap.ok(not any("hush" in line for line in scene.log.lines),
           "nor in the log")
    mark = scene.log.mark()
    with open(scene.path("other"), "a", encoding="utf-8") as f:
        f.write("Connect:127.0.0.4\tREJECT\n")
    scene.log.wait(mark, ev="access-map", added="1")
    decides(tap, scene, "what the link leads to has changed", r"550 5\.7\.1",
            address=PLAIN)
    mark = scene.log.mark()
    scene.reload()
    event = scene.log.wait(mark, ev="access-map", result="ok")
    tap.equal((event["entries"], event["added"], event["removed"]),
              ("2", "0", "0"), "SIGHUP: read again, nothing has changed")
    scene.log.wait(mark, ev="reload", result="ok")
    scene.settled()


def busy_store(tap, scene):
    """Somebody writes to the store just now: it is tried again."""
    db = sqlite3.connect(scene.path("data/users.db"), isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    mark = scene.log.mark()
    write_map(scene, "TLS_Clt:\tPERM+VERIFY\n")
    event = scene.log.wait(mark, ev="refused", role="store")
    tap.like(event["error"], "access_map: ", "a busy store: the log says so")
    decides(tap, scene, "until then the entries of before stay", "250")
    mark = scene.log.mark()
    db.execute("ROLLBACK")
    db.close()
    scene.log.wait(mark, ev="access-map", result="ok")
    decides(tap, scene, "later the new ones count", r"503 5\.7\.0")


def cli_wins(tap, scene):
    """Entries set one by one are kept apart, and hide those of the file."""
    change_map(scene, "TLS_Clt:\tPERM+VERIFY\nTo:x.example\tOK\n")
    scene.submitctl("access", "set", "TLS_CLT:", "OK")
    decides(tap, scene, "the entry of cli wins", "250")
    change_map(scene, "TLS_Clt:\tTEMP+VERIFY\nTo:x.example\tOK\n")
    decides(tap, scene, "also over a new file", "250")
    rows = {(r["source"], r["key"]): r["note"] for r in
            scene.submitctl_json("access", "list")}
    tap.equal(rows, {
        ("cli", "TLS_CLT:"): "hides line 1 of the file",
        ("file", "TLS_Clt:"): "without effect: hidden by the entry of cli",
        ("file", "To:x.example"): None}, "the list says so")
    scene.submitctl("access", "del", "TLS_Clt:")
    decides(tap, scene, "without it the file counts again", r"403 4\.7\.0")
    done = scene.submitctl("access", "del", "TLS_Clt:", check=False)
    tap.equal(done.returncode, EX_DATAERR, "a file's entry is not deleted")
    tap.like(done.stderr, "comes from line 1 of the map file", "it says why")


# ---- without a map, or with a broken one, at start ----

def starts(tap, scene):
    """A map that was never taken must be sound; later it need not be."""
    scene.stop()
    os.unlink(scene.path("access"))
    write_map(scene, "TLS_Clt:\tVERYFY\n")
    scene.start()
    event = scene.log.wait(0, ev="access-map", result="refused",
                           error=re.compile("VERYFY"))
    tap.ok(event, "a map that was taken before: the server starts, and warns")
    decides(tap, scene, "and has the entries of before", r"403 4\.7\.0")
    scene.stop()
    scene.configure(access_map=scene.path("unknown"))
    for name, text, why in (
            ("missing", None, "unknown cannot be read: No such file"),
            ("broken", "x.y\n", "unknown:1: the key has no value")):
        if text is not None:
            with open(scene.path("unknown"), "w", encoding="utf-8") as f:
                f.write(text)
        for option in "-n", "-d":
            done = subprocess.run(
                (harness.program("submitd"), "-f", scene.conf_file, option),
                stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                timeout=30, check=False)
            tap.equal(done.returncode, EX_CONFIG,
                      "a new map, %s: %s: exit 78" % (name, option))
            tap.like(done.stderr, r"^\S+:\d+: access_map: .*%s" % why,
                     "a new map, %s: %s: says why" % (name, option))
    os.symlink("access.good", scene.path("access.link"))
    scene.configure(access_map=scene.path("access.link"))
    done = scene.submitctl("access", "import", scene.path("access.good"))
    tap.unlike(done.stderr, "access_map", "import of the file that the key "
               "names by a link: no warning")
    done = scene.submitctl("access", "import", "/dev/null")
    tap.like(done.stderr, "warning: the key access_map names",
             "import of another file: warns")
    scene.submitctl("access", "import", scene.path("access.link"))
    os.unlink(scene.path("access.good"))
    scene.start()
    decides(tap, scene, "imported once, gone now: it starts with its entries",
            r"503 5\.7\.0")


def test(tap):
    """One server for all."""
    with Scene(tap, ca_cert="ca.pem") as scene:
        shutil.copy(scene.ca.cert, scene.path("certs/ca.pem"))
        scene.guest = scene.add_device("ann", "guest", mapped=False)
        scene.issuer, scene.subject = names(scene.guest)
        scene.add_user("bob", PASSWORD)
        commands(tap, scene)
        dry_runs(tap, scene)
        scene.configure(access_map=scene.path("access"))
        write_map(scene, "# nothing yet\n")
        with open(scene.path("access.good"), "w", encoding="utf-8") as f:
            f.write("TLS_Clt:\tPERM+VERIFY\n")
        scene.start()
        for part in (by_default, by_address, by_name, by_user, refusals,
                     relaying, discard_and_quarantine, bad_lines, other_ways,
                     busy_store, cli_wins, starts):
            part(tap, scene)


def names(pair):
    """Issuer and subject of a certificate, as they stand in keys."""
    out = subprocess.run(
        ("openssl", "x509", "-in", pair.cert, "-noout", "-issuer", "-subject",
         "-nameopt", "compat"), stdout=subprocess.PIPE, text=True,
        check=True).stdout
    found = dict(line.split("=", 1) for line in out.splitlines())
    return tuple(found[k].strip().replace(" ", "+20")
                 for k in ("issuer", "subject"))


taplib.run(test)
