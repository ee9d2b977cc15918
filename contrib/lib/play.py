"""The playground of contrib/quickstart, which builds and then runs this.

As root the smarthost is a real Postfix, else the one of the tests. The
playground is a new directory below /tmp that every user may search: so the
roles reach their files even when the checkout is in a private home.
build/play links to it.
"""

import argparse
import email
import json
import os
import secrets
import shlex
import signal
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "t", "lib"))

import harness  # pylint: disable=wrong-import-position
import logs  # pylint: disable=wrong-import-position
from postfix import Postfix  # pylint: disable=wrong-import-position

LINK = os.path.join(TOP, "build", "play")
ARRIVAL = 60  # seconds


class Failed(Exception):
    """What went wrong, as a sentence."""


def say(text=""):
    """Progress, seen at once also in a pipe."""
    print(text, flush=True)


def brief(path):
    """A path as one types it here."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


class RealPostfix(Postfix):
    """What Postfix says of the mails stands in them."""

    @staticmethod
    def proof():
        """Where it says how the mails came."""
        return "- Postfix's Received field, above it: submitd came to it " \
            "over TLS and\n  showed a certificate, \"verified OK\"."


class TestSmarthost:
    """The smarthost of the tests, for users who are not root."""

    def __init__(self, play, pair, port):
        self.port = port
        self.directory = play.path("smarthost")
        os.mkdir(self.directory)
        with open(play.path("smarthost.log"), "wb") as log:
            self.process = subprocess.Popen(
                (sys.executable, "-B", os.path.join(TOP, "t/lib/smarthost.py"),
                 "--dir", self.directory, "--port", str(port),
                 "--name", "localhost", "--client-ca", play.ca.cert,
                 "--cert", pair.cert, "--key", pair.key),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                start_new_session=True)
        line = self.process.stdout.readline()
        if not line.startswith(b"LISTENING"):
            raise Failed("The test smarthost does not start; its log is %s."
                         % log.name)

    def stop_commands(self):
        """Shell commands that end it."""
        return stop_process(self.process.pid, self.directory)

    def stop(self):
        """Ends it."""
        self.process.terminate()
        self.process.wait()

    def proof(self):
        """Where it says how the mails came."""
        with open(os.path.join(self.directory, "msg-000001.json"),
                  encoding="utf-8") as f:
            seen = json.load(f)
        return "- The smarthost's own record: %s for \"%s\", with a client " \
            "certificate\n  of the playground's CA." % (seen["tls"],
                                                      seen["sni"])

    def mails(self, count, timeout):
        """Waits for mails; their files, the oldest first."""
        return sorted(p[:-len(".json")] + ".eml" for p in harness.wait_files(
            self.directory, "msg-*.json", count, timeout))


def stop_process(pid, word):
    """Shell commands that end a process, if it still is the one meant, and
    wait for that."""
    return ("if { tr '\\0' '\\n' </proc/%d/cmdline; } 2>/dev/null |\n"
            "    grep -qxF %s; then\n\tkill %d && tail --pid=%d -f /dev/null"
            "\nfi\n" % (pid, shlex.quote(word), pid, pid))


class Play(harness.Playground):
    """The playground, and the mails sent in it."""

    wish_port, wish_tls_port = 5870, 4650

    def __init__(self):
        super().__init__()
        self.smarthost = None
        self.password = secrets.token_urlsafe(9)

    def furnish(self):
        """Certificates, store, user, device, msmtp's settings."""
        self.init()
        self.add_user("ann", self.password)
        device = self.add_device("ann", "ann-laptop")
        self.write("password", self.password + "\n")
        self.write("msmtprc", """\
defaults
host 127.0.0.1
port %d
tls on
tls_starttls on
tls_trust_file %s
from ann@play.example

account password
auth scram-sha-256
user ann
passwordeval "cat %s"

account certificate
auth external
user ann
tls_cert_file %s
tls_key_file %s
""" % (self.port, self.ca.cert, self.path("password"), device.cert,
            device.key))

    def write(self, name, text, mode=0o600):
        """A file in the playground."""
        with open(self.path(name), "w", encoding="utf-8") as f:
            os.chmod(f.name, mode)
            f.write(text)

    def start_smarthost(self):
        """The way out, and its place in the configuration."""
        port = harness.free_port(2525)
        pair = self.ca.issue("smarthost", "localhost", "DNS:localhost")
        if harness.is_root():
            say("Unpacking Postfix from its Debian package (not installed)")
            self.smarthost = RealPostfix(self, pair, port)
            say("Smarthost: Postfix %s on localhost port %d"
                % (self.smarthost.version(), port))
        else:
            self.smarthost = TestSmarthost(self, pair, port)
            say("Smarthost: the one of the tests on localhost port %d, since "
                "Postfix needs root" % port)
        self.route_to(port, client_cert=True)

    def start_submitd(self):
        """The server, its log behind a pipe: some roles may write no file."""
        with open(self.path("log"), "wb") as log:
            sink = subprocess.Popen(
                ("cat",), stdin=subprocess.PIPE, stdout=log,
                stderr=subprocess.DEVNULL, start_new_session=True)
        self.spawn(stderr=sink.stdin, start_new_session=True)
        sink.stdin.close()  # it ends with the server
        self.ready()

    def submit(self, account, subject, text):
        """One mail by msmtp; the sentence with which it was taken."""
        command = ("msmtp", "-C", self.path("msmtprc"), "-a", account, "-d",
                   "bo@example.net")
        done = subprocess.run(
            command, input="From: Ann <ann@play.example>\n"
            "To: Bo <bo@example.net>\nSubject: %s\n\n%s\n" % (subject, text),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False)
        if done.returncode != 0:
            raise Failed("msmtp could not submit the mail:\n" + "\n".join(
                line for line in done.stdout.splitlines()
                if line.startswith(("msmtp:", "<--"))))
        taken = [line[4:] for line in done.stdout.splitlines()
                 if line.startswith("<-- 250 2.0.0")]
        return taken[-1] if taken else "accepted"

    def log_lines(self, event, **fields):
        """Lines of the log about an event."""
        with open(self.path("log"), encoding="utf-8",
                  errors="replace") as log:
            lines = [line.rstrip() for line in log]
        return [line for line in lines
                if {"ev": event, **fields}.items() <= logs.parse(line).items()]

    def write_stop(self):
        """A script that ends what --stay leaves running."""
        self.write("stop", "#!/bin/sh\n# Ends submitd and the smarthost of "
                   "this playground.\n%s%s" % (
                       stop_process(self.server.pid, self.conf_file),
                       self.smarthost.stop_commands()), 0o700)


def link_to(play):
    """Makes build/play lead to the playground; an older one is taken away,
    unless it was left running."""
    old = os.path.realpath(LINK) if os.path.islink(LINK) else ""
    if os.path.isdir(old) and os.path.basename(old).startswith("submitd-"):
        if still_runs(old):
            say("An earlier playground still runs; to end it: sh %s/stop" % old)
        else:
            subprocess.run(("rm", "-rf", old), check=False)
    new = LINK + ".new"
    if os.path.lexists(new):
        os.unlink(new)
    os.symlink(play.directory, new)
    os.replace(new, LINK)


def still_runs(directory):
    """Whether the server of a playground is alive."""
    try:
        with open(os.path.join(directory, "submitd.pid"),
                  encoding="ascii") as f:
            pid = int(f.read())
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            return directory.encode() in f.read()
    except (OSError, ValueError):
        return False


def show(play, files):
    """The mails, whole: they are short."""
    for number, file in enumerate(files, 1):
        with open(file, encoding="utf-8", errors="replace", newline="") as f:
            text = f.read().replace("\r\n", "\n").rstrip("\n")
        received = email.message_from_string(text).get_all("Received", [])
        if not any("with ESMTPSA" in " ".join(r.split()) for r in received):
            raise Failed("Mail %d does not say ESMTPSA:\n%s" % (number, text))
        say("\n--- mail %d: %s" % (number, brief(
            LINK + file[len(play.directory):])))
        say("\n".join("    " + line for line in text.splitlines()))


def explain(play):
    """What proves what."""
    verified = play.log_lines("smarthost", verified="ok")
    if not verified:
        raise Failed("The log does not say that the smarthost was verified.")
    say("""
What proves what:
- "with ESMTPSA" and "tls" in the Received field of mail.play.example, which is
  submitd: it got the mail over TLS from somebody who had logged in.""")
    say(play.smarthost.proof())
    say("- The log of submitd: it verified the smarthost's chain and name, and "
        "then sent\n  the mails.")
    for line in verified + play.log_lines("delivered"):
        say("    " + line)


def next_commands(play, stay):
    """Commands for a curious reader."""
    conf = brief(os.path.join(LINK, "submitd.conf"))
    ctl = "%s -f %s" % (brief(harness.program("submitctl")), conf)
    mail = "printf 'From: ann@play.example\\nSubject: hi\\n\\nhi\\n' |\n" \
        "      msmtp -C %s -a certificate bo@example.net" % brief(
            os.path.join(LINK, "msmtprc"))
    say("\nNext commands to try:")
    for command in ("%s user list" % ctl, "%s cert list" % ctl,
                    "%s user add bob --address bob@play.example" % ctl):
        say("  " + command)
    if stay:
        say("  %s queue list\n  %s status\n  %s" % (ctl, ctl, mail))
        say("\nsubmitd listens on localhost, port %d (STARTTLS) and %d (TLS); "
            "user ann, password in %s.\nTo end it and its smarthost:\n  sh %s"
            % (play.port, play.tls_port, brief(os.path.join(LINK, "password")),
               play.path("stop")))
    else:
        say("  contrib/quickstart --stay    leaves the servers running\n"
            "  contrib/check                runs the tests")


def run(play, stay):
    """All steps, in order."""
    play.furnish()
    play.start_smarthost()
    play.start_submitd()
    say("submitd:   localhost port %d (STARTTLS) and %d (TLS)"
        % (play.port, play.tls_port))
    say("msmtp, with a password:           " + play.submit(
        "password", "Sent with a password",
        "Ann's laptop showed her password, by SCRAM."))
    say("msmtp, with a client certificate: " + play.submit(
        "certificate", "Sent with a client certificate",
        "Ann's laptop showed its certificate, and no password."))
    files = play.smarthost.mails(2, ARRIVAL)
    say("Both have arrived at the smarthost:")
    show(play, files)
    explain(play)
    if stay:
        play.write_stop()
    next_commands(play, stay)


def main():
    """0 if both mails went through."""
    parser = argparse.ArgumentParser(prog="contrib/quickstart")
    parser.add_argument("--stay", action="store_true")
    stay = parser.parse_args().stay
    play = Play()
    link_to(play)
    say("Playground: %s -> %s" % (brief(LINK), play.directory))
    done = False
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run(play, stay)
        done = True
    except (Failed, OSError, RuntimeError, subprocess.SubprocessError) as why:
        print("\nquickstart: %s" % why, file=sys.stderr)
    except KeyboardInterrupt:
        print("\nquickstart: interrupted", file=sys.stderr)
    finally:
        if not (done and stay):
            play.stop()
            if play.smarthost:
                play.smarthost.stop()
    if done and not stay:
        say("\nsubmitd and the smarthost are stopped; their files are in "
            + brief(LINK) + ".")
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
