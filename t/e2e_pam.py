#!/usr/bin/python3 -B
"""Passwords that PAM judges: real stacks in a private directory, a module of
our own for what real ones do only now and then, and pam_unix with files of its
own when run as root."""

import base64
import contextlib
import os
import re
import shutil
import smtplib
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from scene import PASSWORD, Scene, message

SECRET = "secret"  # of all users of the test module
SHADOW = 64942     # the group that may read our shadow file
BROKER = "64910:%d" % SHADOW


def reply(answer):
    """A reply as one text."""
    code, text = answer
    return "%d %s" % (code, text.decode())


def plain(user, password):
    """AUTH PLAIN with everything in it."""
    return "AUTH PLAIN " + base64.b64encode(
        ("\0%s\0%s" % (user, password)).encode()).decode()


class PamScene(Scene):
    """A server whose passwords PAM judges; as root the broker is an ordinary
    user in a group of its own."""

    def __init__(self, tap, stacks, **keys):
        self.stacks = stacks
        keys.setdefault("password_backend", "pam")
        keys.setdefault("auth_fail_delay", "1ms")
        if harness.is_root():
            keys.setdefault("pam_user", BROKER)
        super().__init__(tap, **keys)

    def _make_folders(self):
        super()._make_folders()
        for name in ("pam", "notes"):
            os.mkdir(self.path(name))
            os.chmod(self.path(name), 0o755)
        if harness.is_root():
            os.chown(self.path("notes"), 64910, SHADOW)
        for name, lines in self.stacks(self).items():
            with open(self.path("pam", name), "w", encoding="ascii") as f:
                f.write("".join(line + "\n" for line in lines))
        self.configure(pam_confdir=self.path("pam"))

    def login(self, user, password=SECRET):
        """The reply to AUTH PLAIN in a session of its own."""
        with self.tls_session() as session:
            session.ehlo()
            return reply(session.docmd(plain(user, password)))

    def use(self, **keys):
        """Changes keys and waits until they hold."""
        mark = self.log.mark()
        self.configure(**keys)
        self.reload()
        event = self.log.wait(mark, ev="reload")
        if event.get("result") != "ok":
            raise RuntimeError(event["text"])
        self.settled()


def build_module(scene):
    """Our module as a shared object; its path."""
    path = scene.path("pam_test.so")
    subprocess.run(
        ("gcc", "-shared", "-fPIC", "-o", path, os.path.join(
            harness.TOP, "t/pam_test_module.c"), "-lpam"), check=True)
    os.chmod(path, 0o755)
    return path


def userdb(scene):
    """A database of one user for pam_userdb; its path without .db."""
    path = scene.path("pam", "users")
    subprocess.run(("db_load", "-T", "-t", "hash", path + ".db"),
                   input=b"ann\nsecret\n", check=True)
    os.chmod(path + ".db", 0o644)
    return path


def stacks(scene):
    """The services."""
    module = build_module(scene)
    return {
        "permit": ["auth required pam_permit.so",
                   "account required pam_permit.so"],
        "deny": ["auth required pam_deny.so", "account required pam_deny.so"],
        "noaccount": ["auth required pam_permit.so",
                      "account required pam_deny.so"],
        "userdb": ["auth required pam_userdb.so crypt=none db="
                   + userdb(scene), "account required pam_permit.so"],
        "missing": ["auth required pam_of_nobody.so",
                    "account required pam_permit.so"],
        "test": ["auth required %s %s" % (module, scene.path("notes/pid")),
                 "account required " + module],
    }


# service, user, password, beginning of the reply
REAL = (
    ("permit", "ann", "anything", "235 2.7.0"),
    ("permit", "nobody", "anything", "535 5.7.8"),
    ("permit", "root", "anything", "535 5.7.8"),
    ("permit", "closed", "anything", "535 5.7.8"),
    ("permit", "ann@play.example", "anything", "235 2.7.0"),
    ("deny", "ann", SECRET, "535 5.7.8"),
    ("noaccount", "ann", SECRET, "535 5.7.8"),
    ("userdb", "ann", SECRET, "235 2.7.0"),
    ("userdb", "ann", "secret1", "535 5.7.8"),
    ("userdb", "ann", PASSWORD, "535 5.7.8"),
    ("userdb", "bob", SECRET, "535 5.7.8"),
    ("missing", "ann", SECRET, "454 4.7.0"),
)


def real_modules(tap, scene):
    """Modules of the system; each service comes by a reload."""
    for service, user, password, want in REAL:
        if scene.keys["pam_service"] != service:
            scene.use(pam_service=service)
        tap.like(scene.login(user, password), "^" + want,
                 "%s: %s with %s: %s" % (service, user, password, want))
    scene.use(pam_service="test")


# user, password, beginning of the reply, words of the log or None
MODULE = (
    ("ann", SECRET, "235 2.7.0", None),
    ("ann", "Tr0ub4dor", "535 5.7.8", "Authentication failure"),
    ("rhost", SECRET, "235 2.7.0", None),
    ("expired", SECRET, "535 5.7.8", "account: "),
    ("locked", SECRET, "535 5.7.8", "account: "),
    ("stale", SECRET, "535 5.7.8", "account: "),
    ("system", SECRET, "454 4.7.0", "account: "),
    ("broken", SECRET, "454 4.7.0", "authentication: "),
    ("crash", SECRET, "454 4.7.0", "died"),
    ("quits", SECRET, "454 4.7.0", "died"),
    ("otp", SECRET + "123456", "535 5.7.8", None),
    ("otp", SECRET, "454 4.7.0", "see pam_otp"),
    ("greedy", SECRET, "454 4.7.0", "see pam_otp"),
    ("rename", SECRET, "535 5.7.8", "changed the user"),
    ("ann", "s" * 3000, "535 5.7.8", None),
    ("ann", "", "535 5.7.8", None),
)


def test_module(tap, scene):
    """What the module does, and what becomes of it."""
    for user, password, want, words in MODULE:
        mark = scene.log.mark()
        got = scene.login(user, password)
        name = "module: %s with %.12s: %s" % (user, password, want)
        tap.like(got, "^" + want, name)
        if words:
            scene.log.wait(mark, ev="pam", user=user, detail=re.compile(words))
            tap.ok(True, name + ": the log knows why")
    lines = "\n".join(scene.log.lines)
    tap.unlike(lines, "Tr0ub4dor|123456", "the log has no password")


def no_delay(tap, scene):
    """The module asks for a minute's delay; nobody waits."""
    began = time.monotonic()
    tap.like(scene.login("ann", "wrong"), "^535",
             "a failure with a delay of a minute")
    tap.ok(time.monotonic() - began < 30, "nobody waits for that")


def one_time_code(tap, scene):
    """The digits at the end of the password."""
    scene.use(pam_otp=True)
    for password, want in ((SECRET + "123456", "235 2.7.0"),
                           (SECRET + "654321", "535 5.7.8"),
                           (SECRET, "535 5.7.8"),
                           ("wrong123456", "535 5.7.8")):
        tap.like(scene.login("otp", password), "^" + want,
                 "code of 6 digits: %s: %s" % (password, want))
    tap.like(scene.login("ann", SECRET + "000000"), "^235",
             "a module that does not ask for the code")
    scene.use(pam_otp_digits=4)
    tap.like(scene.login("otp", SECRET + "123456"), "^535",
             "code of 4 digits: 6 are too many")
    scene.use(pam_otp=False)


def deadline(tap, scene):
    """A module that does not return is killed; others are served meanwhile."""
    note = scene.path("notes/pid")
    scene.use(pam_timeout="3s")
    with scene.tls_session() as session:
        session.ehlo()
        session.putcmd(plain("slow", SECRET))
        pid = read_pid(scene, note)
        tap.like(scene.login("ann"), "^235", "another login does not wait")
        tap.like(reply(session.getreply()), "^454 4.7.0",
                 "a login that takes too long: 454")
        harness.wait_gone(pid)
        tap.ok(True, "its process is gone")
        tap.like(reply(session.docmd(plain("ann", SECRET))), "^235",
                 "the session can try again")
    os.unlink(note)
    tap.like(scene.login("children"), "^235", "a module that leaves a child")
    # The group was killed before the answer: what the child had to say of
    # itself it has said, or never will.
    with contextlib.suppress(FileNotFoundError, ValueError):
        with open(note, encoding="ascii") as f:
            harness.wait_gone(int(f.read()))
    tap.ok(True, "the child is gone")
    scene.use(pam_timeout="20s")


def read_pid(scene, note):
    """Waits until a process has said who it is."""
    while True:
        harness.wait_files(scene.path("notes"), "pid", 1)
        with open(note, encoding="ascii") as f:
            text = f.read()
        if text.endswith("\n"):
            return int(text)


def client_leaves(tap, scene):
    """Nobody is there for the answer; and a broker that dies."""
    note = scene.path("notes/pid")
    if os.path.exists(note):
        os.unlink(note)
    session = scene.tls_session()
    session.ehlo()
    session.putcmd(plain("slow", SECRET))
    read_pid(scene, note)
    session.sock.close()
    tap.like(scene.login("ann"), "^235", "a client that left is no trouble")
    os.unlink(note)
    with scene.tls_session() as session:
        session.ehlo()
        session.putcmd(plain("slow", SECRET))
        pid = read_pid(scene, note)
        mark = scene.log.mark()
        scene.kill("pam")
        tap.like(reply(session.getreply()), "^454 4.7.0",
                 "the broker dies: 454")
        harness.wait_gone(pid)
        tap.ok(True, "its processes end with it")
    scene.log.wait(mark, ev="role", role="parent", state="gone")
    while not scene.login("ann").startswith("235"):
        continue
    tap.ok(True, "a new broker takes its place")


def backends(tap, scene):
    """Each user may have another judge."""
    scene.submitctl("user", "set", "ann", "--backend", "store")
    tap.like(scene.login("ann", SECRET), "^535",
             "backend store: PAM's password is wrong")
    tap.like(scene.login("ann", PASSWORD), "^235",
             "backend store: the store's is right")
    tap.equal(scene.submitctl_json("user", "show", "ann")["backend"],
              "store", "submitctl user show tells it")
    scene.submitctl("user", "set", "ann", "--backend", "saslauthd")
    tap.like(scene.login("ann", SECRET), "^454",
             "backend saslauthd, which is not configured: 454")
    scene.submitctl("user", "set", "ann", "--backend", "default")
    tap.like(scene.login("ann", PASSWORD), "^535",
             "backend default: the store's password is nobody's")
    with scene.tls_session() as session:
        session.ehlo()
        tap.equal(session.esmtp_features["auth"].split(),
                  ["PLAIN", "LOGIN"], "SCRAM is not offered with PAM")
    scene.use(password_backend="store")
    scene.submitctl("user", "set", "rhost", "--backend", "pam")
    tap.like(scene.login("rhost"), "^235", "one user with PAM")
    tap.like(scene.login("ann", PASSWORD), "^235", "the others with the store")
    scene.use(password_backend="pam")


def mail(tap, scene):
    """All the way, with the classic LOGIN."""
    with scene.tls_session() as session:
        session.user, session.password = "ann", SECRET
        session.auth("LOGIN", session.auth_login)
        session.sendmail("ann@play.example", "bo@example.net",
                         message("by PAM"), ["BODY=8BITMIME"])
    scene.delivered("by PAM")
    tap.ok(True, "a mail after LOGIN goes through")


def nobody_known(tap, scene):
    """Unknown names take as long as a wrong password, and PAM hears nothing
    of them."""
    mark = scene.log.mark()
    with scene.tls_session() as session:
        session.ehlo()
        replies = {reply(session.docmd(plain(user, password)))
                   for user, password in (("ann", "no"), ("nobody", "no"),
                                          ("closed", SECRET))}
    tap.equal(len(replies), 1, "wrong, unknown, disabled: the same reply")
    asked = {e.get("user") for e in scene.log.all(mark, ev="pam")}
    tap.equal(asked, {"ann"}, "PAM is asked about users only")


def took(scene, user, password):
    """The reply to a login, and after how many ms it came."""
    with scene.tls_session() as session:
        session.ehlo()
        began = time.monotonic()
        said = reply(session.docmd(plain(user, password)))
        return said, (time.monotonic() - began) * 1000


def soonest(scene):
    """How long a refusal takes at least, in ms; the machine may be busy."""
    return min(took(scene, "nobody", "x")[1] for _ in range(5))


def as_slow_as_any(tap):
    """One user whose judge is slow: all refusals take as long, from every
    worker, also after a restart; without that judge they do no more."""
    with PamScene(tap, stacks, pam_service="test", smarthost=False,
                  password_backend="store", auth_fail_delay="50ms",
                  auth_workers=3, throttle_exempt="127.0.0.1") as scene:
        scene.add_user("tardy")
        scene.submitctl("user", "set", "tardy", "--backend", "pam")
        scene.add_user("off", SECRET)
        scene.submitctl("user", "set", "off", "--state", "disabled")
        scene.route_to(9)
        scene.start()
        others = (("nobody", "x"), ("ann", "x"), ("off", SECRET)) * 4
        tap.ok(soonest(scene) < 400, "before: soon")
        said, ms = took(scene, "tardy", "x")
        tap.ok(ms >= 400, "a slow judge", ms)
        seen = [took(scene, user, password) for user, password in others]
        tap.equal({text for text, _ in seen}, {said}, "one reply to all")
        tap.ok(all(ms >= 400 for _, ms in seen),
               "all take as long, from every worker", seen)
        scene.stop()
        scene.start()
        seen = [took(scene, user, password)[1] for user, password in others]
        tap.ok(all(ms >= 400 for ms in seen),
               "after a restart as well", seen)
        scene.submitctl("user", "set", "tardy", "--backend", "default")
        scene.use(pam_service="")
        tap.ok(soonest(scene) < 400, "without that judge: soon again")
        tap.equal(scene.stop(), 0, "ends with status 0")


def ill(tap, scene):
    """Where users hear that their judge is ill, names of nobody do, too."""
    scene.use(pam_service="missing")
    tap.like(scene.login("ann"), "^454", "a service that is broken: 454")
    tap.like(scene.login("nobody"), "^454", "for nobody's name, too")
    scene.use(pam_service="test")
    tap.like(scene.login("nobody"), "^535", "a sound one: 535")


# keys, words of the refusal
WRONG = (
    ({"pam_service": ""}, "password_backend: is pam"),
    ({"pam_service": "no-such"}, "pam_service: .*No such file"),
    ({"pam_service": "../test"}, "pam_service: .* path"),
    ({"pam_user": "no-such-user"}, "pam_user: "),
    ({"pam_timeout": "5m"}, "pam_timeout: "),
    ({"password_backend": "saslauthd"}, "saslauthd_socket is not set"),
)


def refused(tap, scene):
    """Mistakes that submitd -n finds."""
    for keys, words in WRONG:
        if "pam_user" in keys and not harness.is_root():
            continue
        before = {key: scene.keys.get(key) for key in keys}
        scene.configure(**keys)
        done = subprocess.run(
            (harness.program("submitd"), "-n", "-f", scene.conf_file),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=30, check=False)
        tap.ok(done.returncode == 78, "%s is refused" % keys)
        tap.like(done.stdout, words, "%s: the reason is told" % keys)
        scene.configure(**before)


def hashed(password):
    """As it stands in /etc/shadow."""
    return subprocess.run(("openssl", "passwd", "-6", password), text=True,
                          stdout=subprocess.PIPE, check=True).stdout.strip()


# user, password, fields of shadow after the hash, hash is locked, reply
UNIX = (
    ("ann", SECRET, "19000:0:99999:7:::", "", "235 2.7.0"),
    ("ann", "wrong", None, "", "535 5.7.8"),
    ("expired", SECRET, "19000:0:99999:7::19001:", "", "535 5.7.8"),
    ("locked", SECRET, "19000:0:99999:7:::", "!", "535 5.7.8"),
    ("stale", SECRET, "0:0:99999:7:::", "", "535 5.7.8"),
    ("rhost", SECRET, None, "", "535 5.7.8"),  # not in these files
)


def unix_stacks(scene):
    """The service of pam_unix, and its files."""
    with open(scene.path("passwd"), "w", encoding="ascii") as passwd, \
            open(scene.path("shadow"), "w", encoding="ascii") as shadow:
        passwd.write("root:x:0:0::/:/bin/sh\n")
        shadow.write("root:*:19000::::::\n")
        for n, (user, password, rest, lock, _) in enumerate(UNIX):
            if rest is not None:
                passwd.write("%s:x:%d:64999::/:/bin/sh\n" % (user, 64950 + n))
                shadow.write("%s:%s%s:%s\n" % (user, lock, hashed(password),
                                               rest))
    os.chmod(scene.path("passwd"), 0o644)
    os.chmod(scene.path("shadow"), 0o640)
    os.chown(scene.path("shadow"), 0, SHADOW)
    return {"unix": ["auth required pam_unix.so",
                     "account required pam_unix.so"]}


def pam_unix(tap):
    """pam_unix with our own passwd and shadow, in a private mount
    namespace."""
    with PamScene(tap, unix_stacks, pam_service="unix") as scene:
        for user in ("expired", "locked", "stale", "rhost"):
            scene.add_user(user)
        scene.start(("unshare", "-m", "sh", "-c",
                     "mount --bind %s /etc/passwd && "
                     "mount --bind %s /etc/shadow && exec \"$@\"" % (
                         scene.path("passwd"), scene.path("shadow")), "sh"))
        for user, password, _, _, want in UNIX:
            tap.like(scene.login(user, password), "^" + want,
                     "pam_unix: %s with %s: %s" % (user, password, want))


def test(tap):
    """All of it."""
    with PamScene(tap, stacks, pam_service="permit") as scene:
        for user in sorted({row[0] for row in MODULE} - {"ann"}
                           | {"slow", "children", "bob"}):
            scene.add_user(user)
        scene.add_user("closed", SECRET)
        scene.submitctl("user", "set", "closed", "--state", "disabled")
        scene.start()
        tap.equal(len(scene.pids("pam")), 1, "the role pam runs")
        real_modules(tap, scene)
        test_module(tap, scene)
        for part in (no_delay, mail, nobody_known, one_time_code, deadline,
                     client_leaves, backends, ill, refused):
            part(tap, scene)
        tap.equal(scene.stop(), 0, "ends with status 0")
    as_slow_as_any(tap)
    if harness.is_root() and shutil.which("unshare"):
        pam_unix(tap)


if shutil.which("db_load") is None:
    taplib.skip_all("db_load is not installed (package db-util)")
if not os.path.exists("/usr/include/security/pam_modules.h"):
    taplib.skip_all("PAM's headers are not installed (libpam0g-dev)")
taplib.run(test)
