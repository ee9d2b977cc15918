#!/usr/bin/python3 -B
"""Channel bindings as OpenSSL gives them to a client, under TLS 1.2 and 1.3,
with and without extended master secret. tls-unique is in e2e_auth.py,
GNU SASL's bindings are in e2e_sasl.py."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from scene import PASSWORD, Scene

CLIENT = os.path.join(harness.TOP, "t/lib/bind.pl")
PLUS, PLAIN = "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"
EXPORTER, ENDPOINT = "tls-exporter", "tls-server-end-point"
OK, NOT = "235 2.7.0", "535 5.7.8"

# TLS, extended master secret, mechanism, binding, its data, reply
ROWS = (
    ("1.3", "EMS", PLUS, EXPORTER, "good", OK),
    ("1.3", "EMS", PLUS, EXPORTER, "bad", NOT),
    ("1.3", "EMS", PLUS, ENDPOINT, "good", OK),
    ("1.3", "EMS", PLUS, ENDPOINT, "bad", NOT),
    ("1.3", "EMS", PLAIN, EXPORTER, "good", OK),
    ("1.3", "EMS", PLAIN, EXPORTER, "bad", NOT),
    ("1.2", "EMS", PLUS, EXPORTER, "good", OK),
    ("1.2", "EMS", PLUS, EXPORTER, "bad", NOT),
    ("1.2", "EMS", PLUS, ENDPOINT, "good", OK),
    ("1.2", "EMS", PLUS, ENDPOINT, "bad", NOT),
    # RFC 9266 section 4.2: the exporter says nothing there
    ("1.2", "no", PLUS, EXPORTER, "good", NOT),
    ("1.2", "no", PLUS, ENDPOINT, "good", OK),
    ("1.2", "no", PLUS, ENDPOINT, "bad", NOT),
)


def bind(scene, version, ems, mechanism, binding, good, digest="sha256"):
    """What the client printed: the offer of EHLO and the last reply."""
    done = subprocess.run(
        ("perl", CLIENT, str(scene.tls_port), version, ems, mechanism,
         binding, digest, good), input="ann\n" + PASSWORD + "\n", text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
        check=False)
    if done.returncode != 0:
        raise RuntimeError("bind.pl: " + done.stdout)
    return done.stdout.splitlines()


def bindings(tap, scene):
    """Each row of the table."""
    for version, ems, mechanism, binding, good, want in ROWS:
        name = "TLS %s%s, %s, %s, %s" % (
            version, "" if ems == "EMS" else " without EMS", mechanism,
            binding, good)
        mark = scene.log.mark()
        offer, said = bind(scene, version, ems, mechanism, binding, good)
        tap.like(said, "^" + want, name)
        tap.ok(PLUS in offer.split(), name + ": -PLUS is offered", offer)
        event = scene.log.wait(mark, ev="auth")
        # what binds is logged as -PLUS, whatever it was called
        tap.equal(event["mech"], PLUS if want == OK or good == "bad"
                  else mechanism, name + ": the log's mechanism")


def other_digest(tap, scene):
    """The end point is hashed as the server's certificate was."""
    path = scene.path("certs/server.pem")
    subprocess.run(("openssl", "req", "-x509", "-sha384", "-new", "-key",
                    scene.path("certs/server.key"), "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost", "-days", "9",
                    "-out", path), check=True)
    scene.stop()
    scene.start()
    for digest, want in (("sha384", OK), ("sha256", NOT)):
        said = bind(scene, "1.3", "EMS", PLUS, ENDPOINT, "good", digest)[1]
        tap.like(said, "^" + want,
                 "a certificate signed with SHA-384, %s" % digest)


def test(tap):
    """One server."""
    try:
        subprocess.run(("perl", "-MNet::SSLeay", "-e", "1"), check=True,
                       stderr=subprocess.DEVNULL)
    except (FileNotFoundError, subprocess.CalledProcessError):
        taplib.skip_all("needs perl with Net::SSLeay")
    with Scene(tap, smarthost=False, auth_fail_delay="5ms",
               throttle_exempt="127.0.0.1") as scene:
        scene.route_to(9)
        scene.start()
        bindings(tap, scene)
        other_digest(tap, scene)
        tap.equal(scene.stop(), 0, "ends with status 0")


taplib.run(test)
