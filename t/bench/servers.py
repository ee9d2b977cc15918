"""The servers that are measured, and the programs around them.

Each server has: port (STARTTLS), pid (of the process that started the others),
start(), stop(), and route(port): where its smarthost is, from the next start
on. A constructor that can't make the server says why in an exception.
"""

import base64
import glob
import hashlib
import hmac
import json
import os
import socket
import signal
import statistics
import subprocess
import time

import harness
import jail
import procs

USER, PASSWORD = "bench", "benchmark password"
FROM = "bench@example.org"
SIZE_LIMIT = 20 << 20
HERE = os.path.dirname(os.path.abspath(__file__))


class Program:
    """One of our own: it prints its port, and counters in the end."""

    def __init__(self, command):
        self.process = procs.spawn(command, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise RuntimeError(command[0] + " does not start")
        self.port = int(line)

    def finish(self):
        """Ends it; its counters."""
        self.process.terminate()
        counters = self.process.stdout.read()
        self.process.wait()
        return json.loads(counters.splitlines()[-1])


class Sink(Program):
    """The smarthost, which also serves as the barest submission server."""

    def __init__(self, bench, name):
        self.ids_file = bench.path(name + ".ids")
        self.seen = 0
        super().__init__((bench.program("sink"), "--cert", bench.pair.cert,
                          "--key", bench.pair.key, "--ids", self.ids_file))

    def counters(self):
        """Counters as of now."""
        self.process.send_signal(signal.SIGUSR1)
        return json.loads(self.process.stdout.readline())

    def new_ids(self):
        """The ids that came since the last call."""
        with open(self.ids_file, encoding="ascii") as f:
            f.seek(self.seen)
            lines = f.readlines()
            self.seen = f.tell()
        return [line.split()[0] for line in lines]


class Delay(Program):
    """A smarthost that is far away."""

    def __init__(self, bench, port, ms=25):
        super().__init__((bench.program("delay"), "--to",
                          "127.0.0.1:%d" % port, "--ms", str(ms)))

    def round_trip_ms(self, tries=9):
        """How far away it is."""
        times = []
        with socket.create_connection(("127.0.0.1", self.port), 10) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            s.recv(1000)
            for _ in range(tries):
                began = time.monotonic()
                s.sendall(b"NOOP\r\n")
                s.recv(1000)
                times.append((time.monotonic() - began) * 1000)
        return statistics.median(times)


# One user sends everything: what people may send is no matter here.
MUCH = {"limit_" + what: 100000000 for what in (
    "messages_hour", "messages_day", "recipients_hour", "recipients_day",
    "new_recipients_day")} | {"limit_sessions": 100000}


class Submitd:
    """Our server with its defaults, but for the limits of a user. Its name
    may tell which build: submitd@DIRECTORY."""

    pipelining = queues = many = cold = True

    def __init__(self, bench, build):
        self.name, self.build, self.pid = bench.label(build), build, None
        self.extra_users = 0
        self.place = harness.Playground()
        try:
            self.place.build = build or None
            self.port = self.place.port
            self.place.install_certificate(bench.pair)
            self.place.configure(fronts=None, auth_workers=None,
                                 retry_min=None, **MUCH)
            self.ca_file = bench.ca.cert
            self.route(bench.sink.port)
            self.place.init()
            self.place.add_user(USER, PASSWORD, FROM)
            self.start()
        except BaseException:
            self.stop()
            self.remove()
            raise

    def version(self):
        """Which it is."""
        return subprocess.run((self.place.program("submitd"), "-V"),
                              text=True, stdout=subprocess.PIPE,
                              check=True).stdout.strip()

    def route(self, port):
        """Where the smarthost is."""
        self.place.route_to(port, host="127.0.0.1", ca_file=self.ca_file)

    def start(self):
        """Starts it, its log a file."""
        with open(self.place.path("submitd.log"), "ab") as log:
            self.place.spawn(stderr=log, preexec_fn=harness.with_parent)
        self.pid = self.place.server.pid
        self.place.ready()

    def add_users(self, count):
        """bench0, bench1 and so on, all with the same password and the same
        record, which is as costly as any."""
        if self.extra_users >= count:
            return
        names = ["%s%d" % (USER, n) for n in range(self.extra_users, count)]
        record = scram_record(PASSWORD)
        passwd = self.place.path("more.passwd")
        with open(passwd, "w", encoding="ascii") as f:
            f.writelines("%s:{SCRAM-SHA-256}%s\n" % (name, record)
                         for name in names)
        self.place.submitctl("user", "import", "--format", "dovecot", passwd)
        for name in names:
            self.place.submitctl("address", "add", name, FROM)
        self.extra_users = count

    def stop(self):
        """Ends it."""
        self.place.stop()

    def remove(self):
        """Takes its directory away."""
        self.place.remove()

    def where(self):
        """Its directory."""
        return self.place.directory


def scram_record(password, iterations=32768):
    """A record of a password as Dovecot writes it, with our default work."""
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)

    def keyed(text):
        return hmac.digest(salted, text, "sha256")

    stored = hashlib.sha256(keyed(b"Client Key")).digest()
    return ",".join([str(iterations)] + [
        base64.b64encode(b).decode()
        for b in (salt, stored, keyed(b"Server Key"))])


class Peer:
    """What the other servers have in common."""

    pipelining = queues = True
    many = False  # one process for each connection: not for 10,000
    cold = False  # its passwords cost nothing: it has no cold cache

    def __init__(self, bench, _build):
        self.bench, self.pid = bench, None
        self.folder = bench.path(self.name)
        self.port = harness.free_port()
        self.setup()
        self.route(bench.sink.port)
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    def version(self):
        """The version of its package, from the name of the file."""
        files = glob.glob(os.path.join(self.bench.cache,
                                       self.package + "_*.deb"))
        return os.path.basename(files[0])[:-4] if files else ""

    def remove(self):
        """Its directory is a part of the run's."""

    def where(self):
        """Its directory."""
        return self.folder


class Postfix(Peer):
    """The Debian package with its defaults, but for limits on processes and
    sizes, which would forbid some scenarios."""

    name = package = "postfix"

    def setup(self):
        """Unpacks it."""
        self.unpacked = self.bench.path("postfix.pkg")
        jail.shell('postfix_unpack "$1" "$2" sasl2-bin', self.unpacked,
                   self.bench.cache)

    def route(self, port):
        """Where the smarthost is."""
        self._shell("postfix_setup", self.folder, "submission",
                    "127.0.0.1:%d" % self.port, self.bench.pair.cert,
                    self.bench.pair.key, "relayhost=[127.0.0.1]:%d" % port,
                    "smtp_tls_security_level=secure",
                    "smtp_tls_secure_cert_match=localhost",
                    "smtp_tls_CAfile=" + self.bench.ca.cert,
                    "default_process_limit=1200",
                    "message_size_limit=%d" % SIZE_LIMIT)
        self._shell("postfix_adduser", self.folder, USER,
                    given=PASSWORD + "\n")

    def _shell(self, *command, given=""):
        return jail.shell('POSTFIX_ROOT=$1; shift; "$@"', self.unpacked,
                          *command, given=given)

    def start(self):
        """Starts it; its log is the file maillog."""
        self._shell("postfix_start", self.folder)
        self.pid = int(self._shell("postfix_pids", self.folder).split()[0])

    def stop(self):
        """Ends it."""
        self._shell("postfix_stop", self.folder)


class Jailed(Peer):
    """A server in a root directory of its own."""

    def setup(self):
        """Unpacks it, and gives it what it must not share with us."""
        self.process = None
        self.jail = jail.Jail(self.folder, self.bench.cache, self.packages,
                              self.users)
        self.jail.copy(self.bench.ca.cert, "etc/ca.pem")
        self.jail.copy(self.bench.pair.cert, "etc/cert.pem")
        self.jail.copy(self.bench.pair.key, "etc/key.pem", 0o600)

    def start(self):
        """Starts it."""
        self.process = self.jail.start(*self.command, log=self.log(),
                                       **self.environment)
        self.pid = self.process.pid
        try:
            procs.wait_greeting(self.process, self.port)
        except RuntimeError as e:
            with open(self.log(), encoding="utf-8", errors="replace") as f:
                last = f.read().splitlines()[-1:]
            raise RuntimeError(": ".join([str(e)] + last)) from e

    def log(self):
        """Where it complains."""
        return self.bench.path(self.name + ".log")

    def stop(self):
        """Ends it."""
        if self.process:
            procs.end(self.process)


class Opensmtpd(Jailed):
    """OpenSMTPD as Debian has it, with smtpd_fix.c, and without the pauses
    between connections to one host that it makes for the sake of strangers."""

    name = package = "opensmtpd"
    packages, users = ("opensmtpd",), ("opensmtpd", "opensmtpq")
    command = ("/usr/sbin/smtpd", "-d", "-f", "/etc/smtpd.conf")
    environment = {"LD_PRELOAD": "/etc/smtpd_fix.so"}
    pipelining, many = False, True
    CONF = """\
mta limit conn-delay-route 0 reconn-delay-route 0 conn-delay-relay 0
smtp max-message-size %d
pki bench cert "/etc/cert.pem"
pki bench key "/etc/key.pem"
table passwords file:/etc/passwords
listen on 127.0.0.1 port %d tls-require pki bench auth <passwords> \\
    hostname localhost
action out relay host "smtp+tls://localhost:%d"
match auth from any for any action out
"""

    def setup(self):
        """Paths, CA and passwords of its own."""
        super().setup()
        os.makedirs(self.jail.path("var/lib/opensmtpd/empty"))
        # This one is compiled in.
        self.jail.copy(self.bench.ca.cert,
                       "etc/ssl/certs/ca-certificates.crt")
        subprocess.run(
            ("cc", "-shared", "-fPIC", "-O2", "-o",
             self.jail.path("etc/smtpd_fix.so"),
             os.path.join(HERE, "smtpd_fix.c")), check=True)
        self.jail.write("etc/aliases", "")
        # The oldest hash of crypt(3) costs a few microseconds.
        record = subprocess.run(
            ("perl", "-e", 'print crypt($ARGV[0], "xx")', PASSWORD),
            stdout=subprocess.PIPE, text=True, check=True).stdout
        self.jail.write("etc/passwords", "%s %s\n" % (USER, record))

    def route(self, port):
        """Where the smarthost is."""
        self.jail.write("etc/smtpd.conf",
                        self.CONF % (SIZE_LIMIT, self.port, port))


class Dovecot(Jailed):
    """Dovecot's submission server: a proxy, it has no queue. Limits on
    processes are raised, and processes serve more than one session."""

    name, package = "dovecot", "dovecot-submissiond"
    packages = ("dovecot-core", "dovecot-submissiond")
    users = ("dovecot", "dovenull")
    command = ("/usr/sbin/dovecot", "-F", "-c", "/etc/dovecot.conf")
    environment = {}
    queues = False
    CONF = """\
base_dir = /run/dovecot
state_dir = /var/lib/dovecot
log_path = /var/log/dovecot.log
import_environment = TZ CORE_OUTOFMEM CORE_ERROR LD_LIBRARY_PATH
hostname = localhost
listen = 127.0.0.1
protocols = submission
mail_location = maildir:/tmp/mail
first_valid_uid = 1
ssl = required
ssl_cert = </etc/cert.pem
ssl_key = </etc/key.pem
ssl_client_ca_file = /etc/ca.pem
submission_relay_host = localhost
submission_relay_port = %(relay)d
submission_relay_ssl = starttls
submission_relay_ssl_verify = yes
submission_max_mail_size = %(size)d
auth_mechanisms = plain
passdb {
  driver = passwd-file
  args = /etc/passwords
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=/tmp
}
default_process_limit = 1200
default_client_limit = 4000
mail_max_userip_connections = 0
service submission-login {
  service_count = 0
  process_min_avail = %(cores)d
  inet_listener submission {
    port = %(port)d
  }
}
service submission {
  service_count = 1000
  process_limit = 1200
}
"""

    def setup(self):
        """Passwords of its own, in clear: nothing is cheaper."""
        super().setup()
        self.jail.write("etc/passwords", "%s:{PLAIN}%s\n" % (USER, PASSWORD))

    def route(self, port):
        """Where the smarthost is."""
        self.jail.write("etc/dovecot.conf", self.CONF % {
            "relay": port, "port": self.port, "size": SIZE_LIMIT,
            "cores": os.cpu_count()})


class Bare:
    """No server at all: the sink itself takes the sessions. It shows what TLS,
    the load program and this machine allow to one process."""

    name = "bare"
    pipelining = many = True
    queues = cold = False

    def __init__(self, bench, _build):
        self.bench, self.sink, self.pid, self.port = bench, None, None, None
        self.start()

    def version(self):
        """It has none."""
        return ""

    def start(self):
        """Starts it."""
        self.sink = Sink(self.bench, "bare")
        self.port, self.pid = self.sink.port, self.sink.pid

    def stop(self):
        """Ends it."""
        self.sink.finish()

    def remove(self):
        """Nothing is left."""

    def where(self):
        """Its directory."""
        return self.bench.path()


KINDS = {"submitd": Submitd, "postfix": Postfix, "opensmtpd": Opensmtpd,
         "dovecot": Dovecot, "bare": Bare}
