#!/usr/bin/python3 -B
"""What a client's TLS can get: the certificate of the name it asks for, RSA
or ECDSA, with an OCSP response; what it can't: old versions, renegotiation,
compression, weak ciphers, a port that is not meant for its protocol."""

import json
import os
import re
import shutil
import smtplib
import socket
import ssl
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib
from certs import Pair
from scene import PASSWORD, Scene, message

RSA, ECDSA = "RSA", "ECDSA"
SIGALGS = {RSA: "rsa_pss_rsae_sha256:RSA+SHA256",
           ECDSA: "ecdsa_secp256r1_sha256"}


def client(scene, *args, given=b"QUIT\n", port=None, starttls=False):
    """openssl s_client, which ends when the server hangs up: its text."""
    command = ("openssl", "s_client", "-connect",
               "127.0.0.1:%d" % (port or (scene.port if starttls else
                                          scene.tls_port)),
               "-CAfile", scene.ca.cert, "-crlf", "-ign_eof") + args
    if starttls:
        command += ("-starttls", "smtp")
    if not {"-servername", "-noservername"} & set(args):
        command += ("-noservername",)
    done = subprocess.run(command, input=given, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60, check=False)
    return done.stdout.decode("utf-8", "replace")


def shown(text):
    """The first certificate that s_client prints, as DER; or None."""
    match = re.search(r"-----BEGIN CERTIFICATE-----.*?"
                      r"-----END CERTIFICATE-----", text, re.S)
    return ssl.PEM_cert_to_DER_cert(match[0]) if match else None


def put(source, target):
    """A file takes another one's place in one step."""
    shutil.copy(source, target + ".new")
    os.chmod(target + ".new", 0o600)
    os.rename(target + ".new", target)


def chain(scene, pair, name):
    """A pair in cert_dir, the CA behind its certificate."""
    path = scene.path("certs", name)
    with open(pair.cert, encoding="ascii") as f, \
            open(scene.ca.cert, encoding="ascii") as ca, \
            open(path + ".pem.new", "w", encoding="ascii") as out:
        out.write(f.read() + ca.read())
    shutil.copy(pair.key, path + ".key.new")
    os.chmod(path + ".key.new", 0o600)
    for end in (".pem", ".key"):  # the one at once after the other
        os.rename(path + end + ".new", path + end)
    return Pair(path + ".pem", path + ".key")


def alarms(scene):
    """What submitctl status has to say."""
    return {(a["what"], a["trouble"]): a["text"]
            for a in scene.submitctl_json("status")["alarms"]}


def checked(scene):
    """The rows of submitctl check; our CA is none that it knows."""
    return json.loads(scene.submitctl("--json", "check", check=False).stdout)


def names(tap, scene):
    """Who asks for which name, with which signatures, is shown what."""
    c = scene.certs
    for name, kind, version, who, wanted in (
            ("mail.play.example", ECDSA, "1.3", "its own", c["main-ec"]),
            ("mail.play.example", RSA, "1.3", "its own", c["main-rsa"]),
            ("mail.play.example", ECDSA, "1.2", "its own", c["main-ec"]),
            ("mail.play.example", RSA, "1.2", "its own", c["main-rsa"]),
            ("MAIL.Play.EXAMPLE", ECDSA, "1.3", "letters of any case",
             c["main-ec"]),
            ("mail.other.example", RSA, "1.3", "another name", c["other"]),
            ("smtp.club.example", ECDSA, "1.3", "by a star", c["star"]),
            ("a.b.club.example", ECDSA, "1.3", "a star is one label",
             c["main-ec"]),
            ("unknown.example", ECDSA, "1.3", "unknown: the first",
             c["main-ec"]),
            ("unknown.example", RSA, "1.2", "unknown: the first",
             c["main-rsa"]),
            (None, RSA, "1.3", "no name: the first", c["main-rsa"]),
            (None, ECDSA, "1.2", "no name: the first", c["main-ec"])):
        for starttls in (False, True):
            text = client(
                scene, *(("-servername", name) if name else ()),
                "-tls1_3" if version == "1.3" else "-tls1_2",
                "-sigalgs", SIGALGS[kind], starttls=starttls)
            tap.equal(shown(text), wanted.der(), "%s, %s, TLS %s, %s: %s" % (
                name, kind, version, "STARTTLS" if starttls else "implicit",
                who))
    text = client(scene, "-servername", "unknown.example")
    tap.ok("alert" not in text and "221 " in text,
           "an unknown name: no alert, the session goes on", text)
    text = client(scene, "-tls1_2")
    tap.equal(shown(text), c["main-ec"].der(),
              "who knows both signatures is shown ECDSA")
    text = client(scene, "-servername", "mail.other.example", "-showcerts")
    tap.equal(text.count("BEGIN CERTIFICATE"), 2,
              "the whole chain of the second pair is shown")


def bindings(tap, scene):
    """A login with channel binding, at each name."""
    for name in ("mail.play.example", "mail.other.example"):
        context = ssl.create_default_context(cafile=scene.ca.cert)
        with smtplib.SMTP_SSL("127.0.0.1", scene.tls_port, timeout=30,
                              context=named(context, name)) as session:
            session.login("ann", PASSWORD)
            tap.equal(session.sock.server_hostname, name,
                      name + ": verified, logged in")


def named(context, name):
    """A context that asks for this name, whatever it connects to."""
    real = context.wrap_socket

    def wrap(sock, *args, **keys):
        keys["server_hostname"] = name
        return real(sock, *args, **keys)
    context.wrap_socket = wrap
    return context


def resumption(tap, scene):
    """A ticket that was got under one name."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=scene.ca.cert)
        context.minimum_version = context.maximum_version = version
        session = None
        for wanted in (False, True):
            sock = socket.create_connection(("127.0.0.1", scene.tls_port), 30)
            with context.wrap_socket(
                    sock, server_hostname="mail.other.example",
                    session=session) as tls:
                tls.recv(100)
                session = tls.session
                tap.equal(tls.session_reused, wanted, "%s: %s" % (
                    version.name, "resumed" if wanted else "first"))


def versions(tap, scene):
    """What is too old or too weak, under either policy."""
    for starttls in (False, True):
        for version in ("-tls1", "-tls1_1"):
            text = client(scene, version, "-cipher", "ALL:@SECLEVEL=0",
                          starttls=starttls)
            tap.ok(shown(text) is None and "protocol version" in text,
                   version[1:] + ": refused, alert protocol_version", text)
        text = client(scene, "-tls1_2", starttls=starttls)
        tap.like(text, r"Compression: NONE", "no compression is agreed on")
        tap.like(text, r"Secure Renegotiation IS supported",
                 "RFC 5746 is spoken")
    text = client(scene, "-tls1_2", "-comp", "-cipher", "ALL:@SECLEVEL=0")
    tap.like(text, r"Compression: NONE", "who offers compression: none")
    for cipher in ("eNULL:@SECLEVEL=0", "aNULL:@SECLEVEL=0"):
        text = client(scene, "-tls1_2", "-cipher", cipher)
        tap.ok(shown(text) is None, cipher + ": no certificate, no session",
               text)
    # s_client takes an R at the start of a line for its own command; after
    # STARTTLS no greeting comes between
    with subprocess.Popen(
            ("openssl", "s_client", "-connect",
             "127.0.0.1:%d" % scene.port, "-starttls", "smtp", "-tls1_2",
             "-CAfile", scene.ca.cert), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT) as process:
        process.stdin.write(b"R\n")
        process.stdin.flush()
        process.wait(60)  # it ends by itself
        tap.like(process.stdout.read().decode(),
                 r"RENEGOTIATING[\s\S]*no renegotiation",
                 "renegotiation is refused")


CBC, STATIC = "ECDHE-ECDSA-AES128-SHA", "AES128-SHA"


def agreed(scene, cipher, kind=ECDSA):
    """The cipher that TLS 1.2 comes to; or None."""
    match = re.search(r"^New, .*Cipher is (.*)$", client(
        scene, "-tls1_2", "-cipher", cipher, "-sigalgs", SIGALGS[kind]), re.M)
    return match and match[1] != "(NONE)" and match[1] or None


def policies(tap, scene):
    """Modern and compatible."""
    good = "ECDHE-ECDSA-AES128-GCM-SHA256"
    for policy in ("modern", "compatible"):
        if policy == "compatible":
            scene.configure(tls_policy=policy)
            mark = scene.log.mark()
            scene.reload()
            line = scene.log.wait(after=mark, ev="tls-policy", side="clients")
            tap.like(line["note"], "tls_policy is compatible",
                     "compatible: the log warns")
            scene.log.wait(after=mark, ev="reload", result="ok")
            scene.settled()
        old = policy == "compatible"
        tap.equal(agreed(scene, good), good, policy + ": ECDHE and AEAD")
        tap.equal(agreed(scene, CBC), CBC if old else None, policy + ": CBC")
        tap.equal(agreed(scene, STATIC, RSA), STATIC if old else None,
                  policy + ": RSA key transport")
        tap.equal(agreed(scene, CBC + ":" + good), good,
                  policy + ": the better one is taken")
        versions(tap, scene)
    rows = {r["what"]: r for r in checked(scene)}
    tap.equal(rows["tls_policy"]["result"], "warning",
              "submitctl check warns, too")
    scene.configure(tls_policy=None)
    mark = scene.log.mark()
    scene.reload()
    scene.log.wait(after=mark, ev="reload", result="ok")
    scene.settled()


def protocols(tap, scene):
    """ALPN: that of mail, none, or another one."""
    for offers, wanted in ((None, None), (["smtp"], "smtp"),
                           (["esmtp"], "esmtp"),
                           (["h2", "http/1.1", "smtp"], "smtp"),
                           (["esmtp", "smtp"], "smtp"),
                           (["http/1.1"], "refused"), (["h2"], "refused"),
                           (["imap"], "refused"), (["SMTP"], "refused"),
                           (["smt"], "refused"), (["smtps"], "refused"),
                           (["h2", "http/1.1", "ftp"], "refused")):
        for starttls in (False, True):
            context = scene.tls_context()
            if offers:
                context.set_alpn_protocols(offers)
            what = "ALPN %s%s" % (offers, ", STARTTLS" if starttls else "")
            mark = scene.log.mark()
            try:
                if starttls:
                    with scene.session() as session:
                        session.starttls(context=context)
                        got = session.sock.selected_alpn_protocol()
                else:
                    with smtplib.SMTP_SSL("127.0.0.1", scene.tls_port,
                                          context=named(context, "localhost"),
                                          timeout=30) as session:
                        got = session.sock.selected_alpn_protocol()
            except ssl.SSLError as e:
                got = "refused"
                tap.like(str(e), "(?i)no.application.protocol",
                         what + ": the alert says why")
                line = scene.log.wait(after=mark, ev="lost", during="tls")
                tap.like(line["error"], "(?i)no application protocol",
                         what + ": so does the log")
            tap.equal(got, wanted, what)


def staple(scene, name):
    """What s_client says of the OCSP response that came."""
    text = client(scene, "-status", "-servername", name)
    if re.search(r"OCSP response: no response sent", text):
        return None
    match = re.search(r"Cert Status: (\w+)", text)
    return match and match[1]


def stapling(tap, scene):
    """OCSP responses: sent, left out, renewed."""
    name = "mail.other.example"
    ca, pair = scene.ca, scene.certs["other"]
    path = scene.path("certs/other.der")
    tap.equal(staple(scene, name), None, "no response yet: none is sent")
    tap.like(alarms(scene).get(("files", "ocsp")),
             r"other\.der: no OCSP response is sent: .*cannot be read",
             "an alarm says so")
    fronts = scene.pids("front")

    def renewed(source, **line):
        mark = scene.log.mark()
        put(source, path)
        return scene.log.wait(after=mark, ev="ocsp", file=path, **line)
    with scene.tls_session() as session:
        session.login("ann", PASSWORD)
        line = renewed(ca.ocsp(pair, "good.der"))
        tap.like(line.get("until", ""), r"^\d{4}-\d\d-\d\dT",
                 "a response comes: the log says until when it is good")
        session.sendmail("ann@play.example", "bo@example.net",
                         message("staple"))
    tap.equal(scene.pids("front"), fronts,
              "no front is started anew for it, sessions go on")
    tap.equal(staple(scene, name), "good", "it is sent")
    tap.ok(("files", "ocsp") not in alarms(scene), "the alarm is over")
    tap.equal(staple(scene, "mail.play.example"), None,
              "with its own certificate only")
    for version in ("-tls1_2", "-tls1_3"):
        text = client(scene, version, "-status", "-servername", name)
        tap.like(text, "Cert Status: good", version + ": it is sent")
    text = client(scene, "-servername", name)
    tap.ok("OCSP" not in text, "who does not ask gets none")
    signer = ca.issue("signer", "OCSP signer", rsa=True, usage="OCSPSigning")
    for what, source, why in (
            ("stale", ca.ocsp(pair, "stale.der", responder=signer,
                              days_old=10), "out of date since"),
            ("revoked", ca.ocsp(pair, "revoked.der", revoked=True),
             "certificate is revoked"),
            ("for another certificate",
             ca.ocsp(scene.certs["main-ec"], "foreign.der"),
             "not for this certificate"),
            ("signed by a stranger",
             ca.ocsp(pair, "forged.der", responder=scene.certs["star"]),
             "signed neither by the issuer"),
            ("garbage", scene.conf_file, "no OCSP response")):
        tap.like(renewed(source)["error"], why, what + ": the log says why")
        tap.like(alarms(scene).get(("files", "ocsp")), why,
                 what + ": so does submitctl status")
        tap.equal(staple(scene, name), None, what + ": it is not sent")
        rows = [r for r in checked(scene)
                if r["what"] == "certificate.ocsp"]
        tap.like([r for r in rows if "other.der" in r["text"]][0]["text"],
                 why, what + ": submitctl check finds it")
    renewed(ca.ocsp(pair, "delegated.der", responder=signer))
    tap.equal(staple(scene, name), "good",
              "one of a responder that the CA has appointed is sent")
    tap.equal(scene.pids("front"), fronts, "all by the same fronts")


def must_staple(tap, scene):
    """A certificate that demands a response."""
    pair = scene.ca.issue("must", "mail.other.example",
                          "DNS:mail.other.example", rsa=True,
                          more="tlsfeature=status_request\n")
    mark = scene.log.mark()
    fronts = scene.pids("front")
    chain(scene, pair, "other")
    scene.log.wait(after=mark, ev="renewal", result="ok")
    scene.settled()
    tap.ok(scene.pids("front") != fronts, "a new certificate: new fronts")
    tap.equal(shown(client(scene, "-servername", "mail.other.example")),
              pair.der(), "the second pair was renewed")
    tap.like(alarms(scene).get(("files", "ocsp")),
             "clients may refuse the certificate: it is not for this",
             "must-staple without its response: an alarm")
    rows = [r for r in checked(scene)
            if r["what"] == "certificate.ocsp"
            and r["result"] == "warning" and "demands one" in r["text"]]
    tap.equal(len(rows), 1, "submitctl check warns")
    mark = scene.log.mark()
    put(scene.ca.ocsp(pair, "must.der"), scene.path("certs/other.der"))
    scene.log.wait(after=mark, ev="alarm-over", trouble="ocsp")
    tap.equal(staple(scene, "mail.other.example"), "good",
              "with it all is well")
    scene.certs["other"] = pair


def renewals(tap, scene):
    """The second pair is renewed, badly and well."""
    name, before = "mail.other.example", scene.certs["other"]
    expired = scene.ca.issue("lapsed", name, "DNS:" + name, days=-1)
    mark = scene.log.mark()
    chain(scene, expired, "other")
    line = scene.log.wait(after=mark, ev="renewal", result="refused")
    tap.equal(line["error"], "certificate.cert: other.pem: the certificate "
              "has expired", "a bad second pair: the log says which and why")
    tap.equal(shown(client(scene, "-servername", name)), before.der(),
              "clients are shown the one of before")
    tap.like(alarms(scene).get(("files", "renewal")), "other.pem",
             "an alarm tells")
    main = scene.ca.issue("renewed", "mail.play.example",
                          "DNS:localhost,DNS:mail.play.example,IP:127.0.0.1")
    mark = scene.log.mark()
    chain(scene, main, "main-ec")
    scene.log.wait(after=mark, ev="renewal", result="ok")
    scene.settled()
    tap.equal(shown(client(scene, "-tls1_2")), main.der(),
              "meanwhile the first is renewed")
    tap.equal(shown(client(scene, "-servername", name)), before.der(),
              "and the second stays")
    tap.like(alarms(scene).get(("files", "renewal")), "other.pem",
             "the alarm stays, too")
    done = scene.submitctl("check", check=False)
    tap.like(done.stdout, r"certificate\.cert +\S*other\.pem.*has expired",
             "submitctl check finds it")
    fronts = scene.pids("front")
    mark = scene.log.mark()
    scene.reload()
    line = scene.log.wait(after=mark, ev="reload", result="refused")
    tap.like(line["error"], r"submitd\.conf:\d+: certificate\.cert: "
             "other.pem: the certificate has expired",
             "SIGHUP: refused with the line of the key")
    tap.equal(scene.pids("front"), fronts, "the old set stays")
    good = scene.ca.issue("mended", name, "DNS:" + name)
    mark = scene.log.mark()
    chain(scene, good, "other")
    scene.log.wait(after=mark, ev="alarm-over", trouble="renewal")
    scene.settled()
    tap.equal(shown(client(scene, "-servername", name)), good.der(),
              "mended: it is used, the alarm is over")


def begin(scene):
    """Four chains: RSA and ECDSA of one name, another name, a star."""
    ca = scene.ca
    main = "DNS:mail.play.example,DNS:localhost,IP:127.0.0.1"
    scene.certs = {
        "main-ec": ca.issue("main-ec", "mail.play.example", main),
        "main-rsa": ca.issue("main-rsa", "mail.play.example", main,
                             rsa=True),
        "other": ca.issue("other", "mail.other.example",
                          "DNS:Mail.Other.Example", rsa=True),
        "star": ca.issue("star", "club.example",
                         "DNS:*.club.example,DNS:club.example")}
    for name, pair in scene.certs.items():
        chain(scene, pair, name)
    scene.configure(
        server_cert="main-ec.pem", server_key="main-ec.key",
        certificate=[{"cert": "main-rsa.pem", "key": "main-rsa.key"},
                     {"cert": "other.pem", "key": "other.key",
                      "ocsp": "other.der"},
                     {"cert": "star.pem", "key": "star.key"}])
    scene.start()


def test(tap):
    """All with one server."""
    with Scene(tap) as scene:
        begin(scene)
        for part in (names, bindings, resumption, protocols, stapling,
                     policies, must_staple, renewals):
            part(tap, scene)
        tap.equal(scene.stop(), 0, "the server ends with status 0")


taplib.run(test, deadline=600)
