"""A real Postfix as the smarthost of a playground; contrib/lib/postfix.sh
knows how it is unpacked from its package, set up, started and ended."""

import glob
import os
import shlex
import subprocess
import sys

import harness


def package_folder():
    """Where the package files are kept: below the build directory, or below
    one around it that has them already ("make distcheck" builds in there)."""
    here = folder = harness.build_dir()
    while folder != os.path.dirname(folder):
        if glob.glob(os.path.join(folder, "debs", "postfix_*.deb")):
            return os.path.join(folder, "debs")
        folder = os.path.dirname(folder)
    return os.path.join(here, "debs")


class Postfix:
    """Listens on 127.0.0.1, asks for client certificates of the playground's
    CA, and puts every mail into one Maildir."""

    def __init__(self, playground, pair, port, *settings):
        """settings: further NAME=VALUE for main.cf."""
        self.unpacked = playground.path("postfix")
        self.directory = playground.path("smarthost")
        self.inbox = os.path.join(self.directory, "inbox", "new")
        self.port = port
        self._shell('postfix_unpack "$1" "$2"', self.unpacked,
                    package_folder())
        self._shell('dir=$1 inbox=$2 port=$3; shift 3\n'
                    'postfix_setup "$dir" smarthost "127.0.0.1:$port" "$@"\n'
                    'mkdir -p "$inbox"\n'
                    'chown "$POSTFIX_DEFAULT_USER" "$inbox"\n'
                    'postfix_start "$dir"', self.directory, self.inbox,
                    str(port), pair.cert, pair.key, "smtpd_tls_ask_ccert=yes",
                    "smtpd_tls_CAfile=" + playground.ca.cert, *settings)

    def _script(self, commands):
        lib = shlex.quote(os.path.join(harness.TOP, "contrib/lib"))
        return "set -e\n. %s/unpack.sh\n. %s/postfix.sh\nPOSTFIX_ROOT=%s\n" \
            "%s\n" % (lib, lib, shlex.quote(self.unpacked), commands)

    def _shell(self, commands, *args):
        subprocess.run(("sh", "-c", self._script(commands), "sh") + args,
                       stdin=subprocess.DEVNULL, stdout=sys.stderr, check=True)

    def _says(self, program, *args):
        """What one of its programs prints."""
        script = self._script('program=$1 etc=$2; shift 2\n_postfix_env '
                              '"$POSTFIX_ROOT/usr/sbin/$program" -c "$etc" '
                              '"$@"')
        return subprocess.run(
            ("sh", "-c", script, "sh", program,
             os.path.join(self.directory, "etc")) + args,
            stdout=subprocess.PIPE, text=True, check=True).stdout

    def version(self):
        """The version, as text."""
        return self._says("postconf", "-h", "mail_version").strip()

    def envelope(self, qid):
        """The records of the envelope in the queue file of a message."""
        return self._says("postcat", "-e", "-q", qid)

    def log(self):
        """All that it has logged so far."""
        with open(os.path.join(self.directory, "maillog"),
                  encoding="utf-8") as f:
            return f.read()

    def stop_commands(self):
        """Shell commands that end it and wait for that."""
        return self._script("postfix_stop " + shlex.quote(self.directory))

    def stop(self):
        """Ends it and waits for that."""
        subprocess.run(("sh", "-c", self.stop_commands()), check=True)

    def mails(self, count, timeout):
        """Waits for mails in the Maildir; their files, the oldest first."""
        return sorted(harness.wait_files(self.inbox, "*", count, timeout),
                      key=os.path.getmtime)
