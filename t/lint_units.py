#!/usr/bin/python3 -B
"""contrib's files for systemd and AppArmor: what their own programs say of
them, and whether they agree with each other. Nothing is loaded."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
EXPOSURE = 28  # tenths; what the units' reasons leave open


def read(name):
    """A file of contrib as text."""
    with open(os.path.join(TOP, "contrib", name), encoding="utf-8") as f:
        return f.read()


def run(*command):
    """A program's exit status, and all it says."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.STDOUT, check=False)
    return done.returncode, done.stdout


def systemd(tap):
    """systemd-analyze, on copies that find a program to start."""
    if not shutil.which("systemd-analyze"):
        tap.note("no systemd-analyze here: what it would say is not known")
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in ("submitd.service", "submitd.socket"):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                f.write(read(name).replace("ExecStart=submitd ",
                                           "ExecStart=/bin/true "))
        for name in ("submitd.service", "submitd.socket"):
            path = os.path.join(folder, name)
            tap.equal(run("systemd-analyze", "verify", "--man=no", path),
                      (0, ""), name + ": systemd-analyze verify")
        path = os.path.join(folder, "submitd.service")
        status, text = run("systemd-analyze", "security", "--offline=true",
                           "--threshold=%d" % EXPOSURE, "--no-pager", path)
        tap.equal(status, 0, "exposure is %.1f at most" % (EXPOSURE / 10))
        tap.note(text.strip().splitlines()[-1])


def apparmor(tap):
    """apparmor_parser compiles the profile."""
    parser = shutil.which("apparmor_parser",
                          path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if not parser or not os.path.isdir("/etc/apparmor.d/abstractions"):
        tap.note("no apparmor_parser here: what it would say is not known")
        return
    status, text = run(parser, "--skip-kernel-load", "--skip-cache",
                       os.path.join(TOP, "contrib/apparmor/usr.sbin.submitd"))
    tap.equal(status, 0, "apparmor_parser takes the profile")
    tap.unlike(text, "(?i)error|warning", "and has nothing against it")


def settings(text):
    """[(key, value)] of a unit."""
    return re.findall(r"^(\w+)=(.*)$", text, re.M)


def agree(tap):
    """The files say the same of ports, paths and users."""
    ports = sorted({value.rpartition(":")[2] for key, value
                    in settings(read("submitd.socket"))
                    if key == "ListenStream"})
    sample = read("submitd.conf.sample")
    listen = sorted(re.findall(r'^listen(?:_tls)? = \{"\*:(\d+)"\}', sample,
                               re.M))
    tap.equal(ports, listen, "submitd.socket has the ports of the sample")
    service = read("submitd.service")
    for key in ("spool", "users_db"):
        path = re.search(r'^#%s = "(.*)"' % key, sample, re.M)[1]
        folder = path if key == "spool" else os.path.dirname(path)
        tap.like(service, r"ReadWritePaths=.*%s" % folder,
                 "submitd.service lets %s be written" % folder)
        tap.ok(folder + "/** rwk" in read("apparmor/usr.sbin.submitd"),
               "the profile lets %s be written" % folder)
    users = set(re.findall(r"^u (\S+)", read("submitd.sysusers"), re.M))
    spool = re.search(r"^d (\S+) 0700 (\S+) (\S+)", read("submitd.tmpfiles"),
                      re.M)
    tap.equal(spool[1], re.search(r'^#spool = "(.*)"', sample, re.M)[1],
              "submitd.tmpfiles makes the spool")
    tap.ok({spool[2], spool[3]} <= users, "for a user of submitd.sysusers")
    for user in re.findall(r'^#user_\w+ = "(\w+)"', sample, re.M):
        tap.ok(user in users, "submitd.sysusers has " + user)


def test(tap):
    """All of it."""
    for part in (systemd, apparmor, agree):
        part(tap)


taplib.run(test)
