#!/usr/bin/python3 -B
"""Client certificates over real handshakes: those that a CA has revoked, lists
that are stale or missing, and names that are odd."""

import base64
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from certs import CA, openssl
from scene import PASSWORD, Scene

EXTENSIONS = """[ext]
basicConstraints = CA:FALSE
extendedKeyUsage = %s
%s
"""
CA_CONF = """[ca]
default_ca = here
[here]
database = %(dir)s/index
crlnumber = %(dir)s/crlnumber
default_md = sha256
default_crl_days = 30
"""


def reply(code_and_text):
    """A reply as one text."""
    code, text = code_and_text
    return "%d %s" % (code, text.decode())


def issue(ca, file, subject, san="", usage="clientAuth"):
    """A client's certificate with any subject and subjectAltName line."""
    pair = ca.issue(file, "temporary")
    request = os.path.join(ca.directory, file + ".csr")
    extensions = os.path.join(ca.directory, file + ".x")
    openssl("req", "-new", "-utf8", "-key", pair.key, "-subj", subject,
            "-out", request)
    with open(extensions, "w", encoding="ascii") as f:
        f.write(EXTENSIONS % (usage, san and "subjectAltName = " + san))
    openssl("x509", "-req", "-in", request, "-CA", ca.pair.cert, "-CAkey",
            ca.pair.key, "-CAcreateserial", "-days", "30", "-extfile",
            extensions, "-extensions", "ext", "-out", pair.cert)
    return pair


def make_list(ca, out, revoked=(), *args):
    """A revocation list of a CA."""
    conf = os.path.join(ca.directory, "ca.conf")
    with open(conf, "w", encoding="ascii") as f:
        f.write(CA_CONF % {"dir": ca.directory})
    for name, text in (("index", ""), ("crlnumber", "01\n")):
        with open(os.path.join(ca.directory, name), "w",
                  encoding="ascii") as f:
            f.write(text)
    common = ("-config", conf, "-cert", ca.pair.cert, "-keyfile", ca.pair.key)
    for pair in revoked:
        openssl("ca", "-revoke", pair.cert, *common)
    openssl("ca", "-gencrl", "-out", out, *common, *args)


def der_names(*names):
    """GeneralNames with e-mail addresses of any bytes, as openssl takes it."""
    body = b"".join(b"\x81" + bytes((len(n),)) + n for n in names)
    whole = b"\x30" + bytes((len(body),)) + body
    return "DER:" + ":".join("%02X" % b for b in whole)


def come(scene, pair):
    """What the log says of a certificate, and the reply to MAIL."""
    mark = scene.log.mark()
    with scene.tls_session(pair) as session:
        external = "EXTERNAL" in session.esmtp_features["auth"].split()
        said = reply(session.docmd("MAIL FROM:<ann@play.example>"))
        code = session.docmd("AUTH PLAIN " + base64.b64encode(
            ("\0ann\0" + PASSWORD).encode()).decode())[0] \
            if said.startswith("530") else 235
    return scene.log.wait(mark, ev="cert"), external, said, code


def check(tap, scene, name, pair, want, reason=None, user="ann"):
    """A certificate: its word, why, whose it is, and what that allows."""
    event, external, said, code = come(scene, pair)
    tap.equal((event["verify"], event["user"]), (want, user),
              "%s: verify %s, user %s" % (name, want, user))
    if reason:
        tap.like(event["reason"], reason, name + ": the reason")
    tap.equal(external, user != "-", name + ": EXTERNAL is offered or not")
    tap.like(said, "^250" if user != "-" else r"^530 5\.7\.0",
             name + ": MAIL")
    tap.equal(code, 235, name + ": a password works in any case")
    return event


def again(scene, **keys):
    """Starts the server anew with other keys."""
    scene.configure(**keys)
    scene.stop()
    scene.start()


def lists(tap, scene, pairs):
    """Each state of a revocation list."""
    good, revoked, pinned = pairs
    crl = scene.path("certs/list.pem")
    check(tap, scene, "no list", revoked, "OK")
    make_list(scene.ca, crl, (revoked, pinned))
    again(scene, crl_file="list.pem")
    check(tap, scene, "good list, good certificate", good, "OK")
    check(tap, scene, "good list, revoked certificate", revoked, "FAIL",
          "revoked", "-")
    check(tap, scene, "good list, revoked and pinned", pinned, "FAIL",
          "revoked", "-")
    tap.ok(not scene.log.find(ev="crl"), "a good list raises no alarm")
    tap.equal(scene.submitctl_json("status")["alarms"], [],
              "and the status has none")

    make_list(scene.ca, crl, (), "-crl_lastupdate", "20200101000000Z",
              "-crl_nextupdate", "20200201000000Z")
    alarmed(tap, scene, "stale list", good, "CRL has expired")
    other = CA(scene.path("other"), "Other CA")
    make_list(other, crl)
    alarmed(tap, scene, "list of another CA", good, "unable to get .*CRL")

    os.unlink(crl)
    done = subprocess.run(
        (harness.program("submitd"), "-n", "-f", scene.conf_file), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    tap.like(done.stdout, r"submitd\.conf:\d+: crl_file: .*list\.pem",
             "no such file: refused with its line")
    again(scene, crl_file=None)
    check(tap, scene, "without a list again", revoked, "OK")


def alarmed(tap, scene, name, pair, reason):
    """A list that can't be used: FAIL, and somebody is told."""
    mark = scene.log.mark()
    again(scene)
    check(tap, scene, name, pair, "FAIL", reason, "-")
    event = scene.log.wait(mark, ev="crl")
    tap.like(event["error"], reason, name + ": a warning in the log")
    tap.equal(event["level"], "warning", name + ": it is a warning")
    alarms = scene.submitctl_json("status")["alarms"]
    tap.equal([a["what"] for a in alarms], ["crl"],
              name + ": an alarm in the status")
    tap.like(alarms[0]["text"], reason, name + ": which says why")


# name, subject, subjectAltName, verify, reason or None, user, the log's
# subject or None
def odd_names():
    """The table of certificates with odd names."""
    ann, bob = b"ann@play.example", b"bob@play.example"
    long = "".join("/OU=%02d%s" % (n, "x" * 60) for n in range(40))
    return (
        ("several addresses, one is a user's", "/CN=many",
         "email:who@else.example,email:ann@play.example,DNS:laptop",
         "OK", None, "ann", "/CN=many"),
        ("addresses of two users", "/CN=two",
         "email:ann@play.example,email:bob@play.example",
         "OK", None, "-", None),
        ("one address twice", "/CN=twice",
         "email:ann@play.example,email:ann@play.example",
         "OK", None, "ann", None),
        ("no address", "/CN=none", "DNS:ann", "OK", None, "-", None),
        ("an address in the subject only",
         "/CN=ann/emailAddress=ann@play.example", "", "OK", None, "-", None),
        ("a NUL behind the address", "/CN=nul",
         der_names(ann + b"\0.evil.example"), "(OK|FAIL)", None, "-", None),
        ("a NUL, and a good address", "/CN=nul", der_names(bob + b"\0", ann),
         "(OK|FAIL)", None, "(ann|-)", None),
        ("a line end in the address", "/CN=crlf",
         der_names(ann + b"\r\nX"), "OK", None, "-", None),
        ("forty units", long + "/CN=long", "email:ann@play.example",
         "FAIL", "too long", "-", None),
        ("letters beyond ASCII", "/CN=J\u00fcrgen \u4f60\u597d",
         "email:ann@play.example", "OK", None, "ann",
         r"^/CN=J\+5CxC3\+5CxBCrgen\+20[ -~]*$"),
        ("signs of its own", "/O=a\\/b+c<d>(e)\"f\"/CN=x", "",
         "OK", None, "-", "^[ -~]*$"),
        ("an escape sequence", "/CN=\u001b[2Jx", "", "OK", None, "-",
         "^[ -~]*$"),
    )


def names(tap, scene):
    """Names that might fool somebody."""
    for n, (name, subject, san, verify, reason, user,
            logged) in enumerate(odd_names()):
        pair = issue(scene.ca, "odd%d" % n, subject, san)
        event, external, said, code = come(scene, pair)
        tap.like(event["verify"], "^%s$" % verify,
                 "%s: verify %s" % (name, verify))
        tap.like(event["user"], "^%s$" % user, "%s: user %s" % (name, user))
        tap.equal(external, event["user"] != "-", name + ": EXTERNAL")
        tap.like(said, "^250" if event["user"] != "-" else "^530",
                 name + ": MAIL")
        tap.equal(code, 235, name + ": the session lives")
        if reason:
            tap.like(event["reason"], reason, name + ": the reason")
        if logged:
            tap.like(event["subject"], logged, name + ": as it is logged")
    tap.unlike("".join(scene.log.lines), "[^ -~]", "the log is plain")


def usage(tap, scene):
    """A certificate made for servers only."""
    pair = issue(scene.ca, "srv", "/CN=srv", "email:ann@play.example",
                 "serverAuth")
    check(tap, scene, "serverAuth only", pair, "FAIL", "purpose", "-")
    again(scene, accept_server_certs=True)
    check(tap, scene, "serverAuth, accept_server_certs", pair, "OK")
    pair = issue(scene.ca, "code", "/CN=code", "email:ann@play.example",
                 "codeSigning")
    check(tap, scene, "codeSigning, accept_server_certs", pair, "FAIL",
          "purpose", "-")
    again(scene, accept_server_certs=None)


def test(tap):
    """All with the playground's CA as that of the clients."""
    with Scene(tap, smarthost=False, ca_cert="clients.pem") as scene:
        with open(scene.path("certs/clients.pem"), "w",
                  encoding="ascii") as out, \
                open(scene.ca.cert, encoding="ascii") as f:
            out.write(f.read())
        scene.add_user("bob", "bob's")
        scene.route_to(9)
        san = "email:ann@play.example"
        pairs = [issue(scene.ca, name, "/CN=" + name, san)
                 for name in ("good", "revoked", "pinned")]
        scene.submitctl("cert", "add", "ann", pairs[2].sha256())
        scene.start()
        lists(tap, scene, pairs)
        usage(tap, scene)
        names(tap, scene)
        tap.equal(scene.stop(), 0, "ends with status 0")


taplib.run(test)
