#!/usr/bin/python3 -B
"""submitctl check: a good configuration has no error, and each thing that can
be wrong is found under its name, with exit status 78."""

import json
import os
import re
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import ordinary
import tap as taplib
from certs import CA
from scene import Scene


def check(scene):
    """Exit status and rows."""
    done = scene.submitctl("--json", "check", check=False)
    return done.returncode, json.loads(done.stdout)


def errors(rows, result="error"):
    """{what: text} of the rows with a result."""
    return {r["what"]: r["text"] for r in rows if r["result"] == result}


def good(tap, scene):
    """Nothing is wrong."""
    status, rows = check(scene)
    tap.equal((status, errors(rows)), (0, {}), "all is good: exit 0")
    whats = {r["what"] for r in rows}
    tap.ok({"server_cert", "server_key", "hostname", "smarthost.ca_file",
            "users_db", "spool", "submitd", "cert_dir"} <= whats,
           "all is looked at", rows)
    out = scene.submitctl("check").stdout
    tap.like(out, r"^RESULT +WHAT *\nok +configuration +/", "a table")


def one(tap, scene, name, change, what, why, result="error"):
    """A single thing is wrong; change() breaks it and returns the repair."""
    repair = change()
    try:
        status, rows = check(scene)
        found = errors(rows, result)
        tap.equal(status, 78 if result == "error" else 0,
                  name + ": exit status")
        tap.ok(re.search(why, found.get(what, ""), re.S),
               name + ": found under " + what, found)
    finally:
        repair()


def mode(scene, path, bits):
    """Changes a file's mode."""
    def change():
        before = os.stat(scene.path(path)).st_mode & 0o7777
        os.chmod(scene.path(path), bits)
        return lambda: os.chmod(scene.path(path), before)
    return change


def conf(scene, **keys):
    """Changes keys of the configuration."""
    def change():
        before = {k: scene.keys.get(k) for k in keys}
        scene.configure(**keys)
        return lambda: scene.configure(**before)
    return change


def pair(scene, made):
    """Another certificate for the server."""
    def change():
        scene.install_certificate(made)
        return lambda: scene.install_certificate(scene.server_pair)
    return change


def issued(scene, *args):
    """A certificate of the private CA."""
    def change():
        scene.submitctl("init", "--from-ca", "--force", *args)
        return lambda: scene.install_certificate(scene.server_pair)
    return change


def away(scene, path):
    """A file that is missing."""
    def change():
        os.rename(scene.path(path), scene.path(path) + ".away")
        return lambda: os.rename(scene.path(path) + ".away",
                                 scene.path(path))
    return change


def files(tap, scene):
    """Rights, and files that are missing."""
    for args in (
            ("key open to the group", mode(scene, "certs/server.key", 0o640),
             "server_key", "open to others.*chmod 600"),
            ("certificate open to all", mode(scene, "certs/server.pem",
                                             0o666),
             "server_cert", "can be changed by others"),
            ("cert_dir open to all", mode(scene, "certs", 0o777), "cert_dir",
             "can be changed by others"),
            ("configuration open to all", mode(scene, "submitd.conf", 0o666),
             "configuration", "chmod go-w"),
            ("store open to all", mode(scene, "data/users.db", 0o644),
             "users_db", "open to others"),
            ("no store", away(scene, "data/users.db"), "users_db",
             "submitctl init"),
            ("no certificate", away(scene, "certs/server.pem"),
             "server_cert", "No such file"),
            ("no key", away(scene, "certs/server.key"), "server_key",
             "No such file"),
            ("no cert_dir", away(scene, "certs"), "cert_dir",
             "No such file"),
            ("control socket in a directory nobody makes",
             conf(scene, control_socket=scene.path("no/such/control")),
             "control_socket", "/no/such cannot be made"),
            ("spool is a file", conf(scene, spool=scene.conf_file), "spool",
             "no directory"),
            ("smarthost's CAs are missing", away(scene, "ca/ca.pem"),
             "smarthost.ca_file", "No such file"),
            ("no smarthost", conf(scene, smarthost={"host": ""}),
             "smarthost.host", "not set"),
            ("nothing to listen on", conf(scene, listen=None,
                                          listen_tls=None),
             "submitd", "would not start.*listen")):
        one(tap, scene, *args)


def server(tap, scene):
    """The server's certificate."""
    ca = scene.ca
    name = scene.keys["hostname"]
    san = "DNS:" + name
    for args in (
            ("expired", ca.issue("old", name, san, days=-1), "server_cert",
             "has expired on"),
            ("for another host", ca.issue("foreign", name,
                                          "DNS:other.example"),
             "hostname", "is not in the server's certificate.*other"),
            ("without any host", ca.issue("nameless", name), "hostname",
             "for: nothing"),
            ("of a CA nobody knows", CA(scene.path("strange")).issue(
                "strange", name, san), "server_cert", "chain leads neither")):
        one(tap, scene, args[0], pair(scene, args[1]), *args[2:])
    one(tap, scene, "self-signed", pair(scene, ca.self_signed(
        "alone", name, san)), "server_cert", "self-signed", "warning")
    one(tap, scene, "ends soon", issued(scene, "--days", "20"),
        "server_cert", "expires on", "warning")

    def other_key():
        shutil.copy(scene.laptop.key, scene.path("certs/server.key"))
        return lambda: scene.install_certificate(scene.server_pair)
    one(tap, scene, "key of another certificate", other_key, "server_key",
        "does not belong")
    scene.configure(hostname="mail")
    one(tap, scene, "hostname without a dot", issued(scene), "hostname",
        "no full name", "warning")
    scene.configure(hostname=name)


def clients(tap, scene):
    """CAs of client certificates, and their revocation lists."""
    scene.submitctl("ca", "crl", "--out", scene.path("certs/crl.pem"))
    scene.configure(ca_cert="ca.pem", crl_file="crl.pem")
    status, rows = check(scene)
    tap.equal((status, errors(rows)), (0, {}), "with CA and CRL: exit 0")
    tap.ok("crl_file" in {r["what"] for r in rows}, "the list is looked at")
    one(tap, scene, "CA that is none", conf(scene, ca_cert=scene.laptop.cert),
        "ca_cert", "not one of a CA")
    one(tap, scene, "no file of the CA", conf(scene, ca_cert="x.pem"),
        "ca_cert", "No such file")
    one(tap, scene, "a list of another CA",
        conf(scene, ca_cert=scene.ca.cert), "crl_file", "has no list of")
    one(tap, scene, "no list", conf(scene, crl_file="x.pem"), "crl_file",
        "No such file")
    one(tap, scene, "a list that is none", conf(scene, crl_file="ca.pem"),
        "crl_file", "no revocation list")
    scene.submitctl("ca", "crl", "--days", "2")
    _, rows = check(scene)
    tap.like(errors(rows, "warning").get("crl_file", ""), "until .* only",
             "a list that ends soon: a warning")
    one(tap, scene, "the system's CAs",
        conf(scene, ca_cert="/etc/ssl/certs/ca-certificates.crt"), "submitd",
        "system's store")
    scene.configure(ca_cert=None, crl_file=None)
    one(tap, scene, "the private CA's key", mode(scene, "certs/ca.key",
                                                 0o644), "private CA",
        "open to others")


def roles(tap, scene):
    """What the users of the roles can't come to."""
    for args in (
            ("store that auth can't read", mode(scene, "data/users.db",
                                                0o600),
             "users_db", "can't be read by user_auth.*chmod 640"),
            ("data directory that auth can't enter", mode(scene, "data",
                                                          0o700),
             "users_db", "/data can't be entered by user_auth"),
            ("chroot_dir is not empty",
             conf(scene, chroot_dir=scene.path("data")), "chroot_dir",
             "is not empty")):
        one(tap, scene, *args)


def make(tap):
    """A scene with a private CA."""
    scene = Scene(tap)
    scene.submitctl("ca", "init")
    scene.submitctl("init", "--from-ca", "--force", "--host",
                    scene.keys["hostname"])
    scene.server_pair = Saved(scene)
    return scene


def as_ordinary_user(tap):
    """As good as for root."""
    with make(tap) as scene:
        tap.ok(not os.path.exists(scene.path("run")),
               "the directory of control_socket is not there")
        good(tap, scene)
        one(tap, scene, "spool that can't be written",
            mode(scene, "spool", 0o500), "spool", "can't be written")


def test(tap):
    """No server runs."""
    if harness.is_root():
        ordinary.run(tap, as_ordinary_user)
    else:
        as_ordinary_user(tap)
    with make(tap) as scene:
        good(tap, scene)
        if harness.is_root():
            roles(tap, scene)
        files(tap, scene)
        server(tap, scene)
        clients(tap, scene)


class Saved:
    """A copy of the server's certificate and key."""

    def __init__(self, scene):
        self.cert, self.key = scene.path("good.pem"), scene.path("good.key")
        shutil.copy(scene.path("certs/server.pem"), self.cert)
        shutil.copy(scene.path("certs/server.key"), self.key)


taplib.run(test)
