"""A part of a test that runs as an ordinary user, though the test is root."""

import encodings.ascii  # while their files can be read: open and socket need
import encodings.idna   # them later
import os
import shutil
import tempfile

import harness

assert encodings.ascii and encodings.idna
ORDINARY = 64920  # a user that nobody is
PROGRAMS = ("submitd/submitd", "submitd/submitctl", "t/probed")


def _become(folder):
    """Gives root up for good; the programs come along."""
    for name in PROGRAMS:
        path = os.path.join(harness.build_dir(), name)
        if os.path.exists(path):
            os.makedirs(os.path.join(folder, os.path.dirname(name)),
                        exist_ok=True)
            shutil.copy(path, os.path.join(folder, name))
    os.chmod(folder, 0o711)
    os.environ["SUBMITD_BUILD"] = folder
    os.environ["HOME"] = "/nonexistent"
    os.chdir("/")
    os.setgroups([])
    os.setresgid(ORDINARY, ORDINARY, ORDINARY)
    os.setresuid(ORDINARY, ORDINARY, ORDINARY)


def run(tap, part):
    """Runs part(tap) in a child that is not root; its results count here."""
    with tempfile.TemporaryDirectory(prefix="submitd-") as folder:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            result = 1
            try:
                _become(folder)
                part(tap)
                os.write(write, b"%d %d" % (tap.count, tap.failed))
                result = 0
            finally:
                os._exit(result)
        os.close(write)
        with open(read, encoding="ascii") as f:
            counted = f.read().split()
        os.waitpid(pid, 0)
        if len(counted) != 2:
            raise RuntimeError("the part as an ordinary user broke off")
        tap.count, tap.failed = map(int, counted)
