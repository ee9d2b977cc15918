"""A private submitd for tests and for the quickstart.

Playground makes a new directory below /tmp with everything submitd needs (a
CA, certificates, configuration, user store, spool), starts the server on free
ports of the loopback address, and takes all of it away again. As root the
roles get numeric users of their own, so that /etc/passwd is not touched;
otherwise all run as the caller.
"""

import ctypes
import glob
import json
import os
import random
import re
import select
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import tempfile
import time

from certs import CA
from logs import Log
from tap import SLOW, VALGRIND

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
ROLES = ("front", "auth", "queue", "relay", "resolver")
FIRST_UID = 64901  # the users of the roles, in the order of ROLES
PR_SET_PDEATHSIG = 1
SANITIZER = re.compile(r"(ERROR|WARNING): \w*Sanitizer|runtime error: ")
SANDBOX = re.compile(r"ev=sandbox .*(syscall|action)=|signal=%d"
                     % signal.SIGSYS)
IN_NEW = 0x100 | 0x80  # IN_CREATE, IN_MOVED_TO


def is_root():
    """Whether the roles can have users of their own."""
    return os.geteuid() == 0


def build_dir():
    """Where the programs were built: given, or here, or build/."""
    for folder in (os.environ.get("SUBMITD_BUILD"), os.getcwd(),
                   os.path.join(TOP, "build")):
        if folder and os.access(os.path.join(folder, "submitd/submitd"),
                                os.X_OK):
            return os.path.abspath(folder)
    raise RuntimeError("no built submitd; contrib/check or contrib/quickstart "
                       "makes one")


def program(name):
    """The path of one of our programs."""
    return os.path.join(build_dir(), "submitd", name)


def is_sanitized():
    """Whether the programs were built with sanitizers."""
    with open(program("submitd"), "rb") as f:
        return b"__asan_init" in f.read()


def valgrind(folder):
    """What to put before a program to have its memory checked; complaints go
    to files of a folder, one for each process."""
    if not VALGRIND:
        return ()
    # it lets no process lower its own limit of descriptors
    return ("prlimit", "--nofile=256:256", shutil.which("valgrind"), "-q",
            "--trace-children=yes", "--vgdb=no",
            "--child-silent-after-fork=yes", "--leak-check=full",
            "--show-leak-kinds=definite", "--num-callers=30",
            "--suppressions=" + os.path.join(TOP, "t/valgrind.supp"),
            "--log-file=" + os.path.join(folder, "%p"))


def can_bind(address, port):
    """Whether somebody could listen there now."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((address, port))
            return True
    except OSError:
        return False


def loopback():
    """The loopback addresses that this machine has."""
    return [a for a in ("127.0.0.1", "::1") if can_bind(a, 0)]


def free_port(wish=0):
    """A port nobody listens on: the one wished for, if it is free.

    Others are outside the range the kernel takes for outgoing connections.
    """
    addresses = loopback()
    port = wish or random.randrange(10000, 32000)
    while not all(can_bind(a, port) for a in addresses):
        port = random.randrange(10000, 32000)
    return port


def listeners(port):
    """The values of a listen key for one port of the loopback addresses."""
    return [("[%s]:%d" if ":" in a else "%s:%d") % (a, port)
            for a in loopback()]


def with_parent():
    """For a new process: end when the process that made it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def wait_gone(pid, timeout=30):
    """Waits until a process that may not be our child has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(timeout * SLOW * 1000):
            raise TimeoutError("process %d does not end" % pid)
    finally:
        os.close(fd)


def until(condition, timeout=30):
    """Waits for something that nobody reports; whether it came."""
    end = time.monotonic() + timeout * SLOW
    while not condition():
        if time.monotonic() > end:
            return False
        select.select((), (), (), 0.05)
    return True


def wait_files(folder, pattern, count, timeout=30):
    """Waits until a folder has so many files that match; their paths."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_CLOEXEC)
    try:
        if libc.inotify_add_watch(watch, os.fsencode(folder), IN_NEW) == -1:
            raise OSError(ctypes.get_errno(), "can't watch " + folder)
        poll = select.poll()
        poll.register(watch, select.POLLIN)
        end = time.monotonic() + timeout * SLOW
        while True:
            found = glob.glob(os.path.join(folder, pattern))
            if len(found) >= count:
                return found
            left = end - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise TimeoutError("%s has %d files, not %d"
                                   % (folder, len(found), count))
            os.read(watch, 65536)
    finally:
        os.close(watch)


def children(pid):
    """Children of a process as {pid: command line}."""
    found = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % entry, encoding="ascii",
                      errors="replace") as f:
                state, parent = f.read().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                with open("/proc/%s/cmdline" % entry, "rb") as f:
                    found[int(entry)] = f.read().decode().split("\0")[:-1]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def roles_of(pid):
    """The running roles of a parent: {pid: name}."""
    return {child: command[command.index("-x") + 1]
            for child, command in children(pid).items()
            if "-x" in command[:-1]}


def conf_value(value):
    """A value as it stands in the configuration file."""
    if isinstance(value, (list, tuple)):
        return "{%s}" % ", ".join(conf_value(v) for v in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    return '"%s"' % value.replace("\\", "\\\\").replace('"', '\\"')


def conf_text(keys):
    """A dictionary as a configuration file; a dictionary in it is a section,
    a list of dictionaries as many sections of one name."""
    lines = []
    for key, value in keys.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines += [conf_text({key: one}).rstrip("\n") for one in value]
        elif isinstance(value, dict):
            lines += ["%s {" % key]
            lines += ["\t" + line for line in conf_text(value).splitlines()]
            lines += ["}"]
        elif value is not None:
            lines += ["%s = %s" % (key, conf_value(value))]
    return "\n".join(lines) + "\n"


class Playground:
    """A directory, its files, and the server that runs on them."""

    wish_port = wish_tls_port = 0  # taken if free
    build = None  # a build directory other than build_dir()
    binary = None         # another program in the place of submitd
    breaks_rules = False  # the test makes roles do what they must not

    def __init__(self, tap=None, **keys):
        """keys change the configuration; None takes a key out."""
        self.tap = tap
        self.directory = tempfile.mkdtemp(prefix="submitd-")
        os.chmod(self.directory, 0o711)
        self.conf_file = self.path("submitd.conf")
        self.log = Log(self.path("log"))
        self.server = None
        self.roles_seen = set()
        self.ca = CA(self.path("ca"))
        self.keys = self._default_keys()
        try:
            self._make_folders()
            self.configure(**keys)
        except BaseException:
            self.remove()
            raise

    def path(self, *names):
        """A path in the playground."""
        return os.path.join(self.directory, *names)

    def program(self, name):
        """The path of the server or of submitctl."""
        return os.path.join(self.build or build_dir(), "submitd", name)

    def _server_program(self):
        """submitd; for valgrind, which makes system calls that its filters
        forbid, the one without filters."""
        if self.binary:
            return self.binary
        if VALGRIND:
            return os.path.join(build_dir(), "t/unfiltered")
        return self.program("submitd")

    def __enter__(self):
        return self

    def __exit__(self, kind, _value, _traceback):
        self.stop()
        self.log.end()
        if self.tap:
            self._look_at_memory()
            for line in self.log.lines:
                if SANITIZER.search(line):
                    self.tap.ok(False, "no sanitizer complains", line)
                if SANDBOX.search(line) and not self.breaks_rules:
                    self.tap.ok(False, "no role is refused a system call",
                                line)
            if kind is not None or self.tap.failed:
                for line in self.log.tail():
                    self.tap.note("log: " + line)
        self.remove()

    def _look_at_memory(self):
        """What valgrind complains of; a process without a fault is silent."""
        folder = self.path("valgrind")
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), encoding="utf-8",
                      errors="replace") as f:
                text = f.read()
            # it does not know all calls; what was said of them begins with --
            text = "".join(line for line in text.splitlines(True)
                           if not line.startswith("--"))
            if text:
                self.tap.ok(False, "no process misuses memory", text)

    # The files.

    def _default_keys(self):
        self.port = free_port(self.wish_port)
        self.tls_port = free_port(self.wish_tls_port)
        keys = {
            "hostname": "mail.play.example",
            "listen": listeners(self.port),
            "listen_tls": listeners(self.tls_port),
            "fronts": 1,
            "auth_workers": 1,
            "users_db": self.path("data/users.db"),
            "spool": self.path("spool"),
            "control_socket": self.path("run/control"),
            "pid_file": self.path("submitd.pid"),
            "chroot_dir": self.path("empty"),
            "cert_dir": self.path("certs"),
            "server_cert": "server.pem",
            "server_key": "server.key",
            "retry_min": "1s",
            "error_delay": "1ms",
        }
        if is_root():
            for n, role in enumerate(ROLES):
                uid = FIRST_UID + n
                keys["user_" + role] = "%d:%d" % (uid, uid)
        return keys

    def uid(self, role):
        """The numeric user of a role."""
        return FIRST_UID + ROLES.index(role) if is_root() else os.geteuid()

    def _make_folders(self):
        """What neither submitctl init nor a server started by root makes."""
        os.mkdir(self.path("certs"), 0o700)
        os.mkdir(self.path("valgrind"), 0o700)
        if not is_root():
            os.mkdir(self.path("spool"), 0o700)
        pair = self.ca.issue("server", "mail.play.example",
                             "DNS:localhost,DNS:mail.play.example,"
                             "IP:127.0.0.1,IP:::1")
        self.install_certificate(pair)

    def install_certificate(self, pair):
        """Makes this the server's certificate."""
        shutil.copy(pair.cert, self.path("certs/server.pem"))
        shutil.copy(pair.key, self.path("certs/server.key"))

    def configure(self, **keys):
        """Changes keys and writes the configuration file."""
        for key, value in keys.items():
            if isinstance(value, dict):
                merged = {**self.keys.get(key, {}), **value}
                self.keys[key] = {k: v for k, v in merged.items()
                                  if v is not None}
            elif value is None:
                self.keys.pop(key, None)
            else:
                self.keys[key] = value
        with open(self.conf_file, "w", encoding="utf-8") as f:
            f.write(conf_text(self.keys))

    def route_to(self, port, **keys):
        """Names the smarthost: localhost at a port, trusted under our CA."""
        self.configure(smarthost={"host": "localhost", "port": port,
                                  "ca_file": self.ca.cert, **keys})

    def remove(self):
        """Takes the directory away."""
        shutil.rmtree(self.directory, ignore_errors=True)

    # The store.

    def submitctl(self, *args, given="", check=True):
        """Runs submitctl; returns its CompletedProcess with texts."""
        done = subprocess.run(
            valgrind(self.path("valgrind")) +
            (self.program("submitctl"), "-f", self.conf_file) + args,
            input=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, timeout=60 * SLOW, check=False)
        if check and done.returncode != 0:
            raise RuntimeError("submitctl %s: exit %d: %s%s" % (
                " ".join(args), done.returncode, done.stdout, done.stderr))
        return done

    def submitctl_json(self, *args):
        """What submitctl --json says."""
        return json.loads(self.submitctl("--json", *args).stdout)

    def init(self):
        """Makes the empty store."""
        self.submitctl("init")

    def add_user(self, name, password=None, address=None):
        """A user with a password who owns an address (name@play.example)."""
        if password is None:
            self.submitctl("user", "add", name, "--no-password")
        else:
            self.submitctl("user", "add", name, "--password-stdin",
                           given=password + "\n")
        self.submitctl("address", "add", name,
                       address or name + "@play.example")

    def add_device(self, user, label, mapped=True):
        """A client certificate, mapped to the user by its fingerprint."""
        pair = self.ca.issue(label, label)
        if mapped:
            self.submitctl("cert", "add", user, pair.sha256())
        return pair

    # The server.

    def start(self, command=(), deadline=30, **keys):
        """Starts submitd, its log to be followed here, and waits for it.

        command is put before it, to start it as somebody else; keys are for
        Popen.
        """
        mark = self.log.mark()
        self.spawn(command, stderr=subprocess.PIPE, preexec_fn=with_parent,
                   **keys)
        self.log.follow(self.server.stderr)
        self.log.wait(mark, deadline, ev="ready")
        return self

    def spawn(self, command=(), **keys):
        """Starts submitd in the foreground, without waiting for anything."""
        self.server = subprocess.Popen(
            tuple(command) + valgrind(self.path("valgrind")) +
            (self._server_program(), "-f", self.conf_file, "-d"),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **keys)

    def ready(self, deadline=30):
        """Waits for the greeting, or for the server's end."""
        end = time.monotonic() + deadline * SLOW
        while True:
            try:
                self.session().close()
                return
            except (OSError, smtplib.SMTPException):
                if time.monotonic() > end:
                    raise
            try:
                self.server.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            raise RuntimeError("submitd has ended with status %s"
                               % self.server.returncode)

    def roles(self):
        """The running roles: {pid: name}."""
        found = roles_of(self.server.pid)
        self.roles_seen.update(found)
        return found

    def lasting(self):
        """The running roles but store, which comes and goes."""
        return {p: role for p, role in self.roles().items()
                if role != "store"}

    def one_set(self):
        """Waits until the roles from before a reload are gone; {pid: name} of
        those that are left."""
        many = {"front": self.keys["fronts"],
                "auth": self.keys["auth_workers"]}

        def alone():
            names = list(self.lasting().values())
            return all(names.count(role) == many.get(role, 1)
                       for role in set(names) | set(ROLES))
        if not until(alone):
            raise TimeoutError("more than one set: %s" % self.lasting())
        return self.lasting()

    def pids(self, role):
        """The process ids of one role."""
        return [pid for pid, name in self.roles().items() if name == role]

    def kill(self, role, sig=signal.SIGKILL):
        """Sends a signal to all processes of a role and waits for their end."""
        pids = [self.server.pid] if role == "parent" else self.pids(role)
        for pid in pids:
            os.kill(pid, sig)
        for pid in pids:
            if pid == self.server.pid:
                self.server.wait(30 * SLOW)
            else:
                wait_gone(pid)
        return pids

    def kill_again(self, role):
        """The same, once there is one, however long it takes."""
        if not until(lambda: self.pids(role), 90):
            raise TimeoutError(role + " was not started again")
        return self.kill(role)

    def reload(self):
        """Asks for the configuration to be read anew."""
        self.old_fronts = self.pids("front")
        os.kill(self.server.pid, signal.SIGHUP)

    def settled(self, timeout=30):
        """Waits, after a reload, until the fronts from before it are gone.

        Until they have heard of their end they may take a few connections
        more. To be used with no session open: they wait for those.
        """
        for pid in self.old_fronts:
            wait_gone(pid, timeout)

    def stop(self, timeout=30):
        """Ends the server and all its roles; returns its exit status."""
        if self.server is None:
            return None
        try:
            if self.server.poll() is None:
                self.roles()
                self.server.terminate()
            status = self.server.wait(timeout * SLOW)
        except subprocess.TimeoutExpired:
            self.server.kill()
            status = self.server.wait()
        for pid in self.roles_seen:
            wait_gone(pid)
        self.roles_seen.clear()
        self.server = None
        return status

    # Clients.

    def tls_context(self, device=None):
        """A client's view of TLS: our CA, perhaps a certificate."""
        context = ssl.create_default_context(cafile=self.ca.cert)
        if device is not None:
            context.load_cert_chain(device.cert, device.key)
        return context

    def session(self, timeout=30):
        """A connection to the STARTTLS port, before TLS."""
        return smtplib.SMTP("127.0.0.1", self.port, local_hostname="laptop",
                            timeout=timeout * SLOW)

    def tls_session(self, device=None, implicit=False, timeout=30):
        """A connection after TLS; the other port has it from the start."""
        context = self.tls_context(device)
        if implicit:
            session = smtplib.SMTP_SSL("127.0.0.1", self.tls_port,
                                       local_hostname="laptop",
                                       timeout=timeout * SLOW,
                                       context=context)
        else:
            session = self.session(timeout)
            session.starttls(context=context)
        session.ehlo()
        return session

    def send(self, message, user="ann", password="correct horse", device=None,
             sender=None, to="bo@example.net"):
        """Submits one message; a refusal is an exception."""
        with self.tls_session(device) as session:
            if password is not None:
                session.login(user, password)
            return session.sendmail(sender or user + "@play.example", to,
                                    message)
