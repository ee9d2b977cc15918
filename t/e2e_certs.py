#!/usr/bin/python3 -B
"""Certificates that log in by their names: subject and issuer, or an e-mail
address, as submitctl lists them; with two CAs, of which only one is meant."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib
from certs import CA
from scene import Scene

MAIL = "MAIL FROM:<ann@play.example>"


def come(scene, pair):
    """A session with this certificate; the event of the log and the code of
    MAIL."""
    mark = scene.log.mark()
    with scene.tls_session(pair) as session:
        code = session.docmd(MAIL)[0]
    return scene.log.wait(mark, ev="cert"), code


def check(tap, scene, name, pair, user, by):
    """Who a certificate is."""
    event, code = come(scene, pair)
    tap.equal((event["verify"], event["user"], event["by"], code),
              ("OK", user or "-", by if user else "none",
               250 if user == "ann" else 550 if user else 530), name)


def subjects(tap, scene, other):
    """A subject is listed with its issuer."""
    ours = scene.ca.issue("ours", "Ann Smith")
    theirs = other.issue("theirs", "Ann Smith")
    check(tap, scene, "a subject nobody listed", ours, None, None)
    row = scene.submitctl_json(
        "cert", "add", "ann", "--subject", "/CN=Ann+20Smith", "--issuer",
        "/CN=Playground+20CA", "--label", "by name")
    tap.equal((row["kind"], row["value"], row["issuer"], row["label"]),
              ("subject", "/cn=ann+20smith", "/cn=playground+20ca",
               "by name"), "cert add --subject --issuer")
    check(tap, scene, "the subject is listed", ours, "ann", "subject")
    check(tap, scene, "the same subject of another CA", theirs, None, None)
    session = scene.tls_session(ours)
    tap.equal(session.docmd("AUTH EXTERNAL =")[0], 235,
              "AUTH EXTERNAL by subject")
    scene.submitctl("cert", "del", str(row["id"]))
    tap.equal(session.getreply()[0], 421, "cert del ends the session")
    session.close()
    check(tap, scene, "the subject is listed no more", ours, None, None)
    row = scene.submitctl_json("cert", "add", "bob", "--file", theirs.cert,
                               "--by-name")
    tap.equal((row["value"], row["issuer"], row["label"], row["not_after"]),
              ("/cn=ann+20smith", "/cn=other+20ca", "Ann Smith", None),
              "cert add --file --by-name: both names of the file")
    check(tap, scene, "listed from a file", theirs, "bob", "subject")
    check(tap, scene, "the first CA's is not", ours, None, None)
    scene.submitctl("cert", "add", "ann", "--file", ours.cert, "--by-name")
    check(tap, scene, "two users by one subject of two CAs", ours, "ann",
          "subject")
    check(tap, scene, "and the other user", theirs, "bob", "subject")
    shown = scene.submitctl_json("explain", "--cert", theirs.cert)
    tap.equal((shown["user"], shown["found_by"]), ("bob", "subject"),
              "explain --cert says the same")
    listed(tap, scene)


def listed(tap, scene):
    """list, show and del of such entries."""
    table = scene.submitctl("cert", "list").stdout
    tap.like(table, r"KIND +VALUE +ISSUER", "cert list has the issuer")
    tap.like(table, r"subject +/cn=ann\+20smith +/cn=other\+20ca",
             "cert list: both names")
    done = scene.submitctl("cert", "show", "/CN=Ann+20Smith", check=False)
    tap.equal(done.returncode, 65, "cert show SUBJECT: two of them")
    tap.like(done.stderr, r"2 entries.*give the id", "and it says so")
    for user in ("ann", "bob"):
        row = next(r for r in scene.submitctl_json("cert", "list", user)
                   if r["kind"] == "subject")
        shown = scene.submitctl("cert", "show", str(row["id"])).stdout
        tap.like(shown, r"Issuer: +%s" % row["issuer"].replace("+", r"\+"),
                 "cert show ID: the issuer, %s" % user)
        if user == "ann":
            scene.submitctl("cert", "del", str(row["id"]))
    done = scene.submitctl("cert", "del", "/cn=ANN+20smith")
    tap.like(done.stdout, "of user bob is deleted", "cert del SUBJECT")


def emails(tap, scene):
    """An e-mail address that no user owns."""
    pair = scene.ca.issue("mail", "mail", "email:A.Smith@corp.example")
    check(tap, scene, "an address nobody owns", pair, None, None)
    row = scene.submitctl_json("cert", "add", "ann", "--email",
                               "a.smith@CORP.example")
    tap.equal((row["kind"], row["value"], row["issuer"]),
              ("san", "a.smith@corp.example", ""), "cert add --email")
    check(tap, scene, "the address is listed", pair, "ann", "email")
    foreign = CA(scene.path("foreign"), "Foreign CA")
    event, code = come(scene, foreign.issue("mail", "mail",
                                            "email:a.smith@corp.example"))
    tap.equal((event["verify"], event["user"], code), ("FAIL", "-", 530),
              "a CA that is not configured")
    done = scene.submitctl("cert", "add", "bob", "--email",
                           "a.smith@corp.example", check=False)
    tap.like(done.stderr, "this address stands for user ann already",
             "an address stands for one user")
    tap.like(scene.submitctl("cert", "del", "A.Smith@corp.example").stdout,
             "of user ann is deleted", "cert del ADDRESS")
    check(tap, scene, "the address is listed no more", pair, None, None)


# name, arguments of cert add, status, what it says
MISTAKES = (
    ("a subject alone", ("ann", "--subject", "/CN=x"), 64, "both --subject"),
    ("an issuer alone", ("ann", "--issuer", "/CN=x"), 64, "both --subject"),
    ("subject and file", ("ann", "--subject", "/CN=x", "--issuer", "/CN=y",
                          "--file", "x"), 64, "give one of"),
    ("e-mail and fingerprint", ("ann", "0" * 64, "--email", "a@b.c"), 64,
     "give one of"),
    ("--by-name without a file", ("ann", "0" * 64, "--by-name"), 64,
     "belongs to --file"),
    ("--pubkey and --by-name", ("ann", "--file", "x", "--pubkey",
                                "--by-name"), 64, "exclude each other"),
    ("--pubkey and --email", ("ann", "--email", "a@b.c", "--pubkey"), 64,
     "belongs to"),
    ("openssl's notation", ("ann", "--subject", "CN = x", "--issuer",
                            "/CN=y"), 65, "as in the access map"),
    ("no address", ("ann", "--email", "corp"), 65, "@"),
)


def mistakes(tap, scene):
    """What is refused, and a CA that is missing."""
    for name, args, status, says in MISTAKES:
        done = scene.submitctl("cert", "add", *args, check=False)
        tap.equal(done.returncode, status, "%s: status" % name)
        tap.like(done.stderr, says, "%s: says why" % name)
    vague = scene.ca.issue("vague", "x" * 60 + "/OU=" + "/OU=".join(
        "y" * 60 for _ in range(6)))
    done = scene.submitctl("cert", "add", "ann", "--file", vague.cert,
                           "--by-name", check=False)
    tap.equal(done.returncode, 65, "names that are cut: status")
    tap.like(done.stderr, "too long|do not tell", "names that are cut")
    scene.configure(ca_cert=None)
    done = scene.submitctl("cert", "add", "ann", "--email", "x@corp.example")
    tap.like(done.stderr, "note: .*ca_cert", "no CA: a note")


def test(tap):
    """All with two CAs of clients."""
    with Scene(tap, smarthost=False, ca_cert="clients.pem") as scene:
        other = CA(scene.path("other"), "Other CA")
        with open(scene.path("certs/clients.pem"), "w",
                  encoding="ascii") as out:
            for ca in (scene.ca, other):
                with open(ca.cert, encoding="ascii") as f:
                    out.write(f.read())
        scene.add_user("bob", "bob's")
        scene.route_to(9)
        scene.start()
        subjects(tap, scene, other)
        emails(tap, scene)
        mistakes(tap, scene)
        tap.equal(scene.stop(), 0, "ends with status 0")


taplib.run(test)
