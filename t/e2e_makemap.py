#!/usr/bin/python3 -B
"""Map files go in and out without a change of meaning, by sendmail's own
measure: makemap makes the same map of what was imported and of what comes out
again. The maps are random, with all the freedom of the syntax."""

import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib
from harness import Playground
from sendmail import Makemap, Missing

ROUNDS = 30
SEED = 8174
HOSTS = ("example.org", "Mail.Example.ORG", "192.0.2", "192.0.2.7", "com",
         "IPv6:2001:db8:0:0:0:0:0:1", "[192.0.2.9]", "[IPv6:2001:DB8]", "")
ADDRESSES = ("ann@", "Ann+work@example.org", "ann+*@example.org", "b@c.d",
             "j\u00f6rg@example.org", "example.net")
DNS = ("/C=US/O=A&B+20+28x+29/CN=ca", "/emailAddress=joe+5C+2Ba@d", "/CN=x")
REQUIREMENTS = ("VERIFY", "verify:128", "ENCR:112", "PERM+VERIFY+CN",
                "TEMP+VERIFY:256+CN:a+20b++CS:/CN=x++CITag:Ours", "OK", "SKIP")
REPLIES = ("OK", "RELAY", "reject", "DISCARD", "SKIP",
           "ERROR:5.7.1:550 go  away, \"now\"", "ERROR:450 later",
           "550 # not here", "QUARANTINE:look (really) at it",
           "551\tmoved to <b@c.d>")
KINDS = (  # tags, operands, values
    (("TLS_Clt:", "tls_srv:"), HOSTS, REQUIREMENTS),
    (("TLS_Rcpt:",), ADDRESSES, REQUIREMENTS),
    (("TLS_User:",), ("ann", "bob"), REQUIREMENTS),
    (("Connect:", "To:", "From:", ""), HOSTS[:-1], REPLIES),
    (("From:", "to:", ""), ADDRESSES, REPLIES),
    (("CertIssuer:", "CERTISSUER:"), DNS, ("RELAY", "SUBJECT")),
    (("CertSubject:",), DNS, ("RELAY",)),
    (("Ours:",), DNS, ("OK",)),
    (("Try_TLS:",), HOSTS, ("NO", "no")),
    (("Srv_Features:",), HOSTS, ("v", "V s  l")),
    (("AuthInfo:", "Spam:", "ClientRate:"), HOSTS, ("\"U:x\" \"P:hush\"",)),
)
FOREIGN = ("authinfo:", "spam:", "clientrate:")


def random_line(dice):
    """One line of a map file."""
    if dice.random() < 0.15:
        return dice.choice(("", "# TLS_Clt: VERIFY", "#", " \t"))
    tags, operands, values = dice.choice(KINDS)
    key = dice.choice(tags) + dice.choice(operands)
    if dice.random() < 0.3:
        key = "".join(dice.choice((c.upper(), c.lower())) if c.isascii()
                      else c for c in key)
    return key + dice.choice((" ", "\t", "  \t ")) + dice.choice(values) + \
        dice.choice(("", "", " ", "\t\r"))


def meaning(entries):
    """A map by makemap, as far as it is ours: a tab is a blank, and blanks at
    the end of a value mean nothing."""
    return {k: v.replace("\t", " ").rstrip() for k, v in entries.items()
            if not k.startswith(FOREIGN)}


def read(path):
    """A file as makemap is given it."""
    with open(path, encoding="latin-1", newline="") as f:
        return f.read()


def there_and_back(tap, play, makemap, number, text):
    """One map file."""
    name = "map %d" % number
    source, out = play.path("source"), play.path("out")
    with open(source, "w", encoding="utf-8", newline="") as f:
        f.write(text)
    done = play.submitctl("access", "import", source, check=False)
    if not tap.equal(done.returncode, 0, name + ": imported"):
        tap.note(done.stderr)
        return
    play.submitctl("access", "export", "--force", out)
    status, said = makemap.build(read(out), play.path("out"))
    tap.ok(status == 0 and "duplicate" not in said and "line" not in said,
           name + ": makemap takes the export", said)
    makemap.build(read(source), play.path("source"))
    tap.equal(makemap.dump(play.path("out")),
              meaning(makemap.dump(play.path("source"))),
              name + ": both mean the same")
    tap.equal(play.submitctl_json("access", "diff", out), [],
              name + ": nothing differs")
    again = play.submitctl("access", "export").stdout
    with open(out, encoding="utf-8") as f:
        tap.equal(again, f.read(), name + ": the same on standard output")


def with_cli(tap, play, makemap):
    """What is exported is what counts."""
    play.submitctl("access", "import", "-", given="Connect:a.b OK\nTo:c RELAY")
    play.submitctl("access", "set", "CONNECT:A.B", "REJECT")
    play.submitctl("access", "export", "--force", play.path("out"))
    status, said = makemap.build(read(play.path("out")), play.path("out"))
    tap.equal(status, 0, "with entries of cli: makemap takes the export")
    tap.equal(makemap.dump(play.path("out")),
              {"connect:a.b": "REJECT", "to:c": "RELAY"},
              "the entry of cli is the one that is exported")
    tap.unlike(said, "duplicate", "and the hidden one is not")


def test(tap):
    """A store, no server."""
    dice = random.Random(SEED)
    try:
        makemap = Makemap()
    except Missing as e:
        taplib.skip_all(str(e))
    with Playground(tap) as play:
        play.init()
        for number in range(ROUNDS):
            lines = [random_line(dice) for _ in range(dice.randrange(1, 40))]
            there_and_back(tap, play, makemap, number, "\n".join(lines)
                           + dice.choice(("", "\n")))
        with_cli(tap, play, makemap)


taplib.run(test)
