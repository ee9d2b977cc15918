#!/usr/bin/python3 -B
"""What parent promises: old sets end, sessions of other roles go on, nobody
who waits in a queue of connections is lost, a stop has its deadline, the pid
file is true; and a container as an ordinary user."""

import os
import select
import signal
import smtplib
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from harness import until
from scene import PASSWORD, Scene, message
from traffic import FROM, TO, has_peer

SOON = 25  # s: what waits a second or two, on a machine that is busy


def reload(scene, result="ok"):
    """SIGHUP; the line that says how it went."""
    mark = scene.log.mark()
    scene.reload()
    return scene.log.wait(after=mark, ev="reload", result=result)


def login(scene):
    """A session that can submit."""
    session = scene.tls_session()
    session.login("ann", PASSWORD)
    return session


def at(fronts, connect):
    """A session with one of these fronts: those that have just heard of their
    end may still take a few."""
    while True:
        session = connect()
        port = session.sock.getsockname()[1]
        if any(has_peer(pid, port) for pid in fronts):
            return session
        session.quit()


def pid_file(tap, scene):
    """Written over what is left, moved by a reload."""
    def content(name):
        with open(scene.path(name), encoding="ascii") as f:
            return f.read()
    tap.equal(content("submitd.pid"), "%d\n" % scene.server.pid,
              "pid file: over a stale one")
    tap.ok(not os.path.exists(scene.path("submitd.pid.new")),
           "and nothing else is left")
    scene.configure(pid_file=scene.path("other.pid"))
    reload(scene)
    tap.ok(until(lambda: not os.path.exists(scene.path("submitd.pid"))),
           "a reload moves it")
    tap.equal(content("other.pid"), "%d\n" % scene.server.pid,
              "to where it belongs")


def sessions_go_on(tap, scene):
    """A session is not harmed by the death of a role that has no part in it.

    There are two auths and two fronts: those that serve it are spared.
    """
    mark = scene.log.mark()
    with login(scene) as session:
        auth = scene.log.wait(mark, ev="auth", user="ann")
        front = next(p for p in scene.pids("front")
                     if has_peer(p, session.sock.getsockname()[1]))
        for role, spared in (("relay", ()), ("resolver", ()), ("queue", ()),
                             ("auth", (auth["pid"],)), ("front", (front,))):
            victims = [p for p in scene.pids(role) if p not in spared]
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            for pid in victims:
                harness.wait_gone(pid)
            tap.ok(victims and until(lambda r=role, v=victims:
                                     not set(v) & set(scene.pids(r))
                                     and len(scene.pids(r)) >= len(v)),
                   role + " is killed and comes again")
            tap.ok(until(lambda: submits(session)),
                   role + ": the session from before can submit")


def submits(session):
    """One message; False if it is refused for now. A lost session raises."""
    try:
        session.sendmail(FROM, TO, message("goes on"))
        return True
    except smtplib.SMTPResponseException as e:
        if not 400 <= e.smtp_code < 500 or e.smtp_code == 421:
            raise
        session.rset()
        return False
    except smtplib.SMTPRecipientsRefused:
        session.rset()
        return False


def old_sets(tap, scene):
    """Three old sets at most; all further SIGHUPs become one."""
    sessions, older = [], set()
    for _ in range(3):
        newest = set(scene.pids("front")) - older
        older |= newest
        sessions.append(at(newest, lambda: login(scene)))
        reload(scene)
    tap.ok(until(lambda: len(scene.pids("front")) == 5),
           "three old sets have a session each")
    mark = scene.log.mark()
    scene.configure(max_errors=7)
    for _ in range(5):
        scene.reload()
    tap.ok(submits(sessions[0]), "the oldest session goes on")
    tap.equal([scene.log.find(mark, ev="reload"), len(scene.pids("front"))],
              [None, 5], "a fourth reload waits")
    sessions.pop(0).quit()
    scene.log.wait(mark, ev="reload", result="ok")
    for session in sessions:
        tap.ok(submits(session), "a session of an old set goes on")
        session.quit()
    tap.ok(until(lambda: len(scene.pids("front")) == 2),
           "the old sets have left")
    tap.equal(len(scene.log.all(mark, ev="reload")), 1,
              "five SIGHUPs that had to wait were one reload")


def grace(tap, scene):
    """A session that does not end is ended."""
    before = set(scene.pids("front"))
    scene.configure(reload_grace="1s")
    reload(scene)  # the grace is that of the set that leaves
    old = set(scene.pids("front")) - before
    session = at(old, scene.session)
    begin = time.monotonic()
    reload(scene)
    for pid in old:
        harness.wait_gone(pid)
    took = time.monotonic() - begin
    tap.ok(0.9 < took < SOON, "an old set leaves after reload_grace",
           "it took %.1f s" % took)
    tap.equal(session.sock.recv(10), b"", "its session is closed")
    session.close()
    scene.configure(reload_grace=None)
    reload(scene)


def refusals(tap, scene):
    """What queue refuses is refused as a whole."""
    roles = scene.one_set()
    spool = scene.keys["spool"]
    os.mkdir(scene.path("spool2"), 0o700)
    scene.configure(spool=scene.path("spool2"), max_errors=3)
    line = reload(scene, "refused")
    tap.like(line["error"], r"submitd\.conf:\d+: spool: .* by a "
             r"restart only \(role queue\)",
             "another spool: refused by queue, the log says so")
    alarms = scene.submitctl_json("status")["alarms"]
    tap.equal([(a["what"], a["trouble"]) for a in alarms],
              [("configuration", "reload")], "submitctl status has it")
    tap.like(alarms[0]["text"], "by a restart only", "with the reason")
    tap.equal(scene.one_set(), roles, "no process has changed")
    scene.configure(spool=spool, max_errors=None)
    reload(scene)
    tap.equal(scene.submitctl_json("status")["alarms"], [],
              "a good reload ends the alarm")
    scene.send(message("after the refusal"), password=PASSWORD)
    scene.delivered("after the refusal")


def waiting_clients(tap, scene):
    """Connections that nobody has accepted yet outlive a reload, on a port that
    stays and on one that goes."""
    old_port, new_port = scene.port, harness.free_port()
    fronts = scene.pids("front")
    for pid in fronts:
        os.kill(pid, signal.SIGSTOP)
    kept = socket.create_connection(("127.0.0.1", scene.tls_port), 30)
    gone = socket.create_connection(("127.0.0.1", old_port), 30)
    scene.configure(listen=harness.listeners(new_port))
    reload(scene)
    with scene.tls_context().wrap_socket(
            kept, server_hostname="localhost") as tls:
        tap.like(tls.recv(200).decode(), "^220 ", "a port that stays: who "
                 "waited there is served by the new set")
        scene.port = new_port
        tap.equal(scene.session().noop()[0], 250, "the new port answers")
        for pid in fronts:
            os.kill(pid, signal.SIGCONT)
    tap.like(gone.recv(200).decode(), "^220 ",
             "a port that goes: who waited there is served by the old set")
    gone.close()
    for pid in fronts:
        harness.wait_gone(pid)
    tap.ok(harness.can_bind("127.0.0.1", old_port), "then the port is free")


def stop(tap, scene):
    """SIGTERM: who does nothing is told at once; who never ends is cut off."""
    idle, slow = login(scene), login(scene)
    slow.mail(FROM)
    slow.rcpt(TO)
    slow.docmd("DATA")
    begin = time.monotonic()
    scene.server.terminate()
    tap.equal(idle.getreply()[0], 421, "an idle session gets 421 at once")
    tap.ok(not select.select([slow.sock], [], [], 0)[0],
           "before the others end")
    tap.equal(scene.server.wait(60), 0, "the server ends with status 0")
    took = time.monotonic() - begin
    scene.stop()
    tap.ok(4.9 < took < SOON, "after stop_grace, though a client still sends",
           "it took %.1f s" % took)
    tap.ok(not os.path.exists(scene.path("other.pid")),
           "the pid file is removed")
    idle.close()
    slow.close()


def stop_at_once(tap, scene):
    """A second SIGTERM does not wait; another's pid file stays."""
    scene.configure(stop_grace="1h", pid_file=scene.path("submitd.pid"))
    scene.start()
    with open(scene.path("submitd.pid"), "w", encoding="ascii") as f:
        f.write("1\n")
    slow = login(scene)
    slow.mail(FROM)
    mark = scene.log.mark()
    roles = list(scene.roles())
    scene.server.terminate()
    scene.log.wait(mark, ev="stop")
    scene.server.terminate()
    tap.equal(scene.server.wait(30), 0, "a second SIGTERM ends it at once")
    for pid in roles:
        harness.wait_gone(pid)
    tap.ok(os.path.exists(scene.path("submitd.pid")),
           "a pid file with another process in it stays")
    scene.configure(stop_grace="2s")
    slow.close()
    scene.stop()


# An own process and mount namespace: nothing can be written but the state,
# there is no /dev/log, and the server is process 1 of an ordinary user.
CONTAINER = """
set -e
mount --bind "$1" "$1"
mount -o remount,bind,ro /
for m in $(awk '$5 != "/" && $6 ~ /^rw/ { print $5 }' /proc/self/mountinfo); do
	case $m in "$1"|/proc*|/sys*) ;; *)
		mount -o remount,bind,ro "$m" 2>/dev/null || : ;;
	esac
done
mount -t tmpfs none /dev 2>/dev/null && mknod -m 666 /dev/null c 1 3 &&
    mknod -m 666 /dev/urandom c 1 9
uid=$2
shift 2
exec setpriv --reuid "$uid" --regid "$uid" --clear-groups --no-new-privs \
    --bounding-set=-all --inh-caps=-all "$@"
"""


def container(tap):
    """As an image would run it."""
    if not harness.is_root():
        tap.note("not root: no container")
        return
    with Scene(tap, stop_grace="2s") as scene:
        uid = 64909
        for role in harness.ROLES:
            scene.configure(**{"user_" + role: None})
        scene.configure(
            pid_file=None, chroot_dir=None, spool=scene.path("state/spool"),
            control_socket=scene.path("state/run/control"),
            cert_dir=scene.path("certs"))
        os.mkdir(scene.path("state"))
        os.mkdir(scene.path("state/spool"), 0o700)
        for top in (scene.path("state"), scene.path("certs"),
                    scene.path("data")):
            for where, folders, files in os.walk(top):
                for name in folders + files + ["."]:
                    os.chown(os.path.join(where, name), uid, uid)
        scene.start(("unshare", "--pid", "--fork", "--mount-proc",
                     "--kill-child", "sh", "-c", CONTAINER, "sh",
                     scene.path("state"), str(uid)))
        tap.ok(scene.log.find(ev="start"), "as process 1 of an ordinary user")
        scene.send(message("contained"), password=PASSWORD)
        scene.delivered("contained")
        tap.ok(True, "it takes mail and delivers it")
        init = next(iter(harness.children(scene.server.pid)))
        tap.ok(until(lambda: sorted(harness.roles_of(init).values()) ==
                     sorted(harness.ROLES)), "with all its roles")
        victim = next(p for p, role in harness.roles_of(init).items()
                      if role == "relay")
        os.kill(victim, signal.SIGKILL)
        harness.wait_gone(victim)
        tap.ok(until(lambda: "relay" in harness.roles_of(init).values()),
               "a role that dies is started again")
        with open("/proc/%d/status" % init, encoding="ascii") as f:
            tap.like(f.read(), r"NSpid:\s+\d+\s+1\n", "it is process 1")
        # As init it must collect what others leave behind.
        subprocess.run(("nsenter", "-t", str(init), "-p", "-m", "sh", "-c",
                        "(exec 2>/dev/null; exit 0 & exit 0) & exit 0"),
                       check=True)
        tap.ok(until(lambda: zombies(init) == 0), "it leaves no zombies")
        mark = scene.log.mark()
        os.kill(init, signal.SIGHUP)
        scene.log.wait(mark, ev="reload", result="ok")
        tap.ok(True, "SIGHUP works")
        os.kill(init, signal.SIGTERM)
        scene.log.wait(mark, ev="exit", status="0")
        tap.ok(True, "SIGTERM works")


def zombies(pid):
    """Children that ended and were not waited for."""
    found = 0
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % entry, encoding="ascii",
                      errors="replace") as f:
                state, parent = f.read().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        found += state == "Z" and int(parent) == pid
    return found


def test(tap):
    """All with one server, then one of its own."""
    with Scene(tap, fronts=2, auth_workers=2, stop_grace="5s",
               log_level="debug") as scene:
        with open(scene.path("submitd.pid"), "w", encoding="ascii") as f:
            f.write("4194304\n")
        scene.start()
        for part in (pid_file, sessions_go_on, old_sets, grace, refusals,
                     waiting_clients, stop, stop_at_once):
            part(tap, scene)
    container(tap)


taplib.run(test, deadline=300)
