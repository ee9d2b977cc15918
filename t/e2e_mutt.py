#!/usr/bin/python3 -B
"""Debian's mutt and neomutt submit. Both are built with GNU SASL and give it no
channel to bind to; still they take SCRAM-SHA-256-PLUS where it is offered, and
give up. Here are the settings that work, on either side, and what is logged
without them."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib
from scene import PASSWORD, Scene

NO_PLUS = "SCRAM-SHA-256 EXTERNAL PLAIN LOGIN"

# program, its setting smtp_authenticators, with the certificate,
# the mechanism that is logged ("" for none)
USUAL = (
    ("mutt", "scram-sha-256:plain", False, "SCRAM-SHA-256"),
    ("mutt", "plain", False, "PLAIN"),
    ("mutt", "external", True, "EXTERNAL"),
    ("neomutt", "plain", False, "PLAIN"),
    ("neomutt", "login", False, "LOGIN"),
)
# the same where the key mechanisms leaves -PLUS out: nothing is to be set
WITHOUT_PLUS = (
    ("mutt", None, False, "SCRAM-SHA-256"),
    ("neomutt", None, False, "SCRAM-SHA-256"),
)


class Mutt:
    """Both programs understand the same few settings."""

    def __init__(self, scene):
        self.scene = scene
        self.both = scene.path("both.pem")
        with open(self.both, "w", encoding="ascii") as out:
            for name in (scene.laptop.key, scene.laptop.cert):
                with open(name, encoding="ascii") as f:
                    out.write(f.read())
        os.chmod(self.both, 0o600)

    def settings(self, authenticators, certificate):
        """The text of the settings file."""
        keys = {"smtp_url": "smtp://ann@localhost:%d/" % self.scene.port,
                "smtp_pass": PASSWORD, "ssl_starttls": "yes",
                "ssl_force_tls": "yes", "ssl_verify_host": "yes",
                "certificate_file": self.scene.ca.cert,
                "from": "ann@play.example", "use_envelope_from": "yes",
                "envelope_from_address": "ann@play.example", "copy": "no",
                "hostname": "laptop.play.example"}
        if authenticators:
            keys["smtp_authenticators"] = authenticators
        if certificate:
            keys["ssl_client_cert"] = self.both
        return "".join('set %s="%s"\n' % pair for pair in keys.items())

    def run(self, program, token, authenticators, certificate):
        """Sends a message with this subject; what the program did."""
        path = self.scene.path("muttrc")
        with open(path, "w", encoding="ascii") as f:
            f.write(self.settings(authenticators, certificate))
        return subprocess.run(
            (program, "-n", "-F", path, "-s", token, "bo@example.net"),
            input="Hello Bo\n", text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=60, check=False,
            env={**os.environ, "HOME": self.scene.directory, "TERM": "dumb"})


def submits(tap, scene, mutt, rows, token):
    """Each row delivers a message."""
    for number, (program, authenticators, certificate, mech) in \
            enumerate(rows):
        name = "%s, smtp_authenticators %s" % (program, authenticators
                                               or "not set")
        subject = "%s-%d" % (token, number)
        mark = scene.log.mark()
        done = mutt.run(program, subject, authenticators, certificate)
        if not tap.equal(done.returncode, 0, name + ": exit status"):
            tap.note(done.stdout)
            continue
        record = scene.delivered(subject)
        tap.equal(record["from"], "ann@play.example", name + ": delivered")
        event = scene.log.wait(mark, ev="auth")
        tap.equal((event["result"], event["mech"]), ("ok", mech),
                  name + ": logged")


def gives_up(tap, scene, mutt):
    """Without settings: no login; the log says why, for the administrator."""
    for program in ("mutt", "neomutt"):
        mark = scene.log.mark()
        done = mutt.run(program, "never", None, False)
        tap.equal(done.returncode, 1, program + ": gives up")
        event = scene.log.wait(mark, ev="auth")
        tap.equal((event["result"], event["mech"]),
                  ("cancelled", "SCRAM-SHA-256-PLUS"),
                  program + ": took -PLUS")
        tap.like(event["reason"], "can't bind.*mechanisms",
                 program + ": the log says what helps")


def test(tap):
    """The usual mechanisms, then those that suit both programs."""
    with Scene(tap, throttle_exempt="127.0.0.1") as scene:
        mutt = Mutt(scene)
        scene.start()
        gives_up(tap, scene, mutt)
        submits(tap, scene, mutt, USUAL, "usual")
        scene.configure(mechanisms=NO_PLUS)
        scene.stop()
        scene.start()
        submits(tap, scene, mutt, WITHOUT_PLUS, "other")
        tap.equal(scene.smarthost.violations, [],
                  "the smarthost saw no breach of the protocol")
        tap.equal(scene.stop(), 0, "ends with status 0")


for name in ("mutt", "neomutt"):
    if not taplib.has_program(name):
        taplib.skip_all("%s is not installed" % name)
taplib.run(test)
