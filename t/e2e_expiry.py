#!/usr/bin/python3 -B
"""Certificates that end soon raise an alarm: when they are loaded, and in a
server that runs; a renewal ends it."""

import os
import re
import shutil
import ssl
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from scene import Scene

SAN = "DNS:localhost,IP:127.0.0.1"


def alarm(scene):
    """What submitctl status says, or None."""
    found = [a["text"] for a in scene.submitctl_json("status")["alarms"]
             if (a["what"], a["trouble"]) == ("files", "expiry")]
    return found[0] if found else None


def alarm_comes(scene, pattern):
    """Queue is told a moment after the log."""
    return harness.until(lambda: re.search(pattern, alarm(scene) or ""),
                         30 * taplib.SLOW)


def alarm_goes(scene):
    """The same of its end."""
    return harness.until(lambda: alarm(scene) is None, 30 * taplib.SLOW)


def reload(scene, **keys):
    """Changes keys; a mark in the log from before."""
    mark = scene.log.mark()
    scene.configure(**keys)
    scene.reload()
    scene.log.wait(after=mark, ev="reload", result="ok")
    scene.log.wait(after=mark, ev="ready")
    scene.settled()
    return mark


def lines(scene, mark):
    """{key: line} of what is said to end."""
    return {e["key"]: e for e in scene.log.all(mark, ev="alarm",
                                               trouble="expiry")}


def install(scene, pair):
    """A new certificate of the server; a mark in the log from before."""
    mark = scene.log.mark()
    scene.old_fronts = scene.pids("front")
    scene.install_certificate(pair)
    scene.log.wait(after=mark, ev="renewal", result="ok")
    scene.settled()
    return mark


def at_the_start(tap, scene):
    """The server's certificate has five days left."""
    line = scene.log.wait(ev="alarm", trouble="expiry")
    tap.equal([line[k] for k in ("level", "what", "key", "file", "subject")],
              ["warning", "files", "server_cert",
               scene.path("certs/server.pem"), "CN = mail.play.example"],
              "a certificate that ends soon: an alarm in the log")
    tap.like(line["days"], r"\A[45]\Z", "with the days that are left")
    tap.like(line["until"], r"\A20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z",
             "with its end")
    tap.ok(alarm_comes(scene, r"\Aserver_cert: /.*/server\.pem: "
                       r'"CN = mail\.play\.example" expires in [45] days \(20'),
           "and in submitctl status", alarm(scene))


def renewed(tap, scene):
    """A new one ends it."""
    mark = install(scene, scene.ca.issue("new", "mail.play.example", SAN))
    scene.log.wait(after=mark, ev="alarm-over", trouble="expiry")
    tap.ok(alarm_goes(scene), "renewed: it is over")
    tap.equal(lines(scene, mark), {}, "and nothing else ends")


def others(tap, scene):
    """All that could end."""
    shutil.copy(scene.ca.cert, scene.path("certs/clients.pem"))
    pair = scene.ca.issue("mine", "mine", days=3)
    mark = reload(scene, client_cert=pair.cert, client_key=pair.key,
                  smarthost={"client_cert": True})
    tap.equal({k: e["file"] for k, e in lines(scene, mark).items()},
              {"client_cert": pair.cert}, "what the smarthost is shown")
    mark = reload(scene, ca_cert="clients.pem", cert_expiry_alarm="40d")
    tap.equal({k: e["file"] for k, e in lines(scene, mark).items()},
              {"server_cert": scene.path("certs/server.pem"),
               "client_cert": pair.cert,
               "ca_cert": scene.path("certs/clients.pem")},
              "40 days ahead: each once")
    tap.ok(alarm_comes(scene, "server_cert: .*; client_cert: .*; ca_cert: "),
           "one alarm tells of all", alarm(scene))
    reload(scene, ca_cert=None)
    shutil.copy(scene.ca.cert, scene.path("certs/ca.pem"))
    mark = reload(scene)
    tap.equal(lines(scene, mark).get("private CA", {}).get("file"),
              scene.path("certs/ca.pem"), "the private CA that signed it")
    mark = reload(scene, cert_expiry_alarm="0")
    scene.log.wait(after=mark, ev="alarm-over", trouble="expiry")
    tap.ok(alarm_goes(scene), "0: no alarm")


def while_it_runs(tap, scene):
    """A moment comes, and nobody reloads anything."""
    with open(scene.path("certs/server.pem"), encoding="ascii") as f:
        done = subprocess.run(
            ("openssl", "x509", "-noout", "-enddate"), stdin=f, text=True,
            stdout=subprocess.PIPE, check=True)
    end = ssl.cert_time_to_seconds(done.stdout.strip().partition("=")[2])
    os.unlink(scene.path("certs/ca.pem"))
    mark = reload(scene, smarthost={"client_cert": None},
                  cert_expiry_alarm="%ds" % (end - time.time() - 5))
    line = scene.log.wait(after=mark, ev="alarm", trouble="expiry")
    tap.equal((line["key"], line["days"]), ("server_cert", "29"),
              "in a server that runs: the alarm comes by itself")
    tap.ok(alarm_comes(scene, "server_cert: "),
           "submitctl status has it, too")


def test(tap):
    """One server."""
    with Scene(tap, smarthost=False) as scene:
        scene.route_to(harness.free_port())
        scene.install_certificate(
            scene.ca.issue("short", "mail.play.example", SAN, days=5))
        scene.start()
        for part in (at_the_start, renewed, others, while_it_runs):
            part(tap, scene)
        tap.equal(scene.stop(), 0, "the server ends with status 0")


taplib.run(test)
