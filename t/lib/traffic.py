"""Load for tests that need much of it: the load program and the sink of
t/bench, with an account of every message, and sessions that last."""

import json
import os
import re
import select
import signal
import smtplib
import socket
import subprocess
import sys
import threading
import time
from collections import Counter

import harness
from scene import PASSWORD, Scene, message
from tap import SLOW

LONG = os.environ.get("SUBMITD_LONG") == "1"  # make check-long
FROM, TO = "ann@play.example", "bo@example.net"
WITNESS = "127.0.0.9"


def bench(name):
    """The path of a program of t/bench."""
    return os.path.join(harness.build_dir(), "t/bench", name)


class Sink:
    """A smarthost that takes everything and writes down which."""

    def __init__(self, scene):
        self.ids_file = scene.path("sink.ids")
        pair = scene.good
        self.process = subprocess.Popen(
            (bench("sink"), "--cert", pair.cert, "--key", pair.key, "--ids",
             self.ids_file), stdout=subprocess.PIPE, text=True,
            preexec_fn=harness.with_parent)
        self.port = int(self.process.stdout.readline())

    def counters(self):
        """Its counters, once its list is complete."""
        self.process.send_signal(signal.SIGUSR1)
        return json.loads(self.process.stdout.readline())

    def arrivals(self):
        """How often each message came: {id: number}."""
        self.counters()
        with open(self.ids_file, encoding="ascii") as f:
            return Counter(line.split()[0] for line in f)

    def stop(self):
        """Ends it."""
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


class Traffic:
    """Clients at work in the background, batch after batch; what they were
    told is kept."""

    def __init__(self, scene, **options):
        """options are those of the load program: sessions=100 of a batch."""
        self.scene = scene
        self.options = {"concurrency": 8, "sessions": 40, "size": 2048,
                        "messages_per_session": 2, "auth": "plain",
                        **options}
        self.changed = threading.Condition()
        self.acknowledged = []
        self.sessions = self.batches = 0
        self.errors = Counter()
        self.stopping = False
        self.running = None
        self.thread = threading.Thread(target=self._run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.stopping = True
        with self.changed:
            if kind is not None and self.running:
                self.running.kill()
        self.thread.join()

    def _run(self):
        while not self.stopping:
            self.batch()

    def batch(self, **options):
        """One run of the load program; its report."""
        self.batches += 1
        run = "r%d" % self.batches
        ids = self.scene.path("load.%s.ids" % run)
        command = [bench("load"), "--port", str(self.scene.port), "--name",
                   "localhost", "--user", "ann", "--from", FROM,
                   "--pipelining", "--json", "--run", run, "--ids", ids,
                   "--timeout", "60"]
        for key, value in {**self.options, **options}.items():
            command.append("--" + key.replace("_", "-"))
            if value is not None:  # else it is a flag
                command.append(str(value))
        self.running = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, env={**os.environ, "BENCH_PASSWORD": PASSWORD})
        text = self.running.communicate()[0]
        report = json.loads(text) if text else {"errors": {}, "sessions": 0}
        with open(ids, encoding="ascii") as f:
            told = f.read().split()
        os.unlink(ids)
        with self.changed:
            self.running = None
            self.acknowledged += told
            self.sessions += report["sessions"]
            for what, number in report["errors"].items():
                self.errors[what] += number if isinstance(number, int) \
                    else number.get("count", 1)
            self.changed.notify_all()
        return report

    def goes_on(self, count=40, timeout=60):
        """Waits for so many more acknowledged messages; whether they came."""
        end = time.monotonic() + timeout * SLOW
        with self.changed:
            goal = len(self.acknowledged) + count
            while len(self.acknowledged) < goal:
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self.changed.wait(left)
        return True


# One user sends all of it: more than users may by default.
UNLIMITED = dict.fromkeys(
    ["limit_" + what for what in (
        "messages_hour", "messages_day", "recipients_hour", "recipients_day",
        "new_recipients_day", "sessions", "suspend_new_recipients",
        "suspend_failed_recipients", "suspend_refused_messages")], 0)


class LoadScene(Scene):
    """A scene with a sink as its smarthost."""

    def __init__(self, tap, connections=None, **keys):
        self.sink = None
        super().__init__(tap, smarthost=False, **UNLIMITED, **keys)
        try:
            self.sink = Sink(self)
            self.route_to(self.sink.port, connections=connections)
        except BaseException:
            self.remove()
            raise

    def remove(self):
        """Ends the sink, too."""
        if self.sink is not None:
            self.sink.stop()
        super().remove()

    def account(self, tap, acknowledged, doubles=0, timeout=60):
        """All that was acknowledged arrives, at most so many twice."""
        wanted = set(acknowledged)
        end = time.monotonic() + timeout * SLOW
        while True:
            arrivals = self.sink.arrivals()
            missing = wanted - set(arrivals)
            if not missing or time.monotonic() > end:
                break
            pause(0.1)
        tap.ok(not missing, "%d messages were acknowledged, all arrive"
               % len(wanted), "missing: %s" % sorted(missing)[:20])
        twice = {i: n for i, n in arrivals.items() if n > 1 and i != "-"}
        extra = sum(twice.values()) - len(twice)
        tap.ok(extra <= doubles, "%d came twice, %d at most" %
               (extra, doubles), "twice: %s" % sorted(twice)[:20])
        return extra


def pause(seconds):
    """Some time, where nothing reports what is waited for; the test's own
    deadline counts on."""
    select.select((), (), (), seconds)


def has_peer(pid, port, address="127.0.0.1"):
    """Whether a process has a connection from there."""
    peer = "%08X:%04X" % (int.from_bytes(socket.inet_aton(address),
                                         sys.byteorder), port)
    with open("/proc/net/tcp", encoding="ascii") as f:
        rows = [line.split() for line in f][1:]
    inodes = {row[9] for row in rows if row[2] == peer}
    try:
        entries = os.listdir("/proc/%d/fd" % pid)
    except FileNotFoundError:
        return False
    for fd in entries:
        try:
            target = os.readlink("/proc/%d/fd/%s" % (pid, fd))
        except FileNotFoundError:
            continue
        if target.startswith("socket:[") and target[8:-1] in inodes:
            return True
    return False


class Witness:
    """A session that was there before, and must be there afterwards."""

    def __init__(self, scene):
        self.scene = scene
        self.why = ""
        mark = scene.log.mark()
        # an address of its own tells it from all others in the log
        self.session = smtplib.SMTP(
            "127.0.0.1", scene.port, local_hostname="laptop",
            timeout=60 * SLOW, source_address=(WITNESS, 0))
        self.session.starttls(context=scene.tls_context())
        self.session.login("ann", PASSWORD)
        port = self.session.sock.getsockname()[1]
        front = [p for p in scene.pids("front") if has_peer(p, port, WITNESS)]
        auth = scene.log.wait(mark, ev="auth", addr=WITNESS)["pid"]
        self.served_by = set(front) | {auth}

    def lives(self, timeout=60):
        """Whether it can submit; refusals for now are waited out. If not, why
        says what happened."""
        end = time.monotonic() + timeout * SLOW
        while time.monotonic() < end:
            try:
                self.session.sendmail(FROM, TO, message("witness"))
                return True
            except smtplib.SMTPServerDisconnected as e:
                self.why += " " + repr(e)
                return False
            except smtplib.SMTPResponseException as e:
                self.why = repr(e)
                if e.smtp_code == 421 or e.smtp_code >= 500:
                    return False
            except smtplib.SMTPRecipientsRefused as e:
                self.why = repr(e)
            pause(0.1)
        return False

    def close(self):
        """Ends it."""
        self.session.close()


def pss_kib(pid):
    """Proportional set size of a process; 0 when it is gone."""
    try:
        with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as f:
            return int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M)[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
