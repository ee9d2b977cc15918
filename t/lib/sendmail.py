"""sendmail's makemap, out of its Debian package, which is not installed: the
package files are fetched with apt-get once and unpacked below the build
directory. Nothing of the machine's own mail system is read or written."""

import glob
import os
import subprocess

import harness

PACKAGE = "sendmail-bin"
# Libraries that makemap is linked with, and the packages that have them.
LIBRARIES = {"libdb-5.3.so": "libdb5.3", "libldap-2.5.so.0": "libldap-2.5-0",
             "liblber-2.5.so.0": "libldap-2.5-0",
             "libsasl2.so.2": "libsasl2-2"}


class Missing(Exception):
    """The packages are not here, and can't be fetched."""


def folder():
    """Where they are unpacked: below the build directory, or below one around
    it that has them already."""
    here = above = harness.build_dir()
    while above != os.path.dirname(above):
        if os.path.exists(os.path.join(above, "sendmail", "done")):
            return os.path.join(above, "sendmail")
        above = os.path.dirname(above)
    return os.path.join(here, "sendmail")


def _run(*command, **keys):
    return subprocess.run(command, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False, **keys)


def _fetch(package, cache):
    if glob.glob(os.path.join(cache, package + "_*.deb")):
        return
    command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download",
               package]
    done = _run(*command, cwd=cache)
    if done.returncode != 0 and harness.is_root():
        _run("apt-get", "-qq", "update")
        done = _run(*command, cwd=cache)
    if done.returncode != 0:
        raise Missing("package %s can't be fetched: %s"
                      % (package, " ".join(done.stdout.split())))


def _unpack(package, root):
    cache = os.path.join(root, "debs")
    os.makedirs(cache, exist_ok=True)
    _fetch(package, cache)
    for deb in glob.glob(os.path.join(cache, package + "_*.deb")):
        done = _run("dpkg-deb", "-x", deb, root)
        if done.returncode != 0:
            raise Missing("%s can't be unpacked: %s" % (deb, done.stdout))


class Makemap:
    """The program, ready to run."""

    def __init__(self):
        root = folder()
        self.root = root
        self.program = os.path.join(root, "usr/libexec/sendmail/makemap")
        if not os.path.exists(os.path.join(root, "done")):
            self._prepare(root)

    def _prepare(self, root):
        _unpack(PACKAGE, root)
        missing = [line.split()[0] for line in
                   self._call("ldd", self.program).stdout.splitlines()
                   if "not found" in line]
        for library in missing:
            if library not in LIBRARIES:
                raise Missing("makemap needs %s" % library)
            _unpack(LIBRARIES[library], root)
        for name in "empty.cf", "done":
            with open(os.path.join(root, name), "w", encoding="ascii"):
                pass

    def _call(self, *command, **keys):
        libraries = glob.glob(os.path.join(self.root, "lib/*-linux-*")) + \
            glob.glob(os.path.join(self.root, "usr/lib/*-linux-*"))
        env = {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)}
        return subprocess.run(command, env=env, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=60,
                              encoding="latin-1", check=False, **keys)

    def _makemap(self, *args, **keys):
        """Without the configuration and the file checks of an installation."""
        return self._call(self.program, "-s", "-C",
                          os.path.join(self.root, "empty.cf"), *args, **keys)

    def build(self, text, path):
        """Builds the map path.db from text: exit status and complaints."""
        done = self._makemap("hash", path, input=text)
        return done.returncode, done.stderr

    def dump(self, path):
        """What a map holds: {key: value}."""
        done = self._makemap("-u", "hash", path)
        if done.returncode != 0:
            raise RuntimeError("makemap -u: " + done.stderr)
        return dict(line.split("\t", 1) for line in done.stdout.splitlines())
