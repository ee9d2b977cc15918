#!/usr/bin/python3 -B
"""Passwords that saslauthd judges: a real one on a private socket, which asks
an IMAP server of ours (rimap) that says what we want it to say."""

import base64
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from scene import PASSWORD, Scene, message

SECRET = "secret (with) \"quotes\""
LOGIN = re.compile(rb'(\S+) LOGIN (.*?)\r?\n$', re.S)


def reply(answer):
    """A reply as one text."""
    code, text = answer
    return "%d %s" % (code, text.decode())


def plain(user, password):
    """AUTH PLAIN with everything in it."""
    return "AUTH PLAIN " + base64.b64encode(
        ("\0%s\0%s" % (user, password)).encode()).decode()


class Imap(threading.Thread):
    """Just enough of IMAP for rimap: one LOGIN a connection. The names that
    asked are kept; user "slow" hears nothing until released."""

    def __init__(self):
        super().__init__(daemon=True)
        self.asked = []
        self.hears = threading.Event()
        self.release = threading.Event()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(client,),
                             daemon=True).start()

    def _talk(self, client):
        with client, client.makefile("rwb") as stream:
            stream.write(b"* OK ready\r\n")
            stream.flush()
            match = LOGIN.match(stream.readline())
            if match is None:
                return
            words = match[2].decode()
            user = words.split()[0].strip('"')
            self.asked.append(user)
            if user == "slow":
                self.hears.set()
                self.release.wait(30)
            want = '"%s"' % SECRET.replace('"', '\\"')
            good = user != "nologin" and words.split(" ", 1)[1] == want
            stream.write(match[1] + (b" OK in\r\n" if good else b" NO\r\n"))
            try:
                stream.flush()
            except OSError:
                pass

    def close(self):
        """No connection any more."""
        self.release.set()
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


class Saslauthd:
    """saslauthd in the foreground."""

    def __init__(self, folder, port):
        if not os.path.isdir(folder):
            os.mkdir(folder)
            os.chmod(folder, 0o755)
        # It signals its whole process group when it ends.
        self.process = subprocess.Popen(
            ("saslauthd", "-d", "-a", "rimap", "-O", "127.0.0.1/%d" % port,
             "-m", folder, "-n", "2"), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True)
        harness.wait_files(folder, "mux", 1)

    def stop(self):
        """Ends it; it sometimes misses SIGTERM, and its workers with it."""
        try:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            pass
        except ProcessLookupError:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(30)


def login(scene, user, password=SECRET):
    """The reply to AUTH PLAIN in a session of its own."""
    with scene.tls_session() as session:
        session.ehlo()
        return reply(session.docmd(plain(user, password)))


# user, password, beginning of the reply
ROWS = (
    ("ann", SECRET, "235 2.7.0"),
    ("ann@play.example", SECRET, "235 2.7.0"),
    ("ann", "wrong", "535 5.7.8"),
    ("ann", PASSWORD, "535 5.7.8"),
    ("nologin", SECRET, "535 5.7.8"),
    ("closed", SECRET, "535 5.7.8"),
    ("nobody", SECRET, "535 5.7.8"),
    ("ann", SECRET[:-1], "535 5.7.8"),
    ("other", SECRET, "535 5.7.8"),
    ("other", "of the store", "235 2.7.0"),
)


def verdicts(tap, scene, imap):
    """Who gets in."""
    for user, password, want in ROWS:
        tap.like(login(scene, user, password), "^" + want,
                 "%s with %s: %s" % (user, password, want))
    tap.equal(set(imap.asked), {"ann", "nologin"},
              "saslauthd is asked about its own users only")
    with scene.tls_session() as session:
        session.ehlo()
        tap.equal(session.esmtp_features["auth"].split(),
                  ["PLAIN", "LOGIN"], "SCRAM is not offered")
        session.user, session.password = "ann", SECRET
        session.auth("LOGIN", session.auth_login)
        session.sendmail("ann@play.example", "bo@example.net",
                         message("by saslauthd"), ["BODY=8BITMIME"])
    scene.delivered("by saslauthd")
    tap.ok(True, "a mail after LOGIN goes through")


def use(scene, **keys):
    """Changes keys and waits until they hold."""
    scene.configure(**keys)
    mark = scene.log.mark()
    scene.reload()
    scene.log.wait(mark, ev="reload", result="ok")
    scene.settled()


def not_blocked(tap, scene, imap):
    """While one waits for an answer others are served."""
    with scene.tls_session() as session:
        session.ehlo()
        session.putcmd(plain("slow", SECRET))
        tap.ok(imap.hears.wait(30), "a slow login is under way")
        tap.like(login(scene, "ann"), "^235", "another login does not wait")
        imap.release.set()
        tap.like(reply(session.getreply()), "^235",
                 "the slow one ends well")
    imap.release.clear()
    imap.hears.clear()
    use(scene, pam_timeout="1s")
    with scene.tls_session() as session:
        session.ehlo()
        tap.like(reply(session.docmd(plain("slow", SECRET))), "^454 4.7.0",
                 "past the deadline: 454")
    imap.release.set()
    use(scene, pam_timeout=None)


def trouble(tap, scene, daemon, imap):
    """saslauthd is away, and comes back."""
    daemon.stop()
    mark = scene.log.mark()
    tap.like(login(scene, "ann"), "^454 4.7.0", "saslauthd is away: 454")
    tap.like(scene.log.wait(mark, ev="pam")["detail"], "saslauthd: ",
             "the log says so")
    mux = scene.path("sasl", "mux")
    if os.path.exists(mux):
        os.unlink(mux)
    tap.like(login(scene, "ann"), "^454 4.7.0", "its socket, too: 454")
    daemon = Saslauthd(scene.path("sasl"), imap.port)
    tap.like(login(scene, "ann"), "^235", "it is back")
    return daemon


def test(tap):
    """All of it."""
    keys = {"pam_user": "64910:64910"} if harness.is_root() else {}
    imap = Imap()
    with Scene(tap, password_backend="saslauthd", auth_fail_delay="1ms",
               **keys) as scene:
        scene.configure(saslauthd_socket=scene.path("sasl", "mux"))
        for user in ("nologin", "slow", "closed"):
            scene.add_user(user)
        scene.submitctl("user", "set", "closed", "--state", "disabled")
        scene.add_user("other", "of the store")
        scene.submitctl("user", "set", "other", "--backend", "store")
        daemon = Saslauthd(scene.path("sasl"), imap.port)
        try:
            scene.start()
            verdicts(tap, scene, imap)
            not_blocked(tap, scene, imap)
            daemon = trouble(tap, scene, daemon, imap)
            tap.equal(scene.stop(), 0, "ends with status 0")
        finally:
            daemon.stop()
            imap.close()


if shutil.which("saslauthd", path=os.environ["PATH"] + ":/usr/sbin") is None:
    taplib.skip_all("saslauthd is not installed (package sasl2-bin)")
os.environ["PATH"] += ":/usr/sbin"
taplib.run(test)
