#!/usr/bin/python3 -B
"""Every decision can be explained afterwards: a refused session by its id, an
accepted message by its queue id, long after it left; and before it happens,
from facts or from a certificate."""

import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib
from certs import openssl
from scene import PASSWORD, Scene, message

ANN = "ann@play.example"
BO = "bo@example.net"


def rules(decision):
    """The ladder as texts: "sender refuse"."""
    return ["%s %s" % (s["rule"], s["met"]) for s in decision["ladder"]]


def last_session(scene, mark):
    """The id of the session that ended after a mark."""
    return scene.log.wait(mark, ev="session")["sid"]


def refused(tap, scene):
    """A TLS requirement, a login, a sender, a recipient."""
    scene.submitctl("access", "set", "TLS_Clt:", "VERIFY")
    mark = scene.log.mark()
    scene.tls_session().close()
    sid = last_session(scene, mark)
    scene.submitctl("access", "del", "TLS_Clt:")
    found = scene.submitctl_json("explain", sid)
    tap.equal([(d["phase"], d["decision"], d["code"], d["enhanced"],
                d["text"], d["rule"]) for d in found],
              [("tls", "defer", 454, "4.7.0", "not authenticated",
                "tls_clt")], "a TLS requirement, by the session's id")
    tap.equal((found[0]["addr"], found[0]["verify"], found[0]["bits"],
               found[0]["key"]), ("127.0.0.1", "NO", 256, "tls_clt:"),
              "its facts, and the entry")
    tap.like(found[0]["advice"], "a certificate that verifies",
             "and what would help")
    text = scene.submitctl("explain", sid).stdout
    tap.like(text, r"tls_clt +refuse +tls_clt: +VERIFY\n", "as text: the rule")
    tap.like(text, r"Decided by: +tls_clt\nThat means: +The entry "
             '"tls_clt: VERIFY" asks for more', "as text: what it means")


def one_session(tap, scene):
    """What happened in a session, in order."""
    mark = scene.log.mark()
    scene.submitctl("access", "set", "To:bad.example", "REJECT")
    with scene.tls_session() as session:
        session.mail(ANN)
        session.docmd("AUTH PLAIN AGFubgB3cm9uZw==")
        session.login("ann", PASSWORD)
        session.mail("bob@play.example")
        session.mail(ANN)
        session.rcpt("x@bad.example")
        session.rcpt(BO)
        session.rcpt("cy@example.net")
        session.data(message("explained"))
    sid = last_session(scene, mark)
    qid = scene.log.wait(mark, ev="accepted")["qid"]
    found = scene.submitctl_json("explain", sid)
    tap.equal([(d["phase"], d["decision"], d["rule"]) for d in found],
              [("mail", "refuse", "none"), ("auth", "refuse", "none"),
               ("auth", "allow", "none"), ("mail", "refuse", "sender"),
               ("mail", "allow", "user_relay"), ("rcpt", "refuse", "to_block"),
               ("rcpt", "allow", "user_relay")],
              "a session: all that was decided, in order")
    tap.equal([d["user"] for d in found],
              [None, "ann", "ann", "ann", "ann", "ann", "ann"],
              "and who it was")
    tap.equal([d["code"] for d in found][1:3], [535, None],
              "the codes of refusals, and none of others")
    for n, want in ((0, "let it log in"), (1, "There is no user ann, or"),
                    (2, "as ann succeeded"),
                    (3, "address add ann bob@play.example"),
                    (5, '"to:bad.example REJECT" refuses mail to x@bad')):
        tap.like(found[n]["advice"], want, "and what it means: " + want)
    scene.delivered("explained")
    scene.log.wait(mark, ev="delivered", qid=qid)
    found = scene.submitctl_json("explain", qid)
    tap.equal([(d["phase"], d["decision"], d["qid"], d["how"])
               for d in found],
              [("mail", "allow", qid, "PLAIN"),
               ("rcpt", "allow", qid, "PLAIN")],
              "a message that has left, by its queue id")
    tap.equal(rules(found[1])[-2:], ["user_relay relay", "sender pass"],
              "with the rules of its recipients")
    tap.equal((found[1]["to"], found[1]["from"]), (BO, ANN),
              "and the first of them")
    tap.equal((found[1]["also_to"], found[1]["also_more"]),
              (["cy@example.net"], 0), "and who was decided alike")
    tap.like(scene.submitctl("explain", qid).stdout,
             r"And as well to: +cy@example\.net\n", "for people, too")
    tap.like(scene.submitctl("log", "--qid", qid).stdout,
             r"bo@example\.net \(\+1\)", "submitctl log: how many")
    for unknown in "0123456789abc", "0000000000000000", "0":
        done = scene.submitctl("explain", unknown, check=False)
        tap.equal(done.returncode, 65, unknown + " is not known: 65")
        tap.like(done.stderr, "nothing is known of " + unknown,
                 unknown + ": says so")
    done = scene.submitctl("explain", "ann", check=False)
    tap.equal(done.returncode, 65, "what can't be an id: 65")
    return sid, qid


def listing(tap, scene, sid, qid):
    """submitctl log and its filters."""
    def phases(*args):
        return [(r["phase"], r["result"])
                for r in scene.submitctl_json("log", *args)]

    every = phases("--sid", sid)
    tap.equal(len(every), 7, "log --sid: all of the session")
    tap.equal(phases("--qid", qid), [("mail", "allow"), ("rcpt", "allow")],
              "log --qid: those of the message")
    tap.equal(phases("--sid", sid, "--refused"),
              [p for p in every if p[1] == "refuse"], "log --refused")
    tap.equal(phases("--sid", sid, "-n", "2"), every[-2:],
              "log -n: the newest, in order")
    tap.equal(len(phases("--user", "ann", "--sid", sid)), 6, "log --user")
    tap.equal(phases("--addr", "192.0.2.1"), [], "log --addr: nobody")
    tap.ok(len(phases("--addr", "127.0.0.1", "--since", "1h")) >= 8,
           "log --addr --since: all of them")
    tap.like(scene.submitctl("log", "--sid", sid).stdout,
             r"550 5\.2\.1 Mailbox disabled", "log as a table: the reply")
    tap.like(scene.submitctl("log", "--user", "nobody").stdout,
             "^No such decision", "log of nobody")
    for args in (("-n", "0"), ("-n", "x"), ("--since", "x")):
        done = scene.submitctl("log", *args, check=False)
        tap.equal(done.returncode, 64, "log %s %s: 64" % args)


def nothing_is_null(tap, scene, sid):
    """What there is not is null in all JSON, of the past and of dry runs."""
    for name, items in (
            ("explain SID", scene.submitctl_json("explain", sid)),
            ("explain facts", scene.submitctl_json(
                "explain", "--rcpt", BO)),
            ("log", scene.submitctl_json("log", "--sid", sid))):
        empty = [(key, value) for item in items
                 for part in [item] + item["ladder"]
                 for key, value in part.items()
                 if value == "" or (key in ("code", "device") and value == 0)]
        tap.equal(empty, [], name + ": nothing is null")


def by_the_map(tap, scene):
    """An accepted message of nobody's, and one thrown away."""
    scene.submitctl("access", "set", "CertIssuer:/CN=Playground+20CA",
                    "RELAY")
    member = scene.ca.issue("member", "member")
    mark = scene.log.mark()
    scene.send(message("by-map"), password=None, device=member)
    qid = scene.log.wait(mark, ev="accepted")["qid"]
    scene.submitctl("access", "del", "CertIssuer:/CN=Playground+20CA")
    found = scene.submitctl_json("explain", qid)[-1]
    tap.equal((found["rule"], found["user"], found["how"], found["issuer"]),
              ("cert_issuer", "map:certissuer:/cn=playground+20ca", "map",
               "/CN=Playground+20CA"), "relaying by the map is explained")
    scene.submitctl("access", "set", "To:void.example", "DISCARD")
    mark = scene.log.mark()
    scene.send(message("void"), password=PASSWORD, to="x@void.example")
    qid = scene.log.wait(mark, ev="discarded")["qid"]
    found = scene.submitctl_json("explain", qid)[-1]
    tap.equal((found["decision"], found["rule"]), ("discard", "to_block"),
              "a message that was thrown away is explained")


# name, options, decision, rule that decided, code
DRY_RUNS = (
    ("a user", ("--user", "ann", "--from", ANN, "--rcpt", BO),
     "allow", "user_relay", None),
    ("a user and another's address",
     ("--user", "ann", "--from", "bob@play.example", "--rcpt", BO),
     "refuse", "sender", 550),
    ("a refused recipient",
     ("--user", "ann", "--from", ANN, "--rcpt", "x@bad.example"),
     "refuse", "to_block", 550),
    ("nobody", ("--client-addr", "192.0.2.7", "--from", ANN, "--rcpt", BO),
     "refuse", "none", 530),
    ("an entry for the address",
     ("--client-addr", "2001:db8::7", "--from", ANN, "--rcpt", BO),
     "allow", "addr_relay", None),
    ("an entry for the name",
     ("--client-addr", "192.0.2.7", "--client-name", "host.friend.example",
      "--from", ANN, "--rcpt", BO), "allow", "name_relay", None),
    ("a name that is not confirmed",
     ("--client-addr", "192.0.2.7", "--client-name", "host.friend.example",
      "--resolve", "forged", "--from", ANN, "--rcpt", BO),
     "refuse", "none", 530),
    ("Connect", ("--client-addr", "198.51.100.9"), "refuse", "connect", 550),
    ("a TLS requirement", ("--client-addr", "203.0.113.1", "--verify", "FAIL"),
     "defer", "tls_clt", 454),
    ("the same, and no TLS at all",
     ("--client-addr", "203.0.113.1", "--verify", "NONE"),
     "defer", "tls_clt", 454),
    ("the same, met",
     ("--client-addr", "203.0.113.1", "--verify", "OK", "--cn", "member",
      "--user", "ann", "--by", "cert", "--from", ANN, "--rcpt", BO),
     "allow", "user_relay", None),
    ("Srv_Features l and a certificate",
     ("--client-addr", "203.0.113.99", "--verify", "OK", "--user", "ann",
      "--by", "cert", "--from", ANN), "refuse", "srv_features", 530),
    ("Srv_Features A and a password",
     ("--client-addr", "203.0.113.96", "--user", "ann", "--from", ANN,
      "--rcpt", BO), "refuse", "srv_features", 504),
    ("Srv_Features A, a password and a certificate",
     ("--client-addr", "203.0.113.96", "--user", "ann", "--by", "both",
      "--from", ANN, "--rcpt", BO), "refuse", "srv_features", 504),
    ("the same at MAIL",
     ("--client-addr", "203.0.113.96", "--user", "ann", "--phase", "mail",
      "--from", ANN), "refuse", "srv_features", 504),
    ("Srv_Features A and a certificate",
     ("--client-addr", "203.0.113.96", "--user", "ann", "--by", "cert",
      "--from", ANN, "--rcpt", BO), "allow", "user_relay", None),
    ("a device with a password",
     ("--client-addr", "203.0.113.99", "--user", "ann", "--device", "tab",
      "--from", ANN, "--rcpt", BO), "allow", "user_relay", None),
    ("a device with a certificate is no AUTH",
     ("--client-addr", "203.0.113.99", "--user", "ann", "--device", "pad",
      "--from", ANN, "--rcpt", BO), "refuse", "srv_features", 530),
    ("one phase", ("--phase", "rcpt", "--client-addr", "192.0.2.7", "--rcpt",
                   "x@bad.example"), "refuse", "to_block", 550),
)


# name, options, text of the advice, a rule with the key it asked for
ADVICE = (
    ("no address is given", ("--rcpt", "x@y.example"),
     '"Connect:ADDRESS RELAY"', None),
    ("a subject without an entry",
     ("--client-addr", "203.0.113.98", "--verify", "OK", "--cert-issuer",
      "/CN=Their+20CA", "--cert-subject", "/CN=Member", "--rcpt", BO),
     '"CertSubject:/CN=Member RELAY"',
     ("cert_subject", "certsubject:/cn=member")),
    ("no AUTH for this client",
     ("--client-addr", "203.0.113.96", "--user", "ann", "--from", ANN),
     '"srv_features:203.0.113.96 A" keeps this client from logging in', None),
    ("an issuer without CITag",
     ("--client-addr", "203.0.113.97", "--verify", "OK", "--cert-issuer",
      "/CN=Their+20CA", "--rcpt", BO),
     '"friends:/CN=Their+20CA OK"', ("citag", "friends:/cn=their+20ca")),
)


def advice(tap, scene):
    """What would have to change is said with its names."""
    scene.submitctl("access", "set", "CertIssuer:/CN=Their+20CA", "SUBJECT")
    scene.submitctl("access", "set", "TLS_Clt:203.0.113.98", "OK")
    scene.submitctl("access", "set", "TLS_Clt:203.0.113.97",
                    "VERIFY+CITag:Friends")
    for name, options, want, step in ADVICE:
        last = scene.submitctl_json("explain", *options)[-1]
        tap.ok(want in last["advice"], "advice, " + name, last["advice"])
        tap.unlike(last["advice"], r"none \(|:none", name + ": no none")
        if step is not None:
            tap.ok(step in [(s["rule"], s["key"]) for s in last["ladder"]],
                   name + ": the ladder has the key", last["ladder"])
    text = scene.submitctl("explain", *ADVICE[1][1]).stdout
    tap.like(text, r"cert_subject +none +certsubject:/cn=member +-\n",
             "as text: asked for in vain")


def dry_runs(tap, scene):
    """Facts are given, the store is as it is."""
    for entry in (("Connect:IPv6:2001:db8:0:0:0:0:0:7", "RELAY"),
                  ("Connect:friend.example", "RELAY"),
                  ("Connect:198.51.100", "REJECT"),
                  ("TLS_Clt:203.0.113", "VERIFY"),
                  ("Srv_Features:203.0.113.99", "l"),
                  ("Srv_Features:203.0.113.96", "A"),
                  ("TLS_Clt:203.0.113.96", "OK"),
                  ("TLS_Clt:203.0.113.99", "OK")):
        scene.submitctl("access", "set", *entry)
    scene.submitctl("device", "add", "ann", "tab", "--password")
    scene.submitctl("ca", "init")
    scene.submitctl("device", "add", "ann", "pad", "--cert", "--out",
                    scene.directory)
    for name, options, decision, rule, code in DRY_RUNS:
        last = scene.submitctl_json("explain", *options)[-1]
        tap.equal((last["decision"], last["rule"], last["code"]),
                  (decision, rule, code), "explain facts: " + name)
        tap.ok(last["advice"].endswith("."), name + ": a sentence")
    phases = [d["phase"] for d in scene.submitctl_json(
        "explain", *DRY_RUNS[0][1])]
    tap.equal(phases, ["connect", "tls_client", "mail", "rcpt"],
              "explain facts: all phases, in order")
    for name, args, status in (
            ("an id and facts", ("0123", "--user", "ann"), 64),
            ("nothing", (), 64),
            ("--at without --cert", ("--at", "2026-01-01"), 64),
            ("no such user", ("--user", "zoe"), 67),
            ("no such device", ("--user", "ann", "--device", "x"), 65),
            ("a bad recipient", ("--user", "ann", "--rcpt", "a b"), 65),
            ("a bad sender", ("--user", "ann", "--from", "a@b..c"), 65),
            ("a sender without domain", ("--user", "ann", "--from", "a"), 0),
            ("no such file", ("--cert", scene.path("none")), 66),
            ("no date", ("--cert", scene.laptop.cert, "--at", "soon"), 64)):
        done = scene.submitctl("explain", *args, check=False)
        tap.equal(done.returncode, status, "explain %s: %d" % (name, status))


# options, what is said
CONTRADICTIONS = (
    (("--client-addr", "192.0.2.7", "--resolve", "ok"), "needs --client-name"),
    (("--client-name", "a.b", "--resolve", "fail"), "then there is no name"),
    (("--user", "ann", "--by", "cert", "--verify", "NO"),
     "needs --verify OK or TRUSTED"),
    (("--verify", "NO", "--cn", "ann"), "--cn: .*NO.* no certificate"),
    (("--cert-issuer", "/CN=x", "--rcpt", BO), "--cert-issuer: .*NO"),
    (("--verify", "TRUSTED", "--cert-subject", "/CN=x"),
     "--cert-subject: .*TRUSTED"),
    (("--verify", "NONE", "--bits", "128"), "--bits: .*NONE"),
    (("--verify", "OK", "--bits", "0"), "--bits: .*OK"),
    (("--user", "ann", "--device", "tab", "--by", "cert"),
     'device "tab" has a password'),
    (("--user", "ann", "--device", "pad", "--by", "password"),
     'device "pad" has a certificate'),
)
# certificate, options, what is said
OF_A_FILE = (
    ("laptop", ("--verify", "OK"), "--cert says it, not --verify"),
    ("laptop", ("--cn", "ann"), "--cert says it, not --cn"),
    ("laptop", ("--server-name", "mx"), "a client's certificate"),
    ("laptop", ("--bits", "0"), "--bits: .*without TLS"),
    ("laptop", ("--user", "bob", "--by", "cert"), "is ann's, not bob's"),
    ("laptop", ("--user", "ann", "--device", "pad"),
     'not that of the device "pad"'),
    ("own", ("--user", "ann", "--by", "cert"), "stands for no user"),
)


def contradictions(tap, scene):
    """Facts that can't be true together are refused, none is ignored."""
    for options, why in CONTRADICTIONS:
        done = scene.submitctl("explain", *options, check=False)
        tap.ok(done.returncode in (64, 65),
               "refused: " + " ".join(options), done.stdout)
        tap.like(done.stderr, why, "says why: " + why)
    files = {"laptop": scene.laptop.cert,
             "own": scene.ca.self_signed("own2", "own2").cert}
    for name, options, why in OF_A_FILE:
        done = scene.submitctl("explain", "--cert", files[name], *options,
                               check=False)
        tap.ok(done.returncode in (64, 65), "refused: --cert %s %s" % (
            name, " ".join(options)), done.stdout)
        tap.like(done.stderr, why, "says why: " + why)
    seen = scene.submitctl_json("explain", "--cert", scene.laptop.cert,
                                "--user", "ann", "--rcpt", BO)
    tap.equal(seen["decisions"][-1]["decision"], "allow",
              "--cert and its user: decided")
    seen = scene.submitctl_json("explain", "--cert", scene.laptop.cert,
                                "--user", "bob")
    tap.equal((len(seen["decisions"]), seen["decisions"][-1]["user"]),
              (3, "bob"), "--cert and the password of somebody else: decided")


def certificates(tap, scene):
    """What the server sees in a certificate."""
    seen = scene.submitctl_json("explain", "--cert", scene.laptop.cert)
    tap.equal((seen["sha256"], seen["verify"], seen["user"],
               seen["found_by"], seen["subject"], seen["issuer"]),
              (scene.laptop.sha256(), "OK", "ann", "sha256",
               "/CN=ann-laptop", "/CN=Playground+20CA"),
              "a certificate of a user's")
    spki = subprocess.run(
        "openssl x509 -in '%s' -pubkey -noout | openssl pkey -pubin -outform "
        "DER | sha256sum" % scene.laptop.cert, shell=True, text=True,
        stdout=subprocess.PIPE, check=True).stdout.split()[0]
    tap.equal(seen["spki_sha256"], spki, "and its key's fingerprint")
    seen = scene.submitctl_json("explain", "--cert", scene.laptop.cert,
                                "--at", "2099-01-01")
    tap.equal((seen["verify"], seen["user"], seen["found_by"]),
              ("FAIL", None, "unusable"), "the same when it has expired")
    tap.like(seen["reason"], "outside its dates", "and the reason")
    email = scene.ca.issue("mail", "mail", "email:" + ANN)
    seen = scene.submitctl_json("explain", "--cert", email.cert, "--from", ANN,
                                "--rcpt", BO)
    tap.equal((seen["verify"], seen["user"], seen["found_by"],
               seen["emails"]), ("OK", "ann", "email", [ANN]),
              "one that is found by its address")
    tap.equal([(d["phase"], d["decision"]) for d in seen["decisions"]][-1],
              ("rcpt", "allow"), "and a session that shows it")
    own = scene.ca.self_signed("own", "own")
    seen = scene.submitctl_json("explain", "--cert", own.cert, "--from", ANN)
    tap.equal((seen["verify"], seen["user"], seen["found_by"]),
              ("FAIL", None, "none"), "a stranger's")
    tap.equal(seen["decisions"][-1]["code"], 530, "which is refused")
    text = scene.submitctl("explain", "--cert", own.cert).stdout
    tap.like(text, r"CertSubject:/CN=own +-", "its keys in the access map")
    revoked(tap, scene)


def revoked(tap, scene):
    """The revocation list of the configuration counts."""
    pair = scene.ca.issue("lost", "lost")
    folder = scene.path("crl")
    os.mkdir(folder)
    with open(os.path.join(folder, "index"), "w", encoding="ascii"):
        pass
    with open(os.path.join(folder, "cnf"), "w", encoding="ascii") as f:
        f.write("[ca]\ndefault_ca=x\n[x]\ndatabase=%s/index\n"
                "default_md=sha256\ndefault_crl_days=1\n" % folder)
    args = ("ca", "-config", os.path.join(folder, "cnf"), "-cert",
            scene.ca.pair.cert, "-keyfile", scene.ca.pair.key)
    openssl(*args, "-revoke", pair.cert)
    openssl(*args, "-gencrl", "-out", scene.path("certs/crl.pem"))
    scene.configure(crl_file="crl.pem")
    seen = scene.submitctl_json("explain", "--cert", pair.cert)
    tap.equal((seen["verify"], seen["revoked"]), ("FAIL", True),
              "a revoked certificate")
    scene.configure(crl_file=None)


def crash(tap, scene, sid, qid):
    """What is remembered outlives the queue's death; a lost history.db is made
    anew, and takes nothing of the mail with it."""
    tap.equal(len(scene.submitctl_json("log", "--sid", sid)), 7,
              "before the kill")
    mark = scene.log.mark()
    scene.kill("queue", signal.SIGKILL)
    scene.log.wait(mark, ev="spool")
    tap.equal(len(wait_log(scene, "--qid", qid)), 2,
              "after a kill: those on accepted mail are there")
    tap.ok(len(wait_log(scene, "--sid", sid)) >= 2,
           "after a kill: the session is known")
    scene.stop()
    for name in ("history.db", "history.db-wal"):
        if os.path.exists(scene.path("spool", name)):
            os.unlink(scene.path("spool", name))
    scene.start()
    tap.equal(len(scene.submitctl_json("log", "--sid", sid)), 2,
              "without history.db: only the accepted mail is known")
    mark = scene.log.mark()
    with scene.tls_session() as session:
        session.mail(ANN)
    sid = last_session(scene, mark)
    tap.equal(len(scene.submitctl_json("log", "--sid", sid)), 1,
              "and a new one is kept")
    with open(scene.path("spool/history.db"), "r+b") as f:
        scene.stop()
        f.write(b"this is no database" * 100)
    scene.start()
    tap.equal(len(scene.submitctl_json("log", "--qid", qid)), 2,
              "a broken history.db does not keep the server from starting")


def wait_log(scene, *args):
    """submitctl log, once the new queue has its control socket."""
    scene.ready()
    return scene.submitctl_json("log", *args)


def test(tap):
    """All with one server."""
    with Scene(tap) as scene:
        scene.configure(ca_cert=scene.ca.cert)
        scene.add_user("bob", PASSWORD)
        scene.start()
        refused(tap, scene)
        sid, qid = one_session(tap, scene)
        listing(tap, scene, sid, qid)
        by_the_map(tap, scene)
        nothing_is_null(tap, scene, sid)
        dry_runs(tap, scene)
        advice(tap, scene)
        contradictions(tap, scene)
        certificates(tap, scene)
        crash(tap, scene, sid, qid)


taplib.run(test)
