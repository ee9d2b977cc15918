#!/usr/bin/python3 -B
"""Devices with passwords and certificates of their own, from submitctl to the
handshake: they log in, they expire, they are revoked, and their sessions end.
Also the policies of users, and the private CA's files as openssl sees them."""

import base64
import json
import os
import re
import shutil
import smtplib
import sqlite3
import ssl
import stat
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from certs import Pair
from scene import PASSWORD, Scene, message
from scram import Scram

SOON = 20  # s: it is one second, but the machine may be busy
SECRET = r"[a-hjkmnp-z2-9]{4}(-[a-hjkmnp-z2-9]{4}){4}"


def openssl(tap, name, *args):
    """Runs the openssl command; returns what it printed."""
    done = subprocess.run(("openssl",) + args, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    tap.ok(done.returncode == 0, name, done.stdout)
    return done.stdout


def refuses(tap, scene, name, args, status, why):
    """A command that fails, with its reason."""
    done = scene.submitctl(*args, check=False)
    tap.ok(done.returncode == status and re.search(why, done.stderr)
           and done.stdout == "", "refused: " + name,
           "exit %d: %s%s" % (done.returncode, done.stdout, done.stderr))


def login(scene, user, password, device=None):
    """The code of a login with PLAIN."""
    with scene.tls_session(device) as session:
        try:
            session.user, session.password = user, password
            return session.auth("PLAIN", session.auth_plain)[0]
        except smtplib.SMTPAuthenticationError as e:
            return e.smtp_code


def ended(session, timeout=30):
    """What a session hears when the server ends it, and after how long."""
    begin = time.monotonic()
    session.sock.settimeout(timeout)
    line = session.getreply()
    return line[0], time.monotonic() - begin


def mode(path):
    """The permissions of a file."""
    return stat.S_IMODE(os.stat(path).st_mode)


# ---- passwords ----

def app_password(tap, scene):
    """A password for one device: shown once, taken back alone."""
    done = scene.submitctl("device", "add", "ann", "phone", "--password")
    found = re.search(SECRET, done.stdout)
    tap.ok(found, "device add --password shows a password", done.stdout)
    first = found[0]
    added = scene.submitctl_json("device", "add", "ann", "tablet",
                                 "--password", "--expires", "90d")
    second = added["password"]
    tap.like(second, "^%s$" % SECRET, "device add --json: has it as well")
    tap.ok(first != second, "two passwords differ")
    tap.like(added["expires"], r"^\d{4}-\d\d-\d\dT", "it has an end")
    with open(scene.path("data/users.db"), "rb") as f:
        content = f.read()
    tap.ok(first.encode() not in content and second.encode() not in content,
           "the store has no password")
    for name, user, password, code in (
            ("the first password", "ann", first, 235),
            ("the second password", "ann", second, 235),
            ("the account's own", "ann", PASSWORD, 235),
            ("a login by address", "ann@play.example", first, 235),
            ("a letter missing", "ann", first[:-1], 535),
            ("of another user", "bo", first, 535)):
        tap.equal(login(scene, user, password), code, "PLAIN: " + name)
    revoke_live(tap, scene, first, second)


def revoke_live(tap, scene, first, second):
    """Revoking ends the device's session and no other."""
    with scene.tls_session() as other, scene.tls_session() as session:
        session.login("ann", first)
        other.login("ann", second)
        tap.equal(session.mail("ann@play.example")[0], 250,
                  "app password: MAIL is taken")
        scene.submitctl("device", "revoke", "ann", "phone")
        tap.equal(login(scene, "ann", first), 535,
                  "revoked: a new login fails at once")
        code, took = ended(session)
        tap.equal(code, 421, "revoked: the live session ends with 421")
        tap.ok(took < SOON, "revoked: by itself", "%.2f s" % took)
        tap.equal(other.noop()[0], 250, "revoked: another device goes on")
    tap.equal(login(scene, "ann", second), 235,
              "revoked: another device logs in")
    refuses(tap, scene, "revoking twice",
            ("device", "revoke", "ann", "phone"), 65, "revoked already")
    scene.submitctl("device", "add", "ann", "phone", "--password")
    tap.equal(login(scene, "ann", first), 535,
              "a new device of the old label has another password")


def lone_scram(tap, scene):
    """SCRAM takes an app password where it is the only password."""
    scene.submitctl("user", "add", "cy", "--no-password")
    made = scene.submitctl_json("device", "add", "cy", "script", "--password")

    def scram():
        with scene.tls_session() as session:
            try:
                return session.auth("SCRAM-SHA-256",
                                    Scram("cy", made["password"]))[0]
            except smtplib.SMTPAuthenticationError as e:
                return e.smtp_code

    tap.equal(scram(), 235, "SCRAM with the password of the only device")
    scene.submitctl("device", "add", "cy", "another", "--password")
    tap.equal(scram(), 535, "SCRAM can't tell one of two passwords")
    scene.submitctl("device", "revoke", "cy", "another")
    tap.equal(scram(), 235, "SCRAM again, after the other is revoked")
    mark = scene.log.mark()
    scene.submitctl("device", "revoke", "cy", "script")
    tap.equal(scram(), 535, "SCRAM with a revoked password")
    tap.ok(scene.log.wait(mark, 30, ev="auth", result="bad", user="cy"),
           "the log has the refusal")


def expiry(tap, scene):
    """A device that expires does so in a session, too."""
    made = scene.submitctl_json("device", "add", "ann", "short",
                                "--password", "--expires", "90d")
    with scene.tls_session() as session:
        session.login("ann", made["password"])
        tap.equal(session.mail("ann@play.example")[0], 250,
                  "before the end: MAIL is taken")
        session.rset()
        age(scene, "UPDATE device SET expires = 1000 WHERE label = 'short'")
        code, took = ended(session)
        tap.ok(code == 421 and took < SOON, "expired: the session ends",
               "%d after %.2f s" % (code, took))
    tap.equal(login(scene, "ann", made["password"]), 535,
              "expired: no login")
    shown = scene.submitctl_json("device", "show", "ann", "short")
    tap.equal(shown["state"], "expired", "expired: device show says so")
    for seconds in (2, 10, 40):
        if expires_soon(tap, scene, seconds):
            return
    tap.ok(False, "a device that expires in 40 s: MAIL is taken")


def expires_soon(tap, scene, seconds):
    """Time alone ends a session; False if this machine is too slow to see
    it begin."""
    label = "for %d s" % seconds
    made = scene.submitctl_json("device", "add", "ann", label, "--password",
                                "--expires", "%ds" % seconds)
    with scene.tls_session() as session:
        try:
            session.login("ann", made["password"])
        except smtplib.SMTPAuthenticationError:
            return False
        if session.mail("ann@play.example")[0] != 250:
            return False
        session.rset()
        while scene.submitctl_json("device", "show", "ann",
                                   label)["state"] == "active":
            continue
        tap.equal(session.mail("ann@play.example")[0], 421,
                  "expired in the session: 421 at the next MAIL")
    return True


def age(scene, sql):
    """Changes the store behind the server's back, as time would."""
    db = sqlite3.connect(scene.path("data/users.db"), isolation_level=None)
    db.execute(sql)
    db.close()


# ---- certificates ----

def private_ca(tap, scene):
    """ca init and export."""
    refuses(tap, scene, "a certificate without a CA",
            ("device", "add", "ann", "x", "--cert"), 69, "ca init")
    refuses(tap, scene, "export without a CA", ("ca", "export"), 66,
            "ca init")
    made = scene.submitctl_json("ca", "init", "--name", "Play CA")
    tap.equal(made["subject"], "CN = Play CA", "ca init --name")
    tap.equal((mode(made["key"]), mode(made["certificate"])), (0o600, 0o644),
              "ca init: modes of key and certificate")
    refuses(tap, scene, "a second CA", ("ca", "init"), 73, "already")
    pem = scene.submitctl("ca", "export").stdout
    with open(made["certificate"], encoding="ascii") as f:
        tap.equal(pem, f.read(), "ca export prints the certificate")
    text = openssl(tap, "openssl reads the CA", "x509", "-in",
                   made["certificate"], "-noout", "-text")
    tap.like(text, "critical\\s+CA:TRUE, pathlen:0.*critical\\s+Certificate"
             " Sign, CRL Sign", "the CA's extensions")
    os.chmod(made["key"], 0o640)
    refuses(tap, scene, "a key that others can read",
            ("device", "add", "ann", "x", "--cert"), 77, "chmod 600")
    os.chmod(made["key"], 0o600)
    return made


def issued(tap, scene, user, label):
    """A certificate for a device, its files checked; as a Pair."""
    os.makedirs(scene.path("out"), exist_ok=True)
    made = scene.submitctl_json("device", "add", user, label, "--cert",
                                "--out", scene.path("out"), "--days", "20")
    tap.equal((mode(made["pem"]), mode(made["pkcs12"])), (0o600, 0o600),
              label + ": the files are for their owner only")
    tap.like(made["passphrase"], "^%s$" % SECRET, label + ": passphrase")
    openssl(tap, label + ": verifies under the CA", "verify", "-CAfile",
            scene.path("certs/ca.pem"), "-purpose", "sslclient", made["pem"])
    out = openssl(tap, label + ": openssl reads the PKCS#12", "pkcs12", "-in",
                  made["pkcs12"], "-passin", "pass:" + made["passphrase"],
                  "-noenc")
    tap.equal(out.count("BEGIN CERTIFICATE"), 2,
              label + ": PKCS#12 has the certificate and the CA's")
    from_p12 = scene.path("out", "from-p12.pem")
    with open(from_p12, "w", encoding="ascii") as f:
        f.write(out)
    return made, Pair(made["pem"], made["pem"]), Pair(from_p12, from_p12)


def certificates(tap, scene):
    """Made, used both as PEM and as PKCS#12, revoked."""
    made, pair, from_p12 = issued(tap, scene, "ann", "lap top/1")
    tap.equal(os.path.basename(made["pem"]), "ann-lap_top_1.pem",
              "the file's name is harmless")
    tap.equal(made["subject"], "CN = ann, OU = lap top/1", "its subject")
    mark = scene.log.mark()
    scene.send(message("by PEM"), password=None, device=pair)
    scene.delivered("by PEM")
    cert = scene.log.wait(mark, 30, ev="cert")
    tap.equal((cert["user"], cert["by"], cert["verify"]),
              ("ann", "sha256", "TRUSTED"),
              "without ca_cert the certificate is pinned")
    scene.send(message("by PKCS12"), password=None, device=from_p12)
    scene.delivered("by PKCS12")
    tap.ok(True, "the key out of the PKCS#12 file logs in")
    refuses(tap, scene, "the label is taken",
            ("device", "add", "ann", "lap top/1", "--cert"), 65,
            "has a device")
    shown = scene.submitctl_json("device", "show", "ann", "lap top/1")
    tap.equal([c["kind"] for c in shown["certificates"]],
              ["cert-sha256", "spki-sha256"],
              "device show: pinned by itself and by its key")
    text = openssl(tap, "openssl's fingerprint", "x509", "-in", made["pem"],
                   "-noout", "-fingerprint", "-sha256")
    tap.equal(text.strip().rpartition("=")[2].replace(":", "").lower(),
              shown["certificates"][0]["value"],
              "device show: its fingerprint")
    with scene.tls_session(pair) as session:
        tap.equal(session.mail("ann@play.example")[0], 250,
                  "certificate: MAIL without AUTH")
        scene.submitctl("device", "revoke", "ann", "lap top/1")
        code, took = ended(session)
        tap.ok(code == 421 and took < SOON, "revoked: the session ends with "
               "421 by itself", "%d after %.2f s" % (code, took))
    with scene.tls_session(pair) as session:
        tap.equal(session.mail("ann@play.example")[0], 530,
                  "revoked: the certificate is nobody's")
    revocation_list(tap, scene, made)


def revocation_list(tap, scene, made):
    """ca crl."""
    refuses(tap, scene, "no place for the list", ("ca", "crl"), 64,
            "crl_file is not set")
    crl = scene.path("out", "crl.pem")
    done = scene.submitctl_json("ca", "crl", "--out", crl, "--days", "3")
    tap.equal(done["revoked"], 1, "ca crl: one certificate is revoked")
    text = openssl(tap, "openssl reads the list", "crl", "-in", crl,
                   "-noout", "-text", "-CAfile", scene.path("certs/ca.pem"))
    tap.like(text, "verify OK", "ca crl: signed by the CA")
    tap.like(text.lower(), made["serial"], "ca crl: has the serial")
    scene.submitctl("ca", "crl", "--out", crl)
    text = openssl(tap, "a second list", "crl", "-in", crl, "-noout",
                   "-crlnumber")
    tap.like(text, "0*2$", "ca crl: the next number")


def verified(tap, scene):
    """With ca_cert the certificate verifies, and the list counts."""
    scene.configure(ca_cert="ca.pem", crl_file="crl.pem")
    scene.submitctl("ca", "crl")
    mark = scene.log.mark()
    scene.reload()
    scene.log.wait(mark, 30, ev="reload", result="ok")
    made, pair, _ = issued(tap, scene, "ann", "verified")
    mark = scene.log.mark()
    scene.send(message("verified"), password=None, device=pair)
    cert = scene.log.wait(mark, 30, ev="cert")
    tap.equal((cert["user"], cert["verify"]), ("ann", "OK"),
              "with ca_cert it verifies")
    scene.submitctl("user", "add", "del", "--no-password", "--address",
                    "del@play.example")
    made, pair, _ = issued(tap, scene, "del", "gone")
    scene.submitctl("user", "del", "del")
    tap.equal(scene.submitctl_json("ca", "crl")["revoked"], 2,
              "user del: certificates are revoked")
    with scene.tls_session(pair) as session:
        tap.equal(session.mail("del@play.example")[0], 530,
                  "user del: the certificate is nobody's")
    tap.ok(made["serial"] in openssl(
        tap, "the list again", "crl", "-in", scene.path("certs/crl.pem"),
        "-noout", "-text").lower(), "user del: its serial is on the list")


def requests(tap, scene):
    """--csr: the key stays where it is."""
    key, csr = scene.path("out", "own.key"), scene.path("out", "own.csr")
    openssl(tap, "a request", "req", "-new", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", csr,
            "-subj", "/CN=root/emailAddress=bo@play.example")
    made = scene.submitctl_json("device", "add", "ann", "own key", "--csr",
                                csr, "--out", scene.path("out"))
    tap.ok("passphrase" not in made and "pkcs12" not in made,
           "--csr: there is no key to hand out")
    tap.equal(made["subject"], "CN = ann, OU = own key",
              "--csr: the names are ours")
    scene.send(message("own key"), password=None,
               device=Pair(made["pem"], key))
    scene.delivered("own key")
    tap.ok(True, "--csr: logs in")
    refuses(tap, scene, "the same key for another device",
            ("device", "add", "ann", "twice", "--csr", csr, "--out",
             scene.path("out")), 65, "stands for user ann already")
    tap.ok(not os.path.exists(scene.path("out", "ann-twice.pem")),
           "a refused device leaves no file")
    refuses(tap, scene, "no request",
            ("device", "add", "ann", "none", "--csr", key), 65,
            "no certificate request")
    with open(scene.path("out", "ann-taken.pem"), "wb"):
        pass
    before = scene.submitctl_json("device", "list")
    refuses(tap, scene, "a file in the way",
            ("device", "add", "ann", "taken", "--cert", "--out",
             scene.path("out")), 73, "is there already")
    tap.equal(scene.submitctl_json("device", "list"), before,
              "a file in the way: no device is made")


def expired_certificate(tap, scene):
    """The entry's own end counts, whatever the certificate says."""
    _, pair, _ = issued(tap, scene, "ann", "ending")
    with scene.tls_session(pair) as session:
        tap.equal(session.mail("ann@play.example")[0], 250,
                  "before its end: MAIL")
        age(scene, "UPDATE device SET expires = 1000"
            " WHERE label = 'ending'")
        tap.equal(ended(session)[0], 421, "ended: the session, too")
    with scene.tls_session(pair) as session:
        tap.equal(session.mail("ann@play.example")[0], 530,
                  "ended: nobody's")


# ---- lists ----

def last_use(tap, scene):
    """When, from where and with which program a device was used last."""
    end = time.monotonic() + 30
    wanted = ("tablet", "verified")  # a password, a certificate without AUTH
    while time.monotonic() < end:
        rows = {r["label"]: r for r in scene.submitctl_json("device", "list")
                if r["state"] == "active"}
        if all(rows[label]["last_used"] for label in wanted):
            break  # it is written a second after the use
    for label in wanted:
        row = rows[label]
        tap.like(row["last_used"] or "", r"^\d{4}-\d\d-\d\dT",
                 label + ": when it was used")
        tap.equal((row["last_addr"], row["last_client"]),
                  ("127.0.0.1", "laptop"),
                  label + ": from where, and by which program")
    tap.equal(rows["phone"]["last_used"], None,
              "a device that was never used has no such time")
    shown = scene.submitctl_json("device", "show", "ann", "tablet")
    tap.equal(shown["last_addr"], "127.0.0.1", "device show has it, too")


def lists(tap, scene):
    """device list, and what is not taken."""
    rows = scene.submitctl_json("device", "list", "cy")
    tap.equal({r["label"]: r["state"] for r in rows},
              {"script": "revoked", "another": "revoked"},
              "device list USER")
    soon = scene.submitctl_json("device", "list", "--expiring", "30d")
    tap.ok({"ending", "verified"} <= {r["label"] for r in soon}
           and "tablet" not in {r["label"] for r in soon},
           "device list --expiring", soon)
    out = scene.submitctl("device", "list").stdout
    tap.like(out, r"^USER +LABEL +KIND +STATE +EXPIRES +LAST USED +FROM"
             r" +CLIENT\n", "device list: a table")
    for name, args, status, why in (
            ("no kind", ("add", "ann", "x"), 64, "give one of"),
            ("two kinds", ("add", "ann", "x", "--cert", "--password"), 64,
             "give one of"),
            ("bad span", ("add", "ann", "x", "--password", "--expires",
                          "soon"), 64, "no span of time"),
            ("span of nothing", ("add", "ann", "x", "--password",
                                 "--expires", "0d"), 64, "no span"),
            ("days for a password", ("add", "ann", "x", "--password",
                                     "--days", "3"), 64, "--expires"),
            ("span for a certificate", ("add", "ann", "x", "--cert",
                                        "--expires", "3d"), 64, "--days"),
            ("bad days", ("add", "ann", "x", "--cert", "--days", "0"), 64,
             "1 to 36500"),
            ("no such user", ("add", "nobody", "x", "--password"), 67,
             "no user"),
            ("bad label", ("add", "ann", " x", "--password"), 65, "label"),
            ("no such device", ("show", "ann", "x"), 65, "no device"),
            ("no such device to revoke", ("revoke", "ann", "x"), 65,
             "no device")):
        refuses(tap, scene, "device: " + name, ("device",) + args, status,
                why)


# ---- policies ----

def policies(tap, scene):
    """any, cert, password, both."""
    _, pair, _ = issued(tap, scene, "bo", "bos laptop")
    _, anns, _ = issued(tap, scene, "ann", "anns")
    for policy, password, cert, both, other in (
            ("any", 250, 250, 250, 250),
            ("cert", 534, 250, 534, 534),
            ("password", 250, 530, 250, 250),
            ("both", 530, 530, 250, 530)):
        scene.submitctl("user", "set", "bo", "--policy", policy)
        got = [attempt(scene, *how) for how in (
            ("bos secret", None), (None, pair), ("bos secret", pair),
            ("bos secret", anns))]
        tap.equal(got, [password, cert, both, other],
                  "policy %s: password, certificate, both, with the "
                  "certificate of another" % policy)
        if policy == "cert":
            with scene.tls_session() as session:
                said = session.docmd("AUTH PLAIN", base64.b64encode(
                    b"\0bo\0bos secret").decode())[1].decode()
            tap.like(said, "^5.7.9 .*needs a client certificate",
                     "policy cert: it says what is needed")
    external(tap, scene, pair)
    scene.submitctl("user", "set", "bo", "--policy", "any",
                    "--mechanisms", "scram-sha-256,EXTERNAL")
    tap.equal(login(scene, "bo", "bos secret"), 534,
              "mechanisms: PLAIN is not for this user")
    scene.submitctl("user", "set", "bo", "--mechanisms", "any")
    tap.equal(login(scene, "bo", "bos secret"), 235, "mechanisms: any")
    refuses(tap, scene, "an unknown mechanism",
            ("user", "set", "bo", "--mechanisms", "PLAIN,ROT13"), 64,
            "ROT13")


def external(tap, scene, pair):
    """A certificate alone, where it is not enough: a success would bar the
    way to the password, since there is one AUTH in a session."""
    for policy, offered, code in (("any", True, 235), ("cert", True, 235),
                                  ("password", False, 534),
                                  ("both", False, 534)):
        scene.submitctl("user", "set", "bo", "--policy", policy)
        with scene.tls_session(pair) as session:
            tap.equal("EXTERNAL" in session.esmtp_features["auth"].split(),
                      offered, "policy %s: EXTERNAL in EHLO" % policy)
            got = session.docmd("AUTH EXTERNAL =")
            tap.equal(got[0], code, "policy %s: EXTERNAL" % policy)
            if code == 235:
                continue
            tap.like(got[1].decode(), "^5.7.9 .*needs a password",
                     "policy %s: it says what is needed" % policy)
            session.user, session.password = "bo", "bos secret"
            session.auth("PLAIN", session.auth_plain)
            tap.equal(session.mail("bo@play.example")[0], 250,
                      "policy %s: the password after that" % policy)


def attempt(scene, password, device):
    """The first refusal of AUTH and MAIL, or 250."""
    with scene.tls_session(device) as session:
        if password is not None:
            try:
                session.user, session.password = "bo", password
                session.auth("PLAIN", session.auth_plain)
            except smtplib.SMTPAuthenticationError as e:
                return e.smtp_code
        return session.mail("bo@play.example")[0]


# ---- the server's certificate ----

def server_certificate(tap, scene):
    """init --from-ca and --self-signed, seen by a client."""
    refuses(tap, scene, "a key in the way", ("init", "--from-ca"), 73,
            "server.key is there already")
    scene.submitctl("init", "--from-ca", "--host", "mail.play.example",
                    "--host", "127.0.0.1", "--force")
    restart(scene)
    context = ssl.create_default_context(cafile=scene.path("certs/ca.pem"))
    with smtplib.SMTP("127.0.0.1", scene.port) as session:
        session.starttls(context=context)
        tap.ok(True, "--from-ca: a client verifies chain and address")
    key = scene.path("certs/server.key")
    with open(key, "rb") as f:
        before = f.read()
    os.unlink(scene.path("certs/server.pem"))
    made = scene.submitctl_json("init", "--self-signed", "--key", key)
    tap.equal(made["server"]["hosts"], ["mail.play.example"],
              "--self-signed: for hostname")
    with open(key, "rb") as f:
        tap.equal(f.read(), before, "--key: the key stays as it is")
    openssl(tap, "--self-signed: verifies by itself", "verify", "-CAfile",
            scene.path("certs/server.pem"), scene.path("certs/server.pem"))
    other = scene.ca.issue("other", "x")
    scene.submitctl("init", "--self-signed", "--key", other.key, "--force",
                    "--host", "127.0.0.1")
    tap.equal(mode(key), 0o600, "--key: the copy is for its owner only")
    restart(scene)
    context = ssl.create_default_context(
        cafile=scene.path("certs/server.pem"))
    with smtplib.SMTP("127.0.0.1", scene.port) as session:
        session.starttls(context=context)
        tap.ok(True, "--self-signed: a client that knows it verifies it")
    for name, args, status, why in (
            ("both kinds", ("--self-signed", "--from-ca"), 64, "exclude"),
            ("options without a kind", ("--host", "x"), 64, "need"),
            ("no host", ("--self-signed", "--host", "a b", "--force"), 65,
             "neither a host name"),
            ("no key", ("--self-signed", "--force", "--key",
                        scene.path("submitd.conf")), 77, "open to others"),
            ("a weak key", ("--self-signed", "--force", "--key",
                            weak_key(scene)), 65, "weak.*RSA from 2048")):
        refuses(tap, scene, "init: " + name, ("init",) + args, status, why)
    days = ("--days", "5000")
    done = scene.submitctl("init", "--from-ca", "--force", *days)
    tap.like(done.stderr, "note: the certificate ends with the CA's own",
             "--from-ca: says that the certificate was cut")
    tap.unlike(scene.submitctl("init", "--from-ca", "--force").stderr,
               "note", "--from-ca: and only then")
    shutil.copy(weak_key(scene), key)
    subprocess.run(("openssl", "req", "-x509", "-new", "-key", key, "-subj",
                    "/CN=weak", "-out", scene.path("certs/server.pem")),
                   check=True)
    done = subprocess.run(
        (harness.program("submitd"), "-n", "-f", scene.conf_file), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    tap.like(done.stdout, r"server_cert: .*can't be used: ee key too small",
             "submitd -n: what is wrong with a weak certificate")
    scene.submitctl("init", "--from-ca", "--force")


def weak_key(scene):
    """A file with an RSA key that nobody takes any more."""
    path = scene.path("weak.key")
    if not os.path.exists(path):
        subprocess.run(("openssl", "genrsa", "-out", path, "1024"),
                       stderr=subprocess.DEVNULL, check=True)
        os.chmod(path, 0o600)
    return path


def restart(scene):
    """The same server anew."""
    scene.stop()
    scene.start()


def bundle(tap, scene):
    """ca install."""
    path = scene.path("out", "bundle.pem")
    with open(path, "w", encoding="ascii") as out:
        for pem in (scene.ca.cert, scene.path("certs/ca.pem")):
            with open(pem, encoding="ascii") as f:
                out.write(f.read())
    scene.configure(ca_cert="bundle.pem")
    done = scene.submitctl_json("ca", "install", path)
    tap.equal(done["certificates"], 2, "ca install: two CAs")
    with open(path, "rb") as a, open(done["file"], "rb") as b:
        tap.equal(a.read(), b.read(), "ca install: copied")
    refuses(tap, scene, "ca install over a file", ("ca", "install", path), 73,
            "is there already")
    scene.submitctl("ca", "install", path, "--force")
    with open("/etc/ssl/certs/ca-certificates.crt", encoding="ascii") as f, \
            open(scene.path("public.pem"), "w", encoding="ascii") as out:
        out.write("".join(f.read().partition(
            "-----END CERTIFICATE-----\n")[:2]))
    refuses(tap, scene, "ca install: a public CA",
            ("ca", "install", scene.path("public.pem"), "--force"), 65,
            "is a public CA")
    scene.configure(accept_public_cas=True)
    done = scene.submitctl("ca", "install", scene.path("public.pem"),
                           "--force")
    tap.like(done.stderr, "warning: .* is a public CA",
             "accept_public_cas: installed with a warning")
    rows = json.loads(scene.submitctl("--json", "check", check=False).stdout)
    tap.ok(any(r["result"] == "warning" and r["what"] == "ca_cert"
               and "public CA" in r["text"] for r in rows),
           "accept_public_cas: check warns", rows)
    done = subprocess.run(
        (harness.program("submitd"), "-n", "-f", scene.conf_file), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    tap.like(done.stdout, "a public CA vouches for clients",
             "accept_public_cas: submitd says it")
    scene.configure(accept_public_cas=None)
    rows = json.loads(scene.submitctl("--json", "check", check=False).stdout)
    tap.ok(any(r["result"] == "error" and r["what"] == "ca_cert"
               and "public CA" in r["text"] for r in rows),
           "check: it is an error", rows)
    scene.submitctl("ca", "install", path, "--force")
    for name, file, why in (
            ("no CA", scene.laptop.cert, "not one of a CA"),
            ("a key", scene.laptop.key, "private key"),
            ("no certificate", scene.path("submitd.conf"), "no certificate")):
        refuses(tap, scene, "ca install: " + name,
                ("ca", "install", file, "--force"), 65, why)


def adopt(tap, scene):
    """A store that was lost does not cost the CA."""
    os.unlink(scene.path("data/users.db"))
    scene.submitctl("init")
    done = scene.submitctl("ca", "init")
    tap.like(done.stdout, "taken as it is", "ca init: takes files that exist")
    scene.submitctl("user", "add", "ann", "--no-password")
    made = json.loads(scene.submitctl(
        "--json", "device", "add", "ann", "new", "--cert", "--out",
        scene.path("out")).stdout)
    openssl(tap, "the old CA goes on", "verify", "-CAfile",
            scene.path("certs/ca.pem"), made["pem"])


def test(tap):
    """All of it with one server, started again where need be."""
    with Scene(tap) as scene:
        scene.add_user("bo", "bos secret")
        scene.start()
        app_password(tap, scene)
        lone_scram(tap, scene)
        expiry(tap, scene)
        private_ca(tap, scene)
        certificates(tap, scene)
        verified(tap, scene)
        requests(tap, scene)
        expired_certificate(tap, scene)
        lists(tap, scene)
        last_use(tap, scene)
        policies(tap, scene)
        server_certificate(tap, scene)
        bundle(tap, scene)
        scene.stop()
        tap.equal({r["last_used"] for r in
                   scene.submitctl_json("device", "list")}, {None},
                  "without the server nothing is known of uses")
        adopt(tap, scene)


taplib.run(test)
