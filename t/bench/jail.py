"""A server from a Debian package that is not installed, in a root of its own.

Some servers insist on paths and users that only an installation has. Such a
server gets a private mount namespace and a root directory: there are its own
/etc with the users it asks for, empty /var, /run and /tmp, and four devices.
/pkg has the package and /machine the machine's /usr, for reading; /usr is made
of links to both. The mounts go with its last process, and nobody else ever sees
them.
"""

import os
import shutil
import subprocess
import sys

import harness
import procs

# Numbers that nobody has, as for the roles of a test's submitd.
FIRST_UID = 64921
DEVICES = ("null", "zero", "random", "urandom")
ENTER = """
root=$1; shift
mount --bind -o ro /usr "$root/machine" || exit
for device in null zero random urandom; do
    mount --bind /dev/$device "$root/dev/$device" || exit
done
exec chroot "$root" /usr/bin/env "$@"
"""
NAMESPACE = ("unshare", "--mount", "--propagation", "private")


def shell(script, *arguments, given=""):
    """Runs a script with the functions of contrib/lib; what it prints."""
    lib = os.path.join(harness.TOP, "contrib", "lib")
    done = subprocess.run(
        ("sh", "-c", ". %s/unpack.sh\n. %s/postfix.sh\n%s" % (
            lib, lib, script), "sh") + arguments, input=given,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        check=False)
    sys.stderr.write(done.stderr)
    if done.returncode != 0:
        lines = done.stderr.splitlines() or ["no reason given"]
        raise RuntimeError(lines[-1])
    return done.stdout


class Jail:
    """The root directory of one server."""

    def __init__(self, root, cache, packages, users):
        """users are names; each gets a number and a group of its own."""
        if not harness.is_root():
            raise RuntimeError("only root can give it a root of its own")
        done = subprocess.run(NAMESPACE + ("true",), stderr=subprocess.PIPE,
                              text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError("no mount namespace here: "
                               + done.stderr.strip())
        self.root = root
        self._make_folders()
        shell('unpack_packages "$@"', self.path("pkg"), cache, *packages)
        self._link("usr", {"/pkg/usr": self.path("pkg/usr"),
                           "/machine": "/usr"})
        self.libraries = shell('unpack_libraries "$1"', self.path("pkg")) \
            .strip().replace(self.path(""), "/")
        self._make_users(users)

    def path(self, *names):
        """The path, from outside, of what is in the jail."""
        return os.path.join(self.root, *names)

    def _make_folders(self):
        for name in ("dev", "etc/ssl/certs", "machine", "pkg", "run", "usr",
                     "var/lib", "var/log", "var/spool"):
            os.makedirs(self.path(name))
        os.mkdir(self.path("tmp"))
        os.chmod(self.path("tmp"), 0o1777)
        os.symlink("../run", self.path("var/run"))
        for name in ("bin", "lib", "lib32", "lib64", "libx32", "sbin"):
            if os.path.islink("/" + name):
                os.symlink(os.readlink("/" + name), self.path(name))
        for name in DEVICES:
            self.write("dev/" + name, "")
        self.write("etc/hosts", "127.0.0.1 localhost\n")
        self.write("etc/nsswitch.conf",
                   "passwd: files\ngroup: files\nhosts: files\n")
        # For resolvers that don't read nsswitch.conf: ask nobody.
        self.write("etc/resolv.conf", "lookup file\n")
        if os.path.exists("/etc/ssl/openssl.cnf"):
            shutil.copy("/etc/ssl/openssl.cnf", self.path("etc/ssl"))

    def _link(self, name, layers):
        """Fills a folder with links to what is in the layers: where the jail
        has them, and where they are. The first one wins; what is a folder in
        several is one with links here."""
        for entry in sorted({e for where in layers.values()
                             for e in os.listdir(where)}):
            found = {inside: os.path.join(where, entry)
                     for inside, where in layers.items()
                     if os.path.lexists(os.path.join(where, entry))}
            there = self.path(name, entry)
            if len(found) > 1 and all(map(os.path.isdir, found.values())):
                os.mkdir(there)
                self._link(os.path.join(name, entry), {
                    inside + "/" + entry: where
                    for inside, where in found.items()})
            else:
                os.symlink(next(iter(found)) + "/" + entry, there)

    def _make_users(self, users):
        passwd = ["root:x:0:0::/:/bin/sh",
                  "nobody:x:65534:65534::/:/bin/false"]
        group = ["root:x:0:", "nogroup:x:65534:"]
        for uid, name in enumerate(users, FIRST_UID):
            passwd += ["%s:x:%d:%d::/:/bin/false" % (name, uid, uid)]
            group += ["%s:x:%d:" % (name, uid)]
        self.write("etc/passwd", "\n".join(passwd) + "\n")
        self.write("etc/group", "\n".join(group) + "\n")

    def write(self, name, text, mode=0o644):
        """Makes a file in the jail."""
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(self.path(name), mode)

    def copy(self, source, name, mode=0o644):
        """Copies a file of ours into the jail."""
        shutil.copy(source, self.path(name))
        os.chmod(self.path(name), mode)

    def start(self, *command, log, **environment):
        """Starts a program in the jail; it stays in the foreground."""
        given = {"LD_LIBRARY_PATH": self.libraries, **environment}
        with open(log, "ab") as out:
            return procs.spawn(
                NAMESPACE + ("sh", "-c", ENTER, "sh", self.root)
                + tuple("%s=%s" % item for item in given.items()) + command,
                stdout=out, stderr=out)
