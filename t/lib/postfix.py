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

    def __init__(self, playground, pair, port):
        self.unpacked = playground.path("postfix")
        self.directory = playground.path("smarthost")
        self.inbox = os.path.join(self.directory, "inbox", "new")
        self.port = port
        self._shell('postfix_unpack "$1" "$2"', self.unpacked,
                    package_folder())
        self._shell('postfix_setup "$1" smarthost "127.0.0.1:$2" "$3" "$4" \\\n'
                    '    smtpd_tls_ask_ccert=yes "smtpd_tls_CAfile=$5"\n'
                    'mkdir -p "$6" && chown "$POSTFIX_DEFAULT_USER" "$6"\n'
                    'postfix_start "$1"', self.directory, str(port),
                    pair.cert, pair.key, playground.ca.cert, self.inbox)

    def _script(self, commands):
        lib = shlex.quote(os.path.join(harness.TOP, "contrib/lib"))
        return "set -e\n. %s/unpack.sh\n. %s/postfix.sh\nPOSTFIX_ROOT=%s\n" \
            "%s\n" % (lib, lib, shlex.quote(self.unpacked), commands)

    def _shell(self, commands, *args):
        subprocess.run(("sh", "-c", self._script(commands), "sh") + args,
                       stdin=subprocess.DEVNULL, stdout=sys.stderr, check=True)

    def version(self):
        """The version, as text."""
        script = self._script(
            '_postfix_env "$POSTFIX_ROOT/usr/sbin/postconf" -c %s -h '
            "mail_version" % shlex.quote(os.path.join(self.directory, "etc")))
        return subprocess.run(("sh", "-c", script), stdout=subprocess.PIPE,
                              text=True, check=True).stdout.strip()

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
