#!/usr/bin/python3 -B
"""Users of other servers: each format of submitctl user import, the mistakes
in such files by their lines, and logins with what was imported."""

import base64
import hashlib
import hmac
import os
import re
import shutil
import smtplib
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib
from scene import Scene
from scram import Scram

# Of "secret", by crypt(3).
HASHES = {
    "sha512": "$6$aSaltOfSixteen.$OyFYkjWZGDKfQtbQjuotv46g.fkBPiCzAL7c"
    "Y/5WWL7MPXojpFVKS0xmIlzkoefM3WKv9L5hslNP38SWhdiO.1",
    "sha256": "$5$aSaltOfSixteen.$PLE5Am0uC11g0JWtUJWT/2lZ4Ipsp/Pvtlaw1JWrkb9",
    "blowfish": "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
    "yescrypt": "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$GmcwIgvdUC9qLWcKCi6gklUa1"
    "dM3ziD43YxYNURLKy0",
    "md5": "$1$saltsalt$9xy1btjgzLYfb7hivXtC//",
}


def dovecot_scram(password, iterations=4096, digest="sha256"):
    """iterations,salt,StoredKey,ServerKey (RFC 5802)."""
    salt = b"0123456789abcdef"
    salted = hashlib.pbkdf2_hmac(digest, password, salt, iterations)
    client = hmac.digest(salted, b"Client Key", digest)
    stored = hashlib.new(digest, client).digest()
    server = hmac.digest(salted, b"Server Key", digest)
    return "%d,%s" % (iterations, ",".join(
        base64.b64encode(v).decode() for v in (salt, stored, server)))


def login(scene, user, password, mech="PLAIN"):
    """The code of a login."""
    with scene.tls_session() as session:
        session.user, session.password = user, password
        how = {"PLAIN": session.auth_plain, "LOGIN": session.auth_login,
               "SCRAM-SHA-256": Scram(user, password)}[mech]
        try:
            return session.auth(mech, how)[0]
        except smtplib.SMTPAuthenticationError as e:
            return e.smtp_code


def write(scene, text):
    """A file to import."""
    path = scene.path("import")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def imports(tap, scene, name, form, text, users):
    """A file that is taken; logins are {user: (mechanism, code), ...}."""
    done = scene.submitctl("--json", "user", "import", "--format", form,
                           write(scene, text), check=False)
    if not tap.ok(done.returncode == 0, name + ": is taken", done.stderr):
        return
    for user, tries in users.items():
        mark = scene.log.mark()
        for mech, code in tries:
            tap.equal(login(scene, user, "secret", mech), code,
                      "%s: %s by %s" % (name, user, mech))
        tap.equal(login(scene, user, "Secret"), 535,
                  "%s: %s with a wrong password" % (name, user))
        if tries in (PASSWORDS_ONLY, OLDER):
            # the record is made anew meanwhile
            scene.log.wait(mark, ev="rehash", result="ok", user=user)
            tap.equal(login(scene, user, "secret", "SCRAM-SHA-256"), 235,
                      "%s: %s by SCRAM-SHA-256 then" % (name, user))


def content(scene):
    """All bytes of the store."""
    with open(scene.path("data/users.db"), "rb") as f:
        return f.read()


def refuses(tap, scene, name, form, text, *whys, status=65):
    """A file that is not taken; each reason is looked for."""
    before = content(scene)
    done = scene.submitctl("user", "import", "--format", form,
                           write(scene, text) if text is not None else "x",
                           check=False)
    missing = [w for w in whys if not re.search(w, done.stderr)]
    tap.ok(done.returncode == status and not missing, "refused: " + name,
           "exit %d" % done.returncode, "missing: %s" % missing, done.stderr)
    tap.ok(content(scene) == before, "refused: %s: nobody is added" % name)
    tap.unlike(done.stderr, "topsecret|XXXX", "refused: %s: no secret in the "
               "message" % name)


# 432: not before a login that sends the password
PASSWORDS_ONLY = (("SCRAM-SHA-256", 432), ("PLAIN", 235), ("LOGIN", 235))
ALL = (("PLAIN", 235), ("LOGIN", 235), ("SCRAM-SHA-256", 235))
# with fewer iterations than the configuration has
OLDER = (("SCRAM-SHA-256", 235), ("PLAIN", 235), ("LOGIN", 235))


def passwd(tap, scene):
    """crypt(3) of every kind."""
    text = "# from an old server\n\n" + "".join(
        "%s:%s:19000:0:99999:7:::\n" % (kind, record)
        for kind, record in HASHES.items())
    imports(tap, scene, "passwd", "passwd", text,
            {kind: PASSWORDS_ONLY for kind in HASHES})
    imports(tap, scene, "htpasswd", "passwd",
            "web@play.example:%s\r\n" % HASHES["blowfish"],
            {"web@play.example": PASSWORDS_ONLY})
    tap.equal(scene.submitctl_json("user", "show",
                                   "web@play.example")["addresses"],
              ["web@play.example"], "a name that is an address owns it")
    good = HASHES["sha512"]
    refuses(tap, scene, "passwd with mistakes", "passwd",
            "fine:%s\nno colon\nlocked:!%s\nempty:\nsha512:%s\nb d:%s\n"
            "twice:%s\ntwice:%s\nodd:$9$topsecret\nslow:%s\n{x}:{PLAIN}x\n"
            % (good, good, good, good, good, good,
               "$2y$25$" + HASHES["blowfish"][7:]),
            r"import:2: no \":\", expected NAME:PASSWORD",
            r"import:3: user locked has no password",
            r"import:4: user empty has no password",
            r"import:6: \"b\?d\": a user name is made of",
            r"import:8: user twice stands in line 7",
            r"import:9: user odd: not a usable crypt\(3\) hash",
            r"import:10: user slow: .*too long",
            r"import:11: \"\{x\}\"",
            r"8 errors; nobody was added")
    refuses(tap, scene, "a user who is there already", "passwd",
            "new1:%s\nsha512:%s\n" % (good, good),
            r"import:2: user sha512 exists already")
    refuses(tap, scene, "an empty file", "passwd", "# nobody\n",
            "no user in it")
    refuses(tap, scene, "no such file", "passwd", None, "No such file",
            status=66)
    refuses(tap, scene, "an unknown format", "ldif", "x", "--format",
            status=64)
    refuses(tap, scene, "very many mistakes", "passwd", "x\n" * 200,
            "150 more errors", "200 errors")


def dovecot(tap, scene):
    """Schemes."""
    record = dovecot_scram(b"secret")
    text = ("d1:{SCRAM-SHA-256}%s:1000:1000::/home/d1::\n"
            "d2:{CRYPT}%s\n"
            "d3:{SHA512-CRYPT}%s::::::\n"
            "d4:{BLF-CRYPT}%s\n"
            "d5:{PLAIN}secret\n"
            "d6:{plain}secret:::\n"
            "d7:%s\n"
            "d8:{SCRAM-SHA-1}%s\n"
            % (record, HASHES["yescrypt"], HASHES["sha512"],
               HASHES["blowfish"], HASHES["sha256"],
               dovecot_scram(b"secret", digest="sha1")))
    imports(tap, scene, "dovecot", "dovecot", text, {
        "d1": OLDER, "d2": PASSWORDS_ONLY, "d3": PASSWORDS_ONLY,
        "d4": PASSWORDS_ONLY, "d5": ALL, "d6": ALL, "d7": PASSWORDS_ONLY,
        "d8": PASSWORDS_ONLY})
    kept = scene.submitctl_json("user", "show", "d5")["password"]
    tap.equal(kept, ["scram-sha-256"], "a password in clear is re-hashed")
    tap.ok(b"secret:" not in content(scene), "and not kept")
    bad = record.split(",")
    refuses(tap, scene, "dovecot with mistakes", "dovecot",
            "e1:{SSHA}topsecret\ne2:{PLAIN\ne3:{PLAIN}\n"
            "e4:{SCRAM-SHA-256}%s\ne5:{SCRAM-SHA-256}%s\n"
            "e6:{SCRAM-SHA-256}topsecret\ne7:{SHA512-CRYPT}*\n"
            "e8:{PLAIN}top\x01secret\n"
            % (",".join(["1000"] + bad[1:]), ",".join(bad[:3])),
            r"import:1: user e1: \{SSHA\} can't be taken, expected",
            r"import:2: user e2: the scheme is not closed",
            r"import:3: user e3: the password is empty",
            r"import:4: user e4: not a record of SCRAM-SHA-256.*4096",
            r"import:5: user e5: not a record",
            r"import:6: user e6: not a record",
            r"import:7: user e7 has no password",
            r"import:8: user e8: .*control character")


def postfix(tap, scene):
    """A table's text."""
    imports(tap, scene, "postfix", "postfix",
            "# comment\np1@play.example   {PLAIN}secret\n"
            "p2\t{BLF-CRYPT}%s  \n" % HASHES["blowfish"],
            {"p1@play.example": ALL, "p2": PASSWORDS_ONLY})
    refuses(tap, scene, "postfix with mistakes", "postfix",
            "p3\n  continued {PLAIN}x\np4 topsecret\n",
            r"import:1: no value, expected NAME",
            r"import:2: a blank at the beginning",
            r"import:3: user p4: not a usable crypt")


# What db_dump -p prints of a database of saslpasswd2.
DUMP = r"""VERSION=3
format=print
type=hash
h_nelem=4
db_pagesize=4096
HEADER=END
 s1\00mail.play.example\00userPassword
 secret
 s2\00play.example\00userPassword
 secret
 s2\00play.example\00cmusaslsecretOTP
 x\00\ff
 s3\00mail.play.example\00userPassword
 s\\e\63ret\c3\a4
DATA=END
"""


def sasldb(tap, scene):
    """Passwords that were in clear."""
    imports(tap, scene, "sasldb", "sasldb", DUMP,
            {"s1": ALL, "s2@play.example": ALL})
    with scene.tls_session() as session:
        code, _ = session.docmd("AUTH", "PLAIN " + base64.b64encode(
            "\0s3\0s\\ecret\u00e4".encode()).decode())
        tap.equal(code, 235, "sasldb: escapes of the dump")
    imports(tap, scene, "sasldb in hex", "sasldb",
            "VERSION=3\nformat=bytevalue\nHEADER=END\n %s\n %s\nDATA=END\n"
            % (b"h1\0mail.play.example\0userPassword".hex(),
               b"secret".hex()), {"h1": ALL})
    refuses(tap, scene, "sasldb that is cut off", "sasldb",
            DUMP.replace("s1", "t1").replace("s2", "t2")
            .replace("s3", "t3").replace("DATA=END\n", ""), "cut off")
    refuses(tap, scene, "sasldb that is no dump", "sasldb", "s9:topsecret\n",
            "db_dump -p")
    refuses(tap, scene, "sasldb with a bad escape", "sasldb",
            DUMP.replace("s1", "t1").replace("s2", "t2")
            .replace("s3\\00", "t3\\0z"), r"import:\d+: not a pair")
    refuses(tap, scene, "sasldb without a realm", "sasldb",
            DUMP.replace("s1\\00mail.play.example\\00", "t1"),
            "not a key of sasldb")
    real_sasldb(tap, scene)


def real_sasldb(tap, scene):
    """By the programs of Cyrus and Berkeley, where they are installed."""
    dump = shutil.which("db_dump") or shutil.which("db5.3_dump")
    maker = shutil.which("saslpasswd2", path="/usr/sbin:/usr/bin")
    if not dump or not maker:
        tap.note("no saslpasswd2 or db_dump here: only a recorded dump was "
                 "tried")
        return
    path = scene.path("sasldb2")
    subprocess.run((maker, "-p", "-c", "-f", path, "-u", "real.example",
                    "real"), input=b"secret\n", check=True)
    text = subprocess.run((dump, "-p", path), stdout=subprocess.PIPE,
                          check=True).stdout.decode()
    done = scene.submitctl("user", "import", "--format", "sasldb", "-",
                           given=text)
    tap.like(done.stdout, "1 user is added", "a real sasldb2, by a pipe")
    tap.equal(login(scene, "real@real.example", "secret"), 235,
              "a real sasldb2: PLAIN")
    done = scene.submitctl("user", "import", "--format", "sasldb", path,
                           check=False)
    tap.ok(done.returncode == 65 and "db_dump -p" in done.stderr,
           "the database itself: says how to dump it", done.stderr)


def test(tap):
    """All formats into one store, with the server running."""
    with Scene(tap, auth_fail_delay="1ms") as scene:
        scene.start()
        passwd(tap, scene)
        dovecot(tap, scene)
        postfix(tap, scene)
        sasldb(tap, scene)


taplib.run(test)
