#!/usr/bin/python3 -B
"""The access map's entries about the smarthost: TLS_Srv, Try_TLS and TLS_Rcpt
keep mail back or fail it; the log, the queue and the bounce name the entry, and
mail goes once the entry is gone."""

import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import tap as taplib
from scene import PASSWORD, Scene, message

WEAK = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
TOO_WEAK = "encryption too weak 128 less than 256"


def weak_smarthost(scene):
    """A new smarthost, which has ciphers of 128 bits only."""
    host = scene.new_smarthost(tls_max="1.2")
    host.context.set_ciphers(WEAK)
    return host


def entry(scene, key, value=None):
    """Sets an entry, or deletes it."""
    if value is None:
        scene.submitctl("access", "del", key)
    else:
        scene.submitctl("access", "set", key, value)


def shown(scene):
    """What queue show says of all mail."""
    return "\n".join(scene.submitctl("queue", "show", m["qid"]).stdout
                     for m in scene.submitctl_json("queue", "list"))


def check_kept(tap, scene, mark, name, why):
    """The log and the queue say which entry keeps the mail back."""
    rule = re.escape(name) + ".*" + why
    for event in "smarthost-down", "alarm", "deferred":
        line = scene.log.wait(after=mark, ev=event)
        tap.like(line["text"], rule, "%s: ev=%s names it" % (name, event))
        tap.equal(line["trouble"], "tls", "%s: ev=%s has the trouble"
                  % (name, event))
    tap.like(shown(scene), rule, name + ": so does queue show")
    tap.like(scene.submitctl("status").stdout, re.escape(name),
             name + ": and the alarm of status")


def explained(tap, scene, qid, phase, decision, name):
    """The history has the decision about the smarthost, once."""
    found = scene.submitctl_json("explain", qid)
    tap.equal([d["phase"] for d in found[:2]], ["mail", "rcpt"],
              name + ": explain has what accepted it")
    late = found[2:]
    tap.equal([(d["phase"], d["decision"], d["rule"]) for d in late],
              [(phase, decision, phase)], name + ": and what kept it back")
    tag, _, value = name.partition(" ")
    tap.equal((late[0]["key"], late[0]["ladder"][-1]["value"],
               late[0]["user"], late[0]["verify"] or ""),
              (tag.lower(), value, "ann", "" if phase == "try_tls" else "OK"),
              name + ": with the entry, the user and the facts")
    tap.like(late[0]["advice"], re.escape('"%s %s"' % (tag.lower(), value)),
             name + ": and what would have to change")
    text = scene.submitctl("explain", qid).stdout
    tap.like(text, r"Smarthost: +localhost\nIts address: +(127\.0\.0\.1|::1)\n",
             name + ": for people")


def waits(tap, scene, key, value, why=""):
    """Mail waits because of an entry, and goes once it is deleted."""
    name = "%s %s" % (key, value)
    token = "waits-" + re.sub("[^A-Za-z0-9]", "-", name)
    entry(scene, key, value)
    host, mark = scene.smarthost, scene.log.mark()
    messages, connections = len(host.messages), host.connections
    scene.send(message(token), password=PASSWORD)
    check_kept(tap, scene, mark, name, why)
    tap.equal(len(host.messages), messages, name + ": nothing left")
    explained(tap, scene, scene.log.wait(after=mark, ev="deferred")["qid"],
              "try_tls" if key.startswith("Try") else "tls_srv", "defer", name)
    if key.startswith("Try_TLS"):
        tap.equal(host.connections, connections,
                  name + ": nobody was connected to")
    entry(scene, key)
    scene.submitctl("queue", "retry", "--all")
    scene.delivered(token)
    tap.ok(True, name + ": delivered once it is deleted")


def goes(tap, scene, token, *entries):
    """Mail goes with these entries; then they are deleted."""
    for key, value in entries:
        entry(scene, key, value)
    mark = scene.log.mark()
    scene.send(message(token), password=PASSWORD)
    scene.delivered(token)
    scene.log.wait(after=mark, ev="delivered")
    tap.ok(True, " and ".join("%s %s" % e for e in entries) + ": delivered")
    for key, _ in entries:
        entry(scene, key)


def bounces(host):
    """Mails from the null sender."""
    return [m for m in host.messages if m["from"] == ""]


def bounce_names(tap, scene, rcpt, name):
    """The sender is told which entry was not met."""
    tap.ok(scene.smarthost.wait(bounces), name + ": the sender gets a bounce")
    text = bounces(scene.smarthost)[0]["data"].decode()
    tap.like(" ".join(text.split()), re.escape(name) + ".*" + TOO_WEAK,
             name + ": it says why")
    tap.like(text, r"(?m)^Final-Recipient: rfc822; ?%s\r$" % re.escape(rcpt),
             name + ": it names the recipient")
    tap.like(text, r"(?m)^Status: 5\.7\.0\r$", name + ": and the status")
    tap.like(text, "a rule of this server", name + ": and whose rule it is")
    tap.unlike(text, "Ask the recipient", name + ": not the recipient's")


def server_final(tap, scene):
    """PERM+ fails the mail; its bounce, with the same way to go, waits."""
    name = "TLS_Srv:localhost PERM+ENCR:256"
    weak_smarthost(scene)
    entry(scene, "TLS_Srv:localhost", "PERM+ENCR:256")
    mark = scene.log.mark()
    scene.send(message("final"), password=PASSWORD)
    line = scene.log.wait(after=mark, ev="failed")
    tap.like(line["text"], re.escape(name) + ".*" + TOO_WEAK,
             name + ": the mail has failed")
    tap.equal(line["esc"], "5.7.0", name + ": with its code")
    line = scene.log.wait(after=mark, ev="alarm")
    tap.like(line["text"], re.escape(name), name + ": an alarm names it")
    line = scene.log.wait(after=mark, ev="deferred")
    tap.equal(line["rcpt"], "ann@play.example", name + ": the bounce waits")
    tap.equal(scene.smarthost.messages, [], name + ": nothing left")
    entry(scene, "TLS_Srv:localhost")
    scene.submitctl("queue", "retry", "--all")
    bounce_names(tap, scene, "bo@example.net", name)


def one_of_two(tap, scene):
    """A recipient with a demand waits, the other one gets the mail."""
    name = "TLS_Rcpt:secret@example.net ENCR:256"
    weak_smarthost(scene)
    entry(scene, "TLS_Rcpt:secret@example.net", "ENCR:256")
    mark = scene.log.mark()
    scene.send(message("split"), password=PASSWORD,
               to=["secret@example.net", "bo@example.net"])
    record = scene.delivered("split")
    tap.equal(record["rcpts"], ["bo@example.net"], name + ": the other gets it")
    line = scene.log.wait(after=mark, ev="deferred")
    tap.equal(line["rcpt"], "secret@example.net", name + ": this one waits")
    tap.like(line["text"], re.escape(name) + ".*" + TOO_WEAK,
             name + ": its text names the entry")
    tap.like(shown(scene), re.escape(name), name + ": queue show does")
    for _ in range(2):
        mark = scene.log.mark()
        scene.submitctl("queue", "retry", "--all")
        scene.log.wait(after=mark, ev="deferred")
    explained(tap, scene, line["qid"], "tls_rcpt", "defer", name)
    scene.send(message("meanwhile"), password=PASSWORD)
    scene.delivered("meanwhile")
    tap.ok(True, name + ": other mail goes")
    heard = b"".join(h[2] for h in scene.smarthost.heard)
    tap.ok(b"bo@" in heard and b"secret" not in heard,
           name + ": no RCPT was said for it")
    entry(scene, "TLS_Rcpt:secret@example.net")
    scene.submitctl("queue", "retry", "--all")
    tap.ok(scene.smarthost.wait(lambda h: any(
        m["rcpts"] == ["secret@example.net"] for m in h.messages)),
        name + ": delivered once it is deleted")


def rcpt_final(tap, scene):
    """PERM+ fails the recipient."""
    name = "TLS_Rcpt:example.org PERM+ENCR:256"
    weak_smarthost(scene)
    entry(scene, "TLS_Rcpt:example.org", "PERM+ENCR:256")
    mark = scene.log.mark()
    scene.send(message("final-rcpt"), password=PASSWORD,
               to=["bo@example.net", "cy@example.org"])
    tap.equal(scene.delivered("final-rcpt")["rcpts"], ["bo@example.net"],
              name + ": the other recipient gets it")
    bounce_names(tap, scene, "cy@example.org", name)
    line = scene.log.wait(after=mark, ev="failed")
    explained(tap, scene, line["qid"], "tls_rcpt", "refuse", name)
    entry(scene, "TLS_Rcpt:example.org")


def test(tap):
    """All with one server."""
    with Scene(tap, retry_max="1s") as scene:
        scene.start()
        weak_smarthost(scene)
        waits(tap, scene, "TLS_Srv:localhost", "ENCR:256", TOO_WEAK)
        waits(tap, scene, "TLS_Srv:127.0.0.1", "VERIFY:256", TOO_WEAK)
        waits(tap, scene, "TLS_Srv:127", "TEMP+VERIFY+CN:other",
              "CN localhost does not match other")
        waits(tap, scene, "TLS_Srv:", "ENCR:256", TOO_WEAK)
        waits(tap, scene, "Try_TLS:localhost", "NO")
        waits(tap, scene, "Try_TLS:", "NO")
        goes(tap, scene, "verified", ("TLS_Srv:localhost", "VERIFY"))
        goes(tap, scene, "names", ("TLS_Srv:localhost",
                                   "VERIFY:128+CN++CN:localhost"))
        goes(tap, scene, "exempted", ("TLS_Srv:", "ENCR:256"),
             ("TLS_Srv:localhost", "OK"))
        goes(tap, scene, "trying", ("Try_TLS:localhost", "YES"))
        goes(tap, scene, "rcpt", ("TLS_Rcpt:example.net", "VERIFY:128"))
        server_final(tap, scene)
        one_of_two(tap, scene)
        rcpt_final(tap, scene)


taplib.run(test)
