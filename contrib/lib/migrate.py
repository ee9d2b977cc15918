"""What contrib/from-sendmail and contrib/from-postfix share: they collect
settings with where they came from, write submitd.conf and a user store below
one directory, and say what they did not carry over.

They only read the files that are named to them, and write nowhere but below
that directory: the machine's own mail system is left as it is.
"""

import argparse
import os
import shutil
import stat
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
EX_OK, EX_USAGE, EX_DATAERR, EX_NOINPUT, EX_UNAVAILABLE, EX_CANTCREAT = \
    0, 64, 65, 66, 69, 73

# Where the CAs of all the world are: they sign for anybody.
SYSTEM_STORES = ("/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/pki/tls/certs",
                 "/usr/share/ca-certificates", "/usr/lib/ssl/certs")


class Failed(Exception):
    """An exit status and a sentence."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


def read(path):
    """A file as text; what is not UTF-8 comes out again as it was."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as f:
            return f.read()
    except OSError as e:
        raise Failed(EX_NOINPUT, "%s: %s" % (path, e.strerror)) from e


def is_system_store(path):
    """Whether submitd would refuse it as CAs of clients."""
    real = os.path.realpath(path)
    return any(p == s or p.startswith(s + "/") for s in SYSTEM_STORES
               for p in (path.rstrip("/"), real))


def quoted(value):
    """A value as it stands in submitd.conf."""
    if isinstance(value, (list, tuple)):
        return "{%s}" % ", ".join(quoted(v) for v in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    return '"%s"' % "".join("\\" + c if c in '\\"$' else c for c in value)


def find_submitctl():
    """The program: from the environment, built here, or installed."""
    built = os.path.join(TOP, "build", "submitd", "submitctl")
    places = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin"
    for path in (os.environ.get("SUBMITCTL"), built,
                 shutil.which("submitctl", path=places)):
        if path and os.access(path, os.X_OK):
            return path
    raise Failed(EX_UNAVAILABLE, "submitctl is not found: build submitd, or "
                 "name the program in the environment variable SUBMITCTL")


class Migration:
    """All that is known of the new server."""

    def __init__(self):
        self.keys = {}  # "smarthost.host": (value, where it came from)
        self.lost = []  # (where, what and why)
        self.notes = []  # what to look at
        self.files = {}  # name below the directory: content; mode 0600
        # (arguments of submitctl, where it came from, what it needn't say)
        self.commands = []
        self.failures = []  # of these
        self.place = ""  # where it is written

    def set(self, key, value, origin):
        """A key of submitd.conf."""
        self.keys[key] = (value, origin)

    def lose(self, origin, text):
        """A setting that is not carried over."""
        if (origin, text) not in self.lost:
            self.lost.append((origin, text))

    def note(self, text):
        """Something to look at."""
        if text not in self.notes:
            self.notes.append(text)

    def command(self, *args, origin, quiet=None):
        """A change of the store; what it says with quiet in it is no note."""
        self.commands.append((args, origin, quiet))

    # Settings that both mail systems have.

    def client_ca(self, key, path, origin):
        """ca_cert or ca_path: CAs of client certificates."""
        if is_system_store(path):
            self.lose(origin, "%s has the public CAs, which sign for anybody:"
                      " as CAs of client certificates they would let anybody"
                      " in" % path)
        else:
            self.set(key, path, origin)

    def pair(self, names, cert, key):
        """A certificate and its key, each (path, where) or None."""
        for name, found in zip(names, (cert, key)):
            if found is not None:
                self.set(name, *found)
        if key is not None:
            self.check_secret(key[0])
        if (cert is None) != (key is None):
            self.note("there is %s but no %s: set both, or neither"
                      % ((names[1], names[0]) if cert is None else names))

    def check_secret(self, path):
        """Says what submitd would say about the key's file."""
        try:
            mode = stat.S_IMODE(os.stat(path).st_mode)
        except OSError as e:
            self.note("%s: %s" % (path, e.strerror))
            return
        if mode & 0o077:
            self.note("%s is open to others (mode %04o), which submitd "
                      "refuses: chmod 600 %s, or give submitd a copy"
                      % (path, mode, path))

    def smarthost(self, host, port, implicit, origin):
        """Where all mail goes."""
        self.set("smarthost.host", host, origin)
        if port:
            self.set("smarthost.port", port, origin)
        if implicit:
            self.set("smarthost.tls", "implicit", origin)
        self.note("mail leaves only over TLS, and only if the certificate of "
                  "%s is for this name and signed by a CA in "
                  "smarthost.ca_file; else it waits" % host)

    # The configuration.

    def conf_text(self):
        """The file."""
        lines = ["# Made by contrib/%s; submitd.conf(5) explains the keys."
                 % os.path.basename(sys.argv[0]), ""]
        section = []
        for name, (value, origin) in self.keys.items():
            place, indent = lines, ""
            if name.startswith("smarthost."):
                place, indent, name = section, "\t", name.partition(".")[2]
            if origin:
                place.append("%s# %s" % (indent, origin))
            place.append("%s%s = %s" % (indent, name, quoted(value)))
        if not any(line.startswith("\thost = ") for line in section):
            section.insert(0, "\t# The server that takes your mail: needed.\n"
                           "\t#host = \"smarthost.example.net\"")
            self.note("there is no smarthost, and submitd sends all mail "
                      "through one: set host in the section smarthost")
        return "\n".join(lines + ["smarthost {"] + section + ["}", ""])

    # Writing.

    def write(self, out):
        """Everything below the directory."""
        conf = os.path.join(out, "submitd.conf")
        try:
            os.makedirs(out, mode=0o711, exist_ok=True)
            for name, text in self.files.items():
                self._new_file(os.path.join(out, name), text)
            self._new_file(conf, self.conf_text())
        except OSError as e:
            raise Failed(EX_CANTCREAT, "%s: %s" % (
                e.filename or out, e.strerror)) from e
        program = find_submitctl()
        for args, origin, quiet in [(("init",), None, None)] + self.commands:
            done = subprocess.run((program, "-f", conf) + args,
                                  stdin=subprocess.DEVNULL, text=True,
                                  stdout=subprocess.PIPE, encoding="utf-8",
                                  errors="backslashreplace",
                                  stderr=subprocess.PIPE, check=False)
            self._take_result(args, origin, quiet, done)

    def _take_result(self, args, origin, quiet, done):
        said = [line.partition("submitctl: ")[2] or line
                for line in done.stderr.splitlines()
                if quiet is None or quiet not in line]
        if done.returncode == 0:
            for line in said:
                self.note(line)
            return
        self.failures.append(args)
        if args == ("init",):
            raise Failed(EX_CANTCREAT, "; ".join(said) + " (as root the users"
                         " of the roles are needed: contrib/make-users)")
        for line in said:
            self.lose(origin, "submitctl %s: %s" % (" ".join(args[:2]), line))

    @staticmethod
    def _new_file(path, text):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(fd, "w", encoding="utf-8", errors="surrogateescape") as f:
            f.write(text)

    # The report.

    def report(self, out, dry):
        """What was done, and what was not, on standard output."""
        if dry:
            print("%s would be:\n" % os.path.join(out, "submitd.conf"))
            print(self.conf_text().replace(self.place, out))
        for title, items in (
                ("Not carried over:", ["%s: %s" % (o, t) if o else t
                                       for o, t in self.lost]),
                ("Look at:", self.notes)):
            if items:
                print(title)
                for item in items:
                    print("  - " + item.replace(self.place, out))
        if dry:
            print("Nothing was written.")
            return
        print("Written below %s: submitd.conf, data/users.db%s" % (
            out, "".join(", " + name for name in self.files)))
        print("Next: submitd -n -f %s" % os.path.join(out, "submitd.conf"))

    def finish(self, options):
        """Writes and reports; returns the exit status."""
        out = os.path.abspath(options.out)
        with tempfile.TemporaryDirectory() as scratch:
            # A dry run does all of it, elsewhere.
            self.place = os.path.join(scratch, "out") \
                if options.dry_run else out
            self._add_own_keys(options)
            self.write(self.place)
            self.report(out, options.dry_run)
        return EX_DATAERR if self.failures else EX_OK

    def _add_own_keys(self, options):
        out = self.place
        first = {"listen": (["*:587"], ""), "listen_tls": (["*:465"], ""),
                 "users_db": (os.path.join(out, "data", "users.db"), "")}
        self.keys = {**first, **self.keys}
        for key in [k for k in self.keys if k.endswith("password_file")]:
            self.set(key, os.path.join(out, self.keys[key][0]),
                     self.keys[key][1])
        for setting in options.set:
            key, _, value = setting.partition("=")
            self.set(key.strip(), value.strip(), "--set")


class Parser(argparse.ArgumentParser):
    """With the exit status of sysexits."""

    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(EX_USAGE, "%s: %s\n" % (self.prog, message))


def parser(description, source):
    """The options that both programs have."""
    p = Parser(
        description=description,
        epilog="Only the files named here, and those they name, are read; "
        "nothing is written but below DIR.")
    p.add_argument("source", metavar=source[0], help=source[1])
    p.add_argument("--out", metavar="DIR", default="submitd-migrated",
                   help="where submitd.conf and the user store are made "
                   "(default: %(default)s)")
    p.add_argument("--dry-run", action="store_true",
                   help="write nothing; say what would be done")
    p.add_argument("--set", metavar="KEY=VALUE", action="append", default=[],
                   help="another key of submitd.conf")
    return p


def main(p, fill):
    """Runs one of the programs: fill(migration, options) reads the source."""
    options = p.parse_args()
    sys.stdout.reconfigure(errors="backslashreplace")
    migration = Migration()
    try:
        fill(migration, options)
        sys.exit(migration.finish(options))
    except Failed as e:
        print("%s: %s" % (p.prog, e), file=sys.stderr)
        sys.exit(e.status)
