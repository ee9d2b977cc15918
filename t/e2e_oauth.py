#!/usr/bin/python3 -B
"""Logins by bearer token: JSON Web Tokens checked by a key file, and opaque
ones by a command."""

import base64
import json
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from scene import PASSWORD, Scene, message

ISSUER = "https://id.play.example"
COMMAND = """#!/bin/sh
# Judges a token; the argument is where to note that we run.
read -r token
case $token in
good) echo ann@play.example ;;
bob) echo bob ;;
silent) ;;
two) printf 'ann\\nbob\\n' ;;
no) exit 1 ;;
broken) exit 70 ;;
killed) kill -KILL $$ ;;
slow) echo $$ >"$1.new"; mv "$1.new" "$1"; exec cat "$2" ;;
*) exit 1 ;;
esac
"""


def b64(data):
    """Base64 as it stands on a line."""
    return base64.b64encode(data).decode()


def url64(data):
    """The base64 of tokens."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def reply(answer):
    """A reply as one text."""
    code, text = answer
    return "%d %s" % (code, text.decode())


def bearer(token, user=None):
    """The message of OAUTHBEARER."""
    return b64(("n,%s,\1host=localhost\1port=587\1auth=Bearer %s\1\1" % (
        "a=" + user if user else "", token)).encode())


def xoauth2(token, user):
    """The message of XOAUTH2."""
    return b64(("user=%s\1auth=Bearer %s\1\1" % (user, token)).encode())


class Issuer:
    """Who signs tokens: a key of each kind, made by the openssl command."""

    def __init__(self, scene):
        self.keys = {"RS256": scene.path("rs256.key"),
                     "ES256": scene.path("es256.key")}
        self.public = scene.path("issuer.pem")
        run("genpkey", "-algorithm", "RSA", "-pkeyopt",
            "rsa_keygen_bits:2048", "-out", self.keys["RS256"])
        run("genpkey", "-algorithm", "EC", "-pkeyopt",
            "ec_paramgen_curve:P-256", "-out", self.keys["ES256"])
        with open(self.public, "wb") as f:
            for key in self.keys.values():
                f.write(run("pkey", "-in", key, "-pubout"))

    def token(self, algorithm="RS256", **changes):
        """A good token but for the changes; None takes a claim out."""
        claims = {"iss": ISSUER, "aud": "submitd", "sub": "1",
                  "exp": int(time.time()) + 600, "email": "ann@play.example"}
        claims.update(changes)
        claims = {k: v for k, v in claims.items() if v is not None}
        text = "%s.%s" % tuple(url64(json.dumps(part).encode()) for part in (
            {"alg": algorithm, "typ": "JWT"}, claims))
        if algorithm == "none":
            return text + "."
        signature = run("dgst", "-sha256", "-sign", self.keys[algorithm],
                        given=text.encode())
        if algorithm == "ES256":
            signature = raw(signature)
        return text + "." + url64(signature)


def raw(der):
    """r and s of a short DER signature, 32 bytes each."""
    out, at = b"", 2
    for _ in range(2):
        length = der[at + 1]
        number = der[at + 2:at + 2 + length]
        out += number.lstrip(b"\0").rjust(32, b"\0")
        at += 2 + length
    return out


def run(*args, given=b""):
    """The openssl command; its output."""
    return subprocess.run(("openssl",) + args, input=given, check=True,
                          stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout


def attempt(scene, mechanism, first):
    """Both replies to a login: the second is that to an empty line, if the
    first was a challenge."""
    with scene.tls_session() as session:
        session.ehlo()
        got = session.docmd("AUTH", mechanism + " " + first)
        if got[0] != 334:
            return None, reply(got)
        return json.loads(base64.b64decode(got[1])), \
            reply(session.docmd("AQ=="))


def tokens(tap, scene, issuer):
    """Who gets in by a JWT."""
    now = int(time.time())
    good = issuer.token()
    rows = (
        ("RS256", "OAUTHBEARER", bearer(good), "235 2.7.0"),
        ("ES256", "OAUTHBEARER", bearer(issuer.token("ES256")), "235 2.7.0"),
        ("with the user's name", "OAUTHBEARER", bearer(good, "ann"),
         "235 2.7.0"),
        ("with the user's address", "OAUTHBEARER",
         bearer(good, "ann@play.example"), "235 2.7.0"),
        ("XOAUTH2", "XOAUTH2", xoauth2(good, "ann@play.example"),
         "235 2.7.0"),
        ("several audiences", "OAUTHBEARER",
         bearer(issuer.token(aud=["x", "submitd"])), "235 2.7.0"),
        ("a long token", "OAUTHBEARER",
         bearer(issuer.token(groups=["g%d" % n for n in range(700)])),
         "235 2.7.0"),
        ("expired", "OAUTHBEARER", bearer(issuer.token(exp=now - 600)),
         "535 5.7.8"),
        ("not valid yet", "OAUTHBEARER", bearer(issuer.token(nbf=now + 600)),
         "535 5.7.8"),
        ("other issuer", "OAUTHBEARER",
         bearer(issuer.token(iss="https://evil.example")), "535 5.7.8"),
        ("other audience", "OAUTHBEARER", bearer(issuer.token(aud="other")),
         "535 5.7.8"),
        ("no user", "OAUTHBEARER", bearer(issuer.token(email=None)),
         "535 5.7.8"),
        ("unknown user", "OAUTHBEARER",
         bearer(issuer.token(email="eve@play.example")), "535 5.7.8"),
        ("disabled user", "OAUTHBEARER",
         bearer(issuer.token(email="closed@play.example")), "535 5.7.8"),
        ("somebody else's name", "OAUTHBEARER", bearer(good, "bob"),
         "535 5.7.8"),
        ("XOAUTH2, somebody else's name", "XOAUTH2", xoauth2(good, "bob"),
         "535 5.7.8"),
        ("no signature", "OAUTHBEARER", bearer(issuer.token("none")),
         "535 5.7.8"),
        ("changed", "OAUTHBEARER", bearer(good[:-8] + "AAAAAAAA"),
         "535 5.7.8"),
        ("opaque", "OAUTHBEARER", bearer("good"), "535 5.7.8"),
        ("malformed", "OAUTHBEARER", b64(b"n,,auth=Bearer x"), "501 5.5.2"),
        ("XOAUTH2, malformed", "XOAUTH2", b64(b"user=ann"), "501 5.5.2"),
    )
    for name, mechanism, first, want in rows:
        error, got = attempt(scene, mechanism, first)
        tap.like(got, "^" + want, "token: %s: %s" % (name, want))
        if want.startswith("535"):
            tap.equal(error["status"],
                      "invalid_token" if mechanism == "OAUTHBEARER"
                      else "401", "token: %s: the error in JSON" % name)
    lines = "\n".join(scene.log.lines)
    tap.unlike(lines, re.escape(good[-40:]), "the log has no token")


def mail(tap, scene, issuer):
    """All the way, and the first message in a line of its own."""
    with scene.tls_session() as session:
        session.ehlo()
        tap.equal(session.esmtp_features["auth"].split()[-2:],
                  ["OAUTHBEARER", "XOAUTH2"], "both are offered")
        tap.equal(session.docmd("AUTH", "OAUTHBEARER"), (334, b""),
                  "without an initial response: an empty challenge")
        tap.like(reply(session.docmd(bearer(issuer.token()))), "^235",
                 "then the token")
        session.sendmail("ann@play.example", "bo@example.net",
                         message("by token"), ["BODY=8BITMIME"])
    scene.delivered("by token")
    tap.ok(True, "a mail goes through")
    with scene.tls_session() as session:
        session.ehlo()
        tap.like(reply(session.docmd("AUTH", "XOAUTH2 "
                                     + xoauth2("x", "ann"))), "^334",
                 "a refusal is told")
        tap.like(reply(session.docmd("*")), "^501 5.7.0",
                 "the client may cancel then")
        session.login("ann", PASSWORD)
        tap.ok(True, "and log in by password")


def programs(tap, scene, issuer):
    """Real mail programs with a token."""
    token = issuer.token("ES256")
    with open(scene.path("token"), "w", encoding="ascii") as f:
        f.write(token + "\n")
    for mechanism in ("OAUTHBEARER", "XOAUTH2"):
        for name, command in (
                ("curl", ("curl", "-sS", "--cacert", scene.ca.cert,
                          "--ssl-reqd", "--mail-from", "ann@play.example",
                          "--mail-rcpt", "bo@example.net",
                          "--upload-file", "-",
                          "--login-options", "AUTH=" + mechanism,
                          "--user", "ann", "--oauth2-bearer", token,
                          "smtp://localhost:%d/laptop" % scene.port)),
                ("msmtp", ("msmtp", "-C", "/dev/null", "--host=localhost",
                           "--port=%d" % scene.port, "--tls=on",
                           "--tls-trust-file=" + scene.ca.cert,
                           "--from=ann@play.example", "--user=ann",
                           "--auth=" + mechanism.lower(),
                           "--passwordeval=cat " + scene.path("token"),
                           "bo@example.net"))):
            subject = "%s-%s" % (name, mechanism)
            text = message(subject)
            if name == "msmtp":
                text = text.replace(b"\r\n", b"\n")
            done = subprocess.run(command, input=text, timeout=60,
                                  stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, check=False)
            if tap.equal((done.returncode, done.stdout), (0, b""),
                         "%s sends by %s" % (name, mechanism)):
                scene.delivered(subject)


def policy(tap, scene, issuer):
    """Mechanisms that a user may not use."""
    scene.submitctl("user", "set", "ann", "--policy", "cert")
    tap.like(attempt(scene, "OAUTHBEARER", bearer(issuer.token()))[1],
             "^534 5.7.9", "a user who needs a certificate: 534")
    scene.submitctl("user", "set", "ann", "--policy", "any")


def use(scene, **keys):
    """Changes keys and waits until they hold."""
    mark = scene.log.mark()
    scene.configure(**keys)
    scene.reload()
    event = scene.log.wait(mark, ev="reload")
    if event.get("result") != "ok":
        raise RuntimeError(event["text"])
    scene.settled()


# token, beginning of the reply
OPAQUE = (
    ("good", "235 2.7.0"),
    ("bob", "235 2.7.0"),
    ("two", "235 2.7.0"),
    ("no", "535 5.7.8"),
    ("stranger", "535 5.7.8"),
    ("silent", "454 4.7.0"),
    ("broken", "454 4.7.0"),
    ("killed", "454 4.7.0"),
)


def command(tap, scene, issuer):
    """Opaque tokens go to a command; JWTs are still judged here."""
    script, note = scene.path("judge"), scene.path("notes", "pid")
    pipe = scene.path("notes", "pipe")
    with open(script, "w", encoding="ascii") as f:
        f.write(COMMAND)
    os.chmod(script, 0o755)
    os.mkdir(scene.path("notes"))
    os.chmod(scene.path("notes"), 0o777)
    os.mkfifo(pipe)
    os.chmod(pipe, 0o666)
    use(scene, oauth_command="%s %s %s" % (script, note, pipe))
    tap.equal(len(scene.pids("pam")), 1, "the role pam runs")
    for token, want in OPAQUE:
        tap.like(attempt(scene, "OAUTHBEARER", bearer(token))[1], "^" + want,
                 "command: %s: %s" % (token, want))
    tap.like(attempt(scene, "XOAUTH2", xoauth2("good", "bob"))[1],
             "^535", "command: somebody else's name")
    tap.like(attempt(scene, "OAUTHBEARER", bearer(issuer.token()))[1],
             "^235", "command: a JWT is judged by the key file")
    tap.like(attempt(scene, "OAUTHBEARER",
                     bearer(issuer.token(aud="other")))[1],
             "^535", "command: it does not hear of a bad JWT")
    use(scene, oauth_timeout="2s")
    with scene.tls_session() as session:
        session.ehlo()
        session.putcmd("AUTH", "OAUTHBEARER " + bearer("slow"))
        harness.wait_files(scene.path("notes"), "pid", 1)
        with open(note, encoding="ascii") as f:
            pid = int(f.read())
        tap.like(attempt(scene, "OAUTHBEARER", bearer("good"))[1], "^235",
                 "command: another login does not wait")
        tap.like(reply(session.getreply()), "^454 4.7.0",
                 "command: past the deadline: 454")
        harness.wait_gone(pid)
        tap.ok(True, "command: it was killed")
    use(scene, oauth_key_file=None)
    tap.like(attempt(scene, "OAUTHBEARER", bearer("good"))[1], "^235",
             "command alone: good")


# keys, words of the refusal
WRONG = (
    ({"oauth_issuer": None}, "oauth_issuer: is not set"),
    ({"oauth_audience": None}, "oauth_audience: is not set"),
    ({"oauth_user_claim": ""}, "oauth_user_claim: is empty"),
    ({"oauth_key_file": "/nonexistent"}, "oauth_key_file: .*No such file"),
    ({"oauth_key_file": "server.pem"}, None),
    ({"oauth_key_file": "server.key"}, "oauth_key_file: .*private key"),
    ({"oauth_key_file": "/dev/null"}, "oauth_key_file: .*has no key"),
    ({"oauth_command": "judge"}, "oauth_command: .*absolute path"),
    ({"oauth_command": "/dev/null"}, "oauth_command: .*cannot be run"),
)


def refused(tap, scene):
    """Mistakes that submitd -n finds; a certificate is no mistake."""
    for keys, words in WRONG:
        before = {key: scene.keys.get(key) for key in keys}
        scene.configure(**keys)
        done = subprocess.run(
            (harness.program("submitd"), "-n", "-f", scene.conf_file),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=30, check=False)
        tap.equal(done.returncode, 78 if words else 0, "%s: exit" % keys)
        tap.like(done.stdout, words or "good", "%s: what is told" % keys)
        scene.configure(**before)


def test(tap):
    """All of it."""
    keys = {"pam_user": "64910:64910"} if harness.is_root() else {}
    with Scene(tap, auth_fail_delay="1ms", oauth_issuer=ISSUER,
               oauth_audience="submitd", **keys) as scene:
        issuer = Issuer(scene)
        scene.configure(oauth_key_file=issuer.public)
        for user in ("bob", "closed"):
            scene.add_user(user)
        scene.submitctl("user", "set", "closed", "--state", "disabled")
        scene.start()
        tap.equal(scene.pids("pam"), [], "keys alone: no role pam")
        for part in (tokens, mail, programs, policy):
            part(tap, scene, issuer)
        refused(tap, scene)
        command(tap, scene, issuer)
        tap.equal(scene.stop(), 0, "ends with status 0")


taplib.run(test)
