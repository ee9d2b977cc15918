#!/usr/bin/python3 -B
"""Certificates, keys and lists are picked up when their files change, without
SIGHUP and without a look at the configuration; what is broken changes nothing.
"""

import os
import shutil
import smtplib
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from certs import CA
from scene import PASSWORD, Scene, message

SAN = "DNS:localhost,IP:127.0.0.1"


def shown(scene):
    """The certificate that a new client is shown."""
    with smtplib.SMTP("127.0.0.1", scene.port, timeout=30) as session:
        session.starttls(context=scene.tls_context())
        return session.sock.getpeercert(True)


def renewal(scene, mark, result="ok"):
    """The line that says how it went; afterwards the old fronts are gone."""
    line = scene.log.wait(after=mark, ev="renewal", result=result)
    if result == "ok":
        scene.settled()
    return line


def begin(scene):
    """Before something changes: a mark in the log."""
    scene.old_fronts = scene.pids("front")
    return scene.log.mark()


def put(source, target):
    """A file takes another one's place in one step."""
    put_all((source, target))


def put_all(*pairs):
    """Several do so, one at once after the other."""
    for source, target in pairs:
        shutil.copy(source, target + ".new")
        os.chmod(target + ".new", 0o600)
    for _, target in pairs:
        os.rename(target + ".new", target)


def alarms(scene):
    """What submitctl status has to say."""
    return {(a["what"], a["trouble"]): a["text"]
            for a in scene.submitctl_json("status")["alarms"]}


def one_after_the_other(tap, scene):
    """The certificate comes first, its key later, while an administrator is at
    work on the configuration."""
    with open(scene.conf_file, encoding="utf-8") as f:
        good = f.read()
    with open(scene.conf_file, "a", encoding="utf-8") as f:
        f.write("half_a_key = ")
    before = shown(scene)
    pair = scene.ca.issue("first", "mail.play.example", SAN)
    with scene.tls_session() as session:
        session.login("ann", PASSWORD)
        mark = begin(scene)
        put(pair.cert, scene.path("certs/server.pem"))
        line = renewal(scene, mark, "refused")
        tap.equal(line["error"], "server_key: the private key does not belong "
                  "to the certificate: key values mismatch",
                  "a certificate without its key: the log says so")
        tap.equal(shown(scene), before, "clients see the old one")
        mark = begin(scene)
        put(pair.key, scene.path("certs/server.key"))
        scene.log.wait(after=mark, ev="renewal", result="ok")
        session.sendmail("ann@play.example", "bo@example.net",
                         message("old session"))
    scene.delivered("old session")
    tap.ok(True, "a session from before goes on")
    scene.settled()
    tap.equal(shown(scene), pair.der(), "with the key it is used")
    with open(scene.conf_file, "w", encoding="utf-8") as f:
        f.write(good)
    tap.ok(not scene.log.find(ev="reload"), "the configuration was not read")


def in_a_hurry(tap, scene):
    """Key and certificate one right after the other: nobody complains."""
    pair = scene.ca.issue("second", "mail.play.example", SAN)
    mark = begin(scene)
    put_all((pair.key, scene.path("certs/server.key")),
            (pair.cert, scene.path("certs/server.pem")))
    renewal(scene, mark)
    tap.equal(shown(scene), pair.der(), "both at once: used")
    tap.ok(not scene.log.find(mark, ev="renewal", result="refused"),
           "and nothing was refused")


def nothing_new(tap, scene):
    """The same bytes again start nothing."""
    roles = scene.one_set()
    for name in ("server.pem", "server.key", "smarthost.pem"):
        mark = scene.log.mark()
        path = scene.path("certs", name)
        put(path, path)
        scene.log.wait(after=mark, ev="renewal", result="nothing new")
    tap.equal(scene.one_set(), roles, "the same bytes make no new set")


def broken(tap, scene):
    """What is no good is named, and mended by whoever mends it."""
    good, key = scene.path("certs/server.pem"), scene.path("certs/server.key")
    before = shown(scene)
    kept = scene.path("certs/kept.pem")
    shutil.copy(good, kept)
    expired = scene.ca.issue("expired", "mail.play.example", SAN, days=-1)
    for name, act, why, mend in (
            ("an expired certificate",
             lambda: put_all((expired.cert, good), (expired.key, key)),
             "server_cert: the certificate has expired",
             lambda: put_all((kept, good), (scene.path("ca/second.key"), key))),
            ("garbage", lambda: put(scene.conf_file, good),
             "server_cert: no usable certificate",
             lambda: put(kept, good)),
            ("a key that is open to others", lambda: os.chmod(key, 0o644),
             "server_key: .* chmod 600", lambda: os.chmod(key, 0o600)),
            ("a file that is gone and another that changes",
             lambda: (os.unlink(good), os.utime(key)),
             "server_cert: .*cannot be read", lambda: put(kept, good))):
        mark = begin(scene)
        act()
        tap.like(renewal(scene, mark, "refused")["error"], why,
                 name + ": the log says why")
        tap.equal(shown(scene), before, name + ": clients see the old one")
        tap.like(alarms(scene).get(("files", "renewal"), "nothing"), why,
                 name + ": so does submitctl status")
        mend()
        scene.log.wait(after=mark, ev="alarm-over", what="files")
        tap.ok(harness.until(lambda: not alarms(scene)),
               name + ": mended, the alarm is over")


def by_links(tap, scene):
    """As certbot keeps them: links into an archive."""
    os.mkdir(scene.path("archive"), 0o700)
    os.mkdir(scene.path("live"), 0o700)

    def install(number, pair):
        for kind, path in (("cert", pair.cert), ("key", pair.key)):
            name = "%s%d.pem" % (kind, number)
            shutil.copy(path, scene.path("archive", name))
            os.chmod(scene.path("archive", name), 0o600)
            os.symlink("../archive/" + name, scene.path("live", kind + ".new"))
            os.rename(scene.path("live", kind + ".new"),
                      scene.path("live", kind + ".pem"))
    pair = scene.ca.issue("third", "mail.play.example", SAN)
    install(1, pair)
    scene.configure(server_cert=scene.path("live/cert.pem"),
                    server_key=scene.path("live/key.pem"))
    mark = scene.log.mark()
    scene.reload()
    scene.log.wait(after=mark, ev="reload", result="ok")
    scene.settled()
    tap.equal(shown(scene), pair.der(), "links: followed")
    pair = scene.ca.issue("fourth", "mail.play.example", SAN)
    mark = begin(scene)
    install(2, pair)
    renewal(scene, mark)
    tap.equal(shown(scene), pair.der(), "links: those that lead elsewhere, too")


def by_volumes(tap, scene):
    """As containers keep them: a link to a directory is replaced, and the old
    directory is removed."""
    def install(number, pair):
        folder = scene.path("volume", "version%d" % number)
        os.makedirs(folder)
        shutil.copy(pair.cert, os.path.join(folder, "tls.crt"))
        shutil.copy(pair.key, os.path.join(folder, "tls.key"))
        os.chmod(os.path.join(folder, "tls.key"), 0o600)
        os.symlink("version%d" % number, scene.path("volume", "new"))
        os.rename(scene.path("volume/new"), scene.path("volume/data"))
    pair = scene.ca.issue("fifth", "mail.play.example", SAN)
    install(1, pair)
    scene.configure(server_cert=scene.path("volume/data/tls.crt"),
                    server_key=scene.path("volume/data/tls.key"))
    mark = scene.log.mark()
    scene.reload()
    scene.log.wait(after=mark, ev="reload", result="ok")
    scene.settled()
    pair = scene.ca.issue("sixth", "mail.play.example", SAN)
    mark = begin(scene)
    install(2, pair)
    renewal(scene, mark)
    tap.equal(shown(scene), pair.der(), "volumes: the new version is used")


def client_cas(tap, scene):
    """A CA that is put into ca_path, or taken out, counts at once."""
    other = CA(scene.path("other"), "Another CA")
    mail = "email:ann@play.example"
    device = other.issue("phone", "phone", mail)

    def by_certificate():
        with scene.tls_session(device) as session:
            return session.mail("ann@play.example")[0]
    tap.equal(by_certificate(), 530, "a certificate of an unknown CA: 530")
    mark = begin(scene)
    put(other.cert, scene.path("certs/client-cas/other.pem"))
    renewal(scene, mark)
    tap.equal(by_certificate(), 250, "its CA comes: 250")
    mark = begin(scene)
    os.unlink(scene.path("certs/client-cas/other.pem"))
    renewal(scene, mark)
    tap.equal(by_certificate(), 530, "its CA goes: 530")


def smarthost_ca(tap, scene):
    """The relay, too, has what it needs when its files change."""
    other = CA(scene.path("third"), "A third CA")
    pair = other.issue("other", "localhost", "DNS:localhost")
    scene.new_smarthost(pair=pair)
    mark = scene.log.mark()
    scene.send(message("distrusted"), password=PASSWORD)
    scene.log.wait(after=mark, ev="smarthost-down", trouble="tls")
    tap.ok(True, "a smarthost of an unknown CA gets no mail")
    mark = begin(scene)
    put(other.cert, scene.path("certs/smarthost.pem"))
    renewal(scene, mark)
    scene.delivered("distrusted")
    tap.ok(True, "its CA comes: it gets it")


def test(tap):
    """All with one server."""
    with Scene(tap) as scene:
        os.mkdir(scene.path("certs/client-cas"), 0o700)
        put(scene.ca.cert, scene.path("certs/client-cas/play.pem"))
        put(scene.ca.cert, scene.path("certs/smarthost.pem"))
        scene.configure(log_level="debug", ca_path="client-cas",
                        smarthost={"ca_file": "smarthost.pem"})
        scene.start()
        for part in (one_after_the_other, in_a_hurry, nothing_new, broken,
                     by_links, by_volumes, client_cas, smarthost_ca):
            part(tap, scene)
        tap.equal(scene.stop(), 0, "the server ends with status 0")


taplib.run(test, deadline=300)
