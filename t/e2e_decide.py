#!/usr/bin/python3 -B
"""Who may what, by the access map, in a running server: TLS requirements with
real certificates, relaying by certificate, Connect, From and To entries,
Srv_Features, map_relay_user. The replies are sendmail's."""

import os
import smtplib
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib
from certs import CA
from scene import PASSWORD, Scene, message

ANN = "ann@play.example"
BO = "bo@example.net"


def reply(code_and_text):
    """A reply as one text: "535 5.7.8 ...", lines joined by a blank."""
    code, text = code_and_text
    return "%d %s" % (code, text.decode().replace("\n", " "))


class Entries:
    """Entries of the access map, for a while."""

    def __init__(self, scene, *entries):
        self.scene = scene
        self.entries = entries

    def __enter__(self):
        for key, value in self.entries:
            self.scene.submitctl("access", "set", key, value)

    def __exit__(self, *_exception):
        for key, _ in self.entries:
            self.scene.submitctl("access", "del", key)


def keywords(session):
    """What EHLO offers, without arguments."""
    return sorted(k.upper() for k in session.esmtp_features)


def says(tap, session, command, want, name):
    """One command, and its whole reply."""
    tap.equal(reply(session.docmd(command)), want, name)


# entry, client's certificate, reply to all but a few commands (None: no
# refusal)
REQUIREMENTS = (
    (("TLS_Clt:", "VERIFY"), None, "454 4.7.0 not authenticated"),
    (("TLS_Clt:", "PERM+VERIFY"), None, "503 5.7.0 not authenticated"),
    (("TLS_Clt:", "TEMP+VERIFY"), None, "403 4.7.0 not authenticated"),
    (("TLS_Clt:", "VERIFY"), "foreign", "454 4.7.0 authentication failed"),
    (("TLS_Clt:", "VERIFY"), "expired", "454 4.7.0 authentication failed"),
    (("TLS_Clt:", "VERIFY"), "member", None),
    (("TLS_Clt:", "VERIFY"), "pinned", None),
    (("TLS_Clt:127", "ENCR:512"), None,
     "454 4.7.0 encryption too weak 256 less than 512"),
    (("TLS_Clt:127.0.0.1", "ENCR:128"), None, None),
    (("TLS_Clt:", "VERIFY:512"), "member",
     "454 4.7.0 encryption too weak 256 less than 512"),
    (("TLS_Clt:", "VERIFY+CN:member"), "member", None),
    (("TLS_Clt:", "VERIFY+CN:other"), "member",
     "454 4.7.0 CN member does not match other"),
    (("TLS_Clt:", "VERIFY+CI:/CN=Playground+20CA++CS:/CN=x"), "member",
     "454 4.7.0 Cert Subject /CN=member does not match /CN=x"),
    (("TLS_Clt:", "VERIFY+CN:pinned"), "pinned",
     "454 4.7.0 CN  does not match pinned"),
    (("TLS_Clt:", "VERIFY+CITag:Friends"), "member",
     "454 4.7.0 Cert Issuer /CN=Playground+20CA not acceptable"),
)


def requirements(tap, scene):
    """After the handshake: the session stays, and does next to nothing."""
    for entry, device, want in REQUIREMENTS:
        name = "%s %s, %s" % (entry + (device or "no certificate",))
        with Entries(scene, entry), \
                scene.tls_session(scene.devices.get(device)) as session:
            if want is None:
                tap.ok("AUTH" in keywords(session), name + ": no refusal")
                continue
            tap.equal(keywords(session), ["ENHANCEDSTATUSCODES"],
                      name + ": EHLO offers next to nothing")
            for command in ("MAIL FROM:<%s>" % ANN, "AUTH PLAIN AGEAYg==",
                            "RCPT TO:<x@y.example>", "DATA", "VRFY x",
                            "HELP"):
                says(tap, session, command, want, "%s: %s" % (name, command))
            for command in ("NOOP", "RSET", "HELO laptop"):
                tap.like(reply(session.docmd(command)), "^250",
                         "%s: %s works" % (name, command))
            tap.like(reply(session.docmd("FROBNICATE")), "^500 5.5.1",
                     name + ": an unknown command is unknown")


def citag(tap, scene):
    """An issuer with the tag's own entry."""
    with Entries(scene, ("TLS_Clt:", "VERIFY+CITag:Friends"),
                 ("Friends:/CN=Playground+20CA", "OK")), \
            scene.tls_session(scene.devices["member"]) as session:
        tap.ok("AUTH" in keywords(session), "CITag: the issuer has an entry")


def asked_again(tap, scene):
    """The requirement is asked again at each MAIL."""
    with scene.tls_session() as session:
        session.login("ann", PASSWORD)
        tap.like(reply(session.mail(ANN)), "^250", "MAIL before the entry")
        session.rset()
        with Entries(scene, ("TLS_Clt:", "VERIFY")):
            says(tap, session, "MAIL FROM:<%s>" % ANN,
                 "454 4.7.0 not authenticated", "MAIL with the entry")
            says(tap, session, "MAIL FROM:<>",
                 "454 4.7.0 not authenticated", "the null sender, too")
        tap.like(reply(session.mail(ANN)), "^250", "MAIL without it again")


def of_a_user(tap, scene):
    """TLS_User is for one user."""
    with Entries(scene, ("TLS_User:ann", "VERIFY")):
        with scene.tls_session() as session:
            session.login("ann", PASSWORD)
            says(tap, session, "MAIL FROM:<%s>" % ANN,
                 "454 4.7.0 not authenticated", "TLS_User: a password alone")
        with scene.tls_session(scene.laptop) as session:
            tap.like(reply(session.mail(ANN)), "^250",
                     "TLS_User: her certificate")
        with scene.tls_session() as session:
            session.login("bob", PASSWORD)
            tap.like(reply(session.mail("bob@play.example")), "^250",
                     "TLS_User: another user")


# entries, device, reply to RCPT or (None) to MAIL
BY_CERTIFICATE = (
    ((), "member", "^530 5.7.0", None),
    ((("CertIssuer:/CN=Playground+20CA", "RELAY"),), "member", "^250",
     "map:certissuer:/cn=playground+20ca"),
    ((("CertIssuer:/CN=Playground+20CA", "RELAY"),), "foreign", "^530 5.7.0",
     None),
    ((("CertIssuer:/CN=Playground+20CA", "RELAY"),), "expired", "^530 5.7.0",
     None),
    ((("CertIssuer:/CN=Playground+20CA", "SUBJECT"),), "member",
     "^530 5.7.0", None),
    ((("CertIssuer:/CN=Playground+20CA", "SUBJECT"),
      ("CertSubject:/CN=member", "RELAY")), "member", "^250",
     "map:certsubject:/cn=member"),
    ((("CertIssuer:/CN=Playground+20CA", "SUBJECT"),
      ("CertSubject:/CN=other", "RELAY")), "member", "^530 5.7.0", None),
    ((("CertIssuer:/CN=pinned", "RELAY"),), "stray", "^530 5.7.0", None),
)


def relaying(tap, scene):
    """A certificate of the right issuer, or subject, may relay."""
    for entries, device, want, who in BY_CERTIFICATE:
        name = "%s, %s" % (" ".join("%s %s" % e for e in entries) or "nothing",
                           device)
        with Entries(scene, *entries), \
                scene.tls_session(scene.devices[device]) as session:
            mark = scene.log.mark()
            got = session.mail("anybody@example.org")
            tap.like(reply(got), want, "relaying by %s: MAIL" % name)
            if got[0] != 250:
                continue
            tap.equal(session.rcpt(BO)[0], 250, name + ": RCPT")
            tap.equal(session.data(message("by-certificate"))[0], 250,
                      name + ": the message")
            event = scene.log.wait(mark, ev="accepted")
            tap.equal((event["user"], event["how"]), (who, "map"),
                      name + ": who relays")


# value of Connect:127.0.0.1, reply to MAIL and others
CONNECT = (
    ("REJECT", "550 5.7.1 Access denied"),
    ("ERROR:450 Come back, later", "450 4.0.0 Come back,later"),
    ("ERROR:5.7.26:554 Not from here", "554 5.7.26 Not from here"),
)


def connect(tap, scene):
    """The greeting stays 220 and TLS is reached; then come the refusals."""
    for value, want in CONNECT:
        with Entries(scene, ("Connect:127.0.0.1", value)):
            with scene.session() as session:
                session.ehlo()
                tap.equal(keywords(session), ["ENHANCEDSTATUSCODES",
                                              "STARTTLS"],
                          "Connect %s: before TLS all is as ever" % value)
                session.starttls(context=scene.tls_context())
                session.ehlo()
                tap.equal(keywords(session), ["ENHANCEDSTATUSCODES"],
                          "Connect %s: EHLO under TLS" % value)
                for command in ("MAIL FROM:<%s>" % ANN, "AUTH LOGIN"):
                    says(tap, session, command, want,
                         "Connect %s: %s" % (value, command))
    with Entries(scene, ("Connect:127", "REJECT"),
                 ("Connect:127.0.0.1", "OK")), scene.tls_session() as session:
        tap.ok("AUTH" in keywords(session), "Connect OK beats REJECT of 127")
    with Entries(scene, ("Connect:127", "REJECT"),
                 ("Connect:127.0.0.1", "SKIP")), \
            scene.tls_session() as session:
        tap.ok("AUTH" in keywords(session), "SKIP ends the walk")


def connect_421(tap, scene):
    """421 ends the connection at once, under TLS."""
    with Entries(scene, ("Connect:127.0.0.1", "ERROR:421 Go away")):
        for implicit in (False, True):
            try:
                with scene.tls_session(implicit=implicit) as session:
                    got = session.docmd("NOOP")
            except smtplib.SMTPServerDisconnected:
                got = (0, b"closed")
            tap.like(reply(got), "^(421 4.0.0 Go away|0 closed)",
                     "Connect 421, %s: no session"
                     % ("implicit TLS" if implicit else "STARTTLS"))
        mark = scene.log.mark()
        with scene.session() as session:
            session.ehlo()
            session.starttls(context=scene.tls_context())
            tap.equal(reply(session.getreply()), "421 4.0.0 Go away",
                      "Connect 421: said at once")
            tap.equal(session.sock.recv(1), b"", "and closed")
        scene.log.wait(mark, ev="session")


def fates(tap, scene):
    """DISCARD and QUARANTINE of a Connect entry are for the whole session."""
    with Entries(scene, ("Connect:127.0.0.1", "DISCARD")):
        mark = scene.log.mark()
        scene.send(message("thrown-away"), password=PASSWORD)
        event = scene.log.wait(mark, ev="discarded")
        tap.equal(event["rcpt"], BO, "Connect DISCARD: the log says so")
    with Entries(scene, ("Connect:127.0.0.1", "QUARANTINE:look at it")):
        mark = scene.log.mark()
        scene.send(message("held"), password=PASSWORD)
        qid = scene.log.wait(mark, ev="accepted")["qid"]
        item = scene.submitctl_json("queue", "show", qid)
        tap.equal((item["state"], item["rcpts"][0]["text"]),
                  ("held", "look at it"), "Connect QUARANTINE: it is held")
        scene.submitctl("queue", "release", qid)
        scene.delivered("held")
    tap.ok(not any(b"thrown-away" in m["data"]
                   for m in scene.smarthost.messages),
           "Connect DISCARD: the smarthost never got it")


def strangers(tap, scene):
    """A To entry that discards or holds gives nobody the right to send."""
    mark = scene.log.mark()
    with Entries(scene, ("To:open.test", "RELAY"),
                 ("To:thr.test", "DISCARD"),
                 ("To:q.test", "QUARANTINE:look at it")):
        with scene.tls_session() as session:
            session.mail("stranger@evil.test")
            for to in ("v@q.test", "v@thr.test", "v@closed.test",
                       '""@open.test'):
                says(tap, session, "RCPT TO:<%s>" % to,
                     "550 5.7.1 Relaying denied", "a stranger to " + to)
            tap.like(reply(session.docmd("DATA")), "^5",
                     "a stranger: no recipient, no DATA")
            session.rset()
            session.mail("stranger@evil.test")
            tap.equal(session.rcpt("v@open.test")[0], 250,
                      "a stranger to open.test, which has RELAY")
            tap.equal(session.data(message("to-open"))[0], 250,
                      "a stranger to open.test: the message")
        scene.send(message("to-q"), password=PASSWORD, to="v@q.test")
        event = scene.log.wait(mark, ev="accepted", user="ann")
        tap.equal(scene.submitctl_json("queue", "show", event["qid"])[
            "state"], "held", "a user to q.test: it is held")
        scene.submitctl("queue", "del", event["qid"])
        scene.send(message("to-thr"), password=PASSWORD, to="v@thr.test")
        event = scene.log.wait(mark, ev="discarded")
        tap.equal((event["user"], event["rcpt"]), ("ann", "v@thr.test"),
                  "a user to thr.test: it is thrown away")
    tap.equal(scene.log.find(mark, ev="not-allowed"), None,
              "a stranger makes queue warn of nothing")


# entry, sender, recipient, reply to MAIL, to RCPT
ENVELOPES = (
    ("From:ann@play.example", "REJECT", "^550 5.7.1 .*Access denied", None),
    ("From:play.example", "ERROR:5.1.8:553 Not now", "^553 5.1.8 Not now",
     None),
    ("From:ann@", "REJECT", "^550 5.7.1", None),
    ("play.example", "REJECT", "^550 5.7.1", None),
    ("From:ann@play.example", "ERROR:421 Closing", "^421 4.0.0 Closing",
     None),
    ("To:example.net", "REJECT", "^250",
     "^550 5.2.1 Mailbox disabled for this recipient"),
    ("To:bo@example.net", "ERROR:550 He left", "^250", "^550 5.0.0 He left"),
    ("To:bo+x@example.net", "REJECT", "^250", "^250"),
    ("To:net", "REJECT", "^250", "^550 5.2.1"),
    ("example.net", "REJECT", "^250", "^550 5.2.1"),
    ("To:example.net", "RELAY", "^250", "^250"),
)


def envelopes(tap, scene):
    """From and To entries are for users, too."""
    for key, value, mail, rcpt in ENVELOPES:
        with Entries(scene, (key, value)), scene.tls_session() as session:
            session.login("ann", PASSWORD)
            got = session.mail(ANN)
            tap.like(reply(got), mail, "%s %s: MAIL" % (key, value))
            if got[0] == 421:
                tap.equal(session.sock and session.sock.recv(1), b"",
                          "%s %s: the connection is closed" % (key, value))
                session.sock = None
            if rcpt is not None:
                tap.like(reply(session.rcpt(BO)), rcpt,
                         "%s %s: RCPT" % (key, value))
    with Entries(scene, ("To:example.net", "REJECT"),
                 ("To:bo@example.net", "OK")), scene.tls_session() as session:
        session.login("ann", PASSWORD)
        session.mail(ANN)
        tap.equal(session.rcpt(BO)[0], 250, "To OK for the one address")
        tap.equal(session.rcpt("cy@example.net")[0], 550, "but no other")


def features(tap, scene):
    """Srv_Features: A, l and P, and the nearer entry wins."""
    with Entries(scene, ("Srv_Features:", "A P")):
        with scene.tls_session() as session:
            offered = keywords(session)
            tap.ok("AUTH" not in offered and "PIPELINING" not in offered and
                   "SIZE" in offered, "Srv_Features A P: neither is offered",
                   offered)
            tap.like(reply(session.docmd("AUTH LOGIN")), "^504 5.5.4",
                     "Srv_Features A: AUTH is not taken")
        with scene.tls_session(scene.laptop) as session:
            tap.like(reply(session.mail(ANN)), "^250",
                     "Srv_Features A: a certificate will do")
    with Entries(scene, ("Srv_Features:", "A P"),
                 ("Srv_Features:127.0.0.1", "a p")), \
            scene.tls_session() as session:
        offered = keywords(session)
        tap.ok("AUTH" in offered and "PIPELINING" in offered,
               "Srv_Features a p of the address: both are", offered)
    with Entries(scene, ("Srv_Features:127", "l")):
        with scene.tls_session(scene.laptop) as session:
            tap.like(reply(session.mail(ANN)), "^530 5.7.0",
                     "Srv_Features l: a certificate alone will not do")
            session.docmd("AUTH EXTERNAL =")
            tap.like(reply(session.mail(ANN)), "^250",
                     "Srv_Features l: AUTH EXTERNAL will")
        with scene.tls_session() as session:
            session.login("ann", PASSWORD)
            tap.like(reply(session.mail(ANN)), "^250",
                     "Srv_Features l: a password will")


def map_relay_user(tap, scene):
    """Who relays by the map alone sends as a user, if the key says so."""
    entry = ("Connect:127.0.0.1", "RELAY")
    with Entries(scene, entry), scene.tls_session() as session:
        tap.equal(session.mail("anybody@example.org")[0], 250,
                  "without map_relay_user: any sender")
    scene.configure(map_relay_user="bob")
    mark = scene.log.mark()
    scene.reload()
    scene.log.wait(mark, ev="reload", result="ok")
    scene.settled()
    with Entries(scene, entry), scene.tls_session() as session:
        tap.like(reply(session.mail("anybody@example.org")), "^550 5.7.1",
                 "map_relay_user: not his address")
        session.mail("bob@play.example")
        session.rcpt(BO)
        mark = scene.log.mark()
        session.data(message("for-bob", author="bob@play.example"))
        event = scene.log.wait(mark, ev="accepted")
        tap.equal(event["user"], "map:connect:127.0.0.1",
                  "map_relay_user: the name stays the entry's")


def test(tap):
    """All with one server."""
    with Scene(tap) as scene:
        scene.configure(ca_cert=scene.ca.cert)
        scene.add_user("bob", PASSWORD)
        other = CA(scene.path("other"), "Playground CA")
        scene.devices = {
            "member": scene.ca.issue("member", "member"),
            "expired": scene.ca.issue("expired", "expired", days=-1),
            "foreign": other.issue("foreign", "foreign"),
            "pinned": scene.ca.self_signed("pinned", "pinned"),
            "stray": scene.ca.self_signed("stray", "pinned"),
        }
        scene.submitctl("cert", "add", "bob",
                        scene.devices["pinned"].sha256())
        scene.start()
        for part in (requirements, citag, asked_again, of_a_user, relaying,
                     connect, connect_421, fates, strangers, envelopes,
                     features, map_relay_user):
            part(tap, scene)


taplib.run(test)
