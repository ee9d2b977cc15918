#!/usr/bin/python3 -B
"""SIGHUP: a new configuration takes over without a session or a connection
lost; one that is wrong changes nothing."""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from scene import PASSWORD, Scene, message


def reload(scene, result="ok"):
    """SIGHUP; the line that says how it went."""
    mark = scene.log.mark()
    scene.reload()
    return scene.log.wait(after=mark, ev="reload", result=result)


def served_certificate(scene, port=None):
    """The certificate that a new client is shown."""
    with harness.smtplib.SMTP("127.0.0.1", port or scene.port,
                              timeout=30) as session:
        session.starttls(context=scene.tls_context())
        return session.sock.getpeercert(True)


def comes_to_be(scene, certificate, timeout=30):
    """New clients see this certificate; the old front may take a few more
    until it has heard of its end."""
    end = time.monotonic() + timeout
    while served_certificate(scene) != certificate:
        if time.monotonic() > end:
            return False
    return True


def new_certificate(tap, scene):
    """A renewed certificate is shown to new clients; old ones are served on."""
    old_fronts = scene.pids("front")
    with scene.tls_session() as session:
        session.login("ann", PASSWORD)
        pair = scene.ca.issue("renewed", "mail.play.example",
                              "DNS:localhost,IP:127.0.0.1")
        scene.install_certificate(pair)
        reload(scene)
        tap.ok(comes_to_be(scene, pair.der()),
               "new clients see the renewed certificate")
        tap.ok(set(scene.pids("front")) > set(old_fronts),
               "the old front serves its session on")
        session.sendmail("ann@play.example", "bo@example.net",
                         message("old session"))
        scene.delivered("old session")
        tap.ok(True, "a session from before the reload sends a mail")
    for pid in old_fronts:
        harness.wait_gone(pid)
    tap.ok(True, "the old front leaves when its last session ends")


def new_port(tap, scene):
    """Ports come and go."""
    old, new = scene.port, harness.free_port()
    scene.configure(listen=harness.listeners(new))
    reload(scene)
    tap.equal(len(served_certificate(scene, new)) > 0, True,
              "the new port answers")
    tap.ok(harness.until(lambda: harness.can_bind("127.0.0.1", old)),
           "the old port is free once the old set has heard of it")
    scene.port = new


def new_smarthost(tap, scene):
    """Queue and relay follow, too."""
    first = scene.smarthost
    scene.smarthost = None
    second = scene.new_smarthost()
    try:
        scene.route_to(second.port)
        reload(scene)
        scene.send(message("rerouted"), password=PASSWORD)
        scene.delivered("rerouted")
        tap.ok(True, "mail goes to the new smarthost")
    finally:
        first.stop()


# name, file's new end, what the line names
MISTAKES = (
    ("an unknown key", 'no_such_key = "x"\n', "no_such_key"),
    ("a bad value", 'max_errors = "many"\n', "max_errors"),
    ("a missing file", 'ca_cert = "/nonexistent/ca.pem"\n', "ca_cert"),
)


def mistakes(tap, scene):
    """A mistake is named with file, line and key, and nothing changes."""
    with open(scene.conf_file, encoding="utf-8") as f:
        good = f.read()
    for name, line, key in MISTAKES:
        roles = scene.one_set()
        with open(scene.conf_file, "w", encoding="utf-8") as f:
            f.write(good + line)
        event = reload(scene, "refused")
        tap.like(event["error"], r"submitd\.conf:%d: %s: " % (
            good.count("\n") + 1, key), name + ": the log names line and key")
        tap.equal(scene.one_set(), roles, name + ": the roles stay")
        scene.send(message(key), password=PASSWORD)
        scene.delivered(key)
        tap.ok(True, name + ": the service goes on")
    with open(scene.conf_file, "w", encoding="utf-8") as f:
        f.write(good)


def open_key(tap, scene):
    """A key that others can read is refused on reload as at start."""
    os.chmod(scene.path("certs/server.key"), 0o644)
    event = reload(scene, "refused")
    tap.like(event["error"], r"server_key: .*chmod 600",
             "an open key: the log says chmod")
    os.chmod(scene.path("certs/server.key"), 0o600)


def in_a_hurry(tap, scene):
    """Many SIGHUPs at once, with a session that holds on to the old set."""
    with scene.tls_session() as session:
        session.login("ann", PASSWORD)
        mark = scene.log.mark()
        for _ in range(10):
            scene.reload()
        scene.log.wait(after=mark, ev="reload", result="ok")
        session.sendmail("ann@play.example", "bo@example.net",
                         message("hurry"))
    scene.delivered("hurry")
    tap.ok(True, "ten SIGHUPs at once lose no session")
    scene.send(message("calm"), password=PASSWORD)
    scene.delivered("calm")
    tap.ok(True, "and the service goes on")


def stillborn(tap, scene):
    """A role of the new set dies before the set stands: the old one stays."""
    known = set(scene.roles())
    mark = scene.log.mark()
    scene.reload()
    end = time.monotonic() + 20
    new = []
    while not new and time.monotonic() < end:
        new = [pid for pid, role in scene.roles().items()
               if pid not in known and role in ("front", "auth", "relay")]
    os.kill(new[0], signal.SIGKILL)
    harness.wait_gone(new[0])  # it takes no connection any more
    line = scene.log.wait(after=mark, ev="reload")
    tap.ok(line["result"] in ("ok", "refused"), "the reload has an end",
           line["text"])
    # If the set stood already, the role is started again.
    scene.one_set()
    tap.ok(harness.until(lambda: sends(scene, "stillborn")), "mail is taken")
    scene.delivered("stillborn")
    tap.ok(True, "a set that could not start leaves the service as it was")


def sends(scene, token):
    """Whether a mail is taken; False if it is refused for now."""
    try:
        scene.send(message(token), password=PASSWORD)
        return True
    except harness.smtplib.SMTPResponseException as e:
        if not 400 <= e.smtp_code < 500:
            raise
        return False


def test(tap):
    """All with one server."""
    with Scene(tap) as scene:
        scene.start()
        for part in (new_certificate, new_port, new_smarthost, mistakes,
                     open_key, in_a_hurry, stillborn):
            part(tap, scene)
        tap.equal(scene.stop(), 0, "the server ends with status 0")


taplib.run(test)
