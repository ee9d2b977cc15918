#!/usr/bin/python3 -B
"""Through to a real Postfix as smarthost: what lies in its mailbox is, byte
for byte, what the client sent, behind the trace fields of the two servers."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from postfix import Postfix
from scene import BODY, PASSWORD, Scene, message

SIZES = (("small", BODY), ("large", BODY * 300))  # inline, and a body file


def check_mail(tap, name, data, body):
    """One mail out of the mailbox."""
    sent = message(name, body).replace(b"\r\n", b"\n")
    tap.same_bytes(data[-len(sent):], sent, name + ": the same bytes")
    trace = " ".join(data[:-len(sent)].decode().split())
    tap.like(trace, r"using TLSv1\.3 .*Client CN \"mail\.play\.example\".*"
             r"verified OK.* with ESMTPS id",
             name + ": Postfix saw TLS and our verified certificate")
    tap.like(trace, r"by mail\.play\.example .*with ESMTPSA",
             name + ": our own Received field says ESMTPSA")
    tap.equal(trace.count("Received:"), 2, name + ": two trace fields")


def read_mails(files):
    """Files as {subject: bytes}."""
    mails = {}
    for file in files:
        with open(file, "rb") as f:
            data = f.read()
        subject = data.split(b"\nSubject: ")[1].split(b"\n")[0]
        mails[subject.decode()] = data
    return mails


def test(tap):
    """Two mails, one of each storage class of the spool."""
    if not harness.is_root():
        taplib.skip_all("Postfix runs as root only")
    with Scene(tap, smarthost=False) as scene:
        postfix = Postfix(scene, scene.good, harness.free_port())
        try:
            scene.route_to(postfix.port, client_cert=True)
            scene.start()
            for name, body in SIZES:
                scene.send(message(name, body), password=PASSWORD)
            mails = read_mails(postfix.mails(len(SIZES), 60))
            for name, body in SIZES:
                check_mail(tap, name, mails[name], body)
        finally:
            postfix.stop()


taplib.run(test)
