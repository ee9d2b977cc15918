#!/usr/bin/python3 -B
"""A wrong configuration is refused before anything is bound: exit status 78
and one line with file, line, key, what was wrong and what is expected."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from scene import Scene

EX_CONFIG = 78
FIRST = 'hostname = "mail.play.example"\n'  # line 1 of each file


def replaced(key, value):
    """A change of the good configuration: one key has another value."""
    return lambda scene: {**scene.keys, key: value}


def smarthost(key, value):
    """The same within the section."""
    return lambda scene: {**scene.keys, "smarthost": {
        **scene.keys["smarthost"], key: value}}


# name, new keys, the key that the message names, what it says
VALUES = (
    ("wrong type of number", replaced("max_errors", "many"), "max_errors",
     r'"many".*expected a number from 1 to 10000'),
    ("number too large", replaced("max_errors", 100000), "max_errors",
     r"expected a number from 1 to 10000"),
    ("number too small", replaced("scram_iterations", 1), "scram_iterations",
     r"expected a number from 4096 to 65536"),
    ("time without a number", replaced("retry_min", "soon"), "retry_min",
     r'"soon".*expected a time'),
    ("unknown unit of a size", replaced("max_message_size", "25X"),
     "max_message_size", r'"25X".*expected a size'),
    ("neither yes nor no", replaced("trace_client", "maybe"), "trace_client",
     r'"maybe".*expected yes or no'),
    ("not a word of the list", replaced("bare_newline", "accept"),
     "bare_newline", r"expected one of: reject normalize"),
    ("port 0", replaced("listen", ["127.0.0.1:0"]), "listen",
     r'"127\.0\.0\.1:0".*expected.*port from 1 to 65535'),
    ("port too large", replaced("listen", ["127.0.0.1:65536"]), "listen",
     r"expected.*port from 1 to 65535"),
    ("no port", replaced("listen_tls", ["127.0.0.1"]), "listen_tls",
     r"expected"),
    ("a name where an address is needed", replaced("listen", ["localhost:1"]),
     "listen", r"expected"),
    ("port of the smarthost", smarthost("port", 65536), "smarthost.port",
     r"expected a number from 0 to 65535"),
    ("no such kind of TLS", smarthost("tls", "never"), "smarthost.tls",
     r"expected one of: starttls implicit"),
    ("no smarthost", smarthost("host", ""), "smarthost.host", r"expected"),
    ("user without password", smarthost("user", "relay"), "smarthost.user",
     r"expected user and password_file together"),
    ("level of the log", replaced("log_level", "loud"), "log_level",
     r"expected warning, info or debug"),
    ("nothing to listen on", lambda s: {k: v for k, v in s.keys.items()
                                        if not k.startswith("listen")},
     "listen", r"expected an address"),
    ("no such certificate", replaced("server_cert", "missing.pem"),
     "server_cert", r"missing\.pem cannot be read: No such file.*expected"),
    ("no such key", replaced("server_key", "missing.key"),
     "server_key", r"missing\.key cannot be read: No such file.*expected"),
    ("no such CA", smarthost("ca_file", "/nonexistent/ca.pem"),
     "smarthost.ca_file", r"cannot be read: No such file"),
    ("path of the map is relative", replaced("access_map", "access"),
     "access_map", r'"access".*expected one such as /etc/mail/access'),
    ("no such map", replaced("access_map", "/nonexistent/access"),
     "access_map", r"/nonexistent/access cannot be read: No such file"),
    ("no user store", replaced("users_db", "/nonexistent/users.db"),
     "users_db", r"expected a user store: submitctl init makes one"),
    ("certificate that is none", replaced("server_cert", "server.key"),
     "server_cert", r"."),
    ("key of another certificate", replaced("server_key", "other.key"),
     "server_key", r"(?i)key"),
    ("expired certificate",
     lambda s: {**s.keys, "server_cert": "old.pem", "server_key": "old.key"},
     "server_cert", r"(?i)expired"),
    ("a host name with a blank", replaced("hostname", "a b"), "hostname",
     r"expected letters, digits, dots and hyphens"),
    ("a host name beyond ASCII", replaced("hostname", "m\u00fc.example"),
     "hostname", r"in its xn-- form"),
    ("help beyond ASCII", replaced("help_text", "B\u00fcro 12"), "help_text",
     r"byte 2 .*expected one line"),
    ("help with a tab", replaced("help_url", "https://a\tb"), "help_url",
     r"byte 10 .*expected one line"),
    ("too much help", replaced("help_text", "x" * 401), "help_text",
     r"longer than 400 bytes"),
    ("a list of revocations that is none",
     lambda s: {**s.keys, "ca_cert": "server.pem",
                "crl_file": "server.pem"}, "crl_file", r"no CRL"),
    ("system's CAs for clients",
     replaced("ca_cert", "/etc/ssl/certs/ca-certificates.crt"), "ca_cert",
     r"expected the CA of your own"),
    ("one of them under another name", lambda s: {
        **s.keys, "ca_cert": public_ca(s, "mine.pem")}, "ca_cert",
     r"is a public CA, .*accept_public_cas"),
    ("one of them in a directory", lambda s: {
        **s.keys, "ca_path": os.path.dirname(public_ca(s, "cas/mine.pem"))},
     "ca_path", r"is a public CA, .*accept_public_cas"),
    ("no spool", replaced("spool", ""), "spool",
     r'"".*expected an absolute path such as /var/spool/submitd'),
    ("path of the spool is relative", replaced("spool", "spool"), "spool",
     r'"spool".*expected an absolute path'),
    ("no path of the user store", replaced("users_db", ""), "users_db",
     r'"".*expected an absolute path such as /var/lib/submitd/users\.db'),
    ("no control socket", replaced("control_socket", ""), "control_socket",
     r'"".*expected an absolute path'),
    ("path of the control socket is too long",
     replaced("control_socket", "/run/" + "x" * 110), "control_socket",
     r"expected at most 107 bytes"),
    ("control socket is a file", lambda s: {
        **s.keys, "control_socket": s.conf_file}, "control_socket",
     r"is there and no socket, expected"),
    ("control socket nowhere",
     replaced("control_socket", "/nonexistent/run/control"),
     "control_socket", r"/nonexistent/run cannot be made.*expected a direc"),
    ("no chroot", replaced("chroot_dir", ""), "chroot_dir",
     r'"".*expected an absolute path'),
    ("no cert_dir", replaced("cert_dir", ""), "cert_dir",
     r'"".*expected an absolute path'),
    ("path of the pid file is relative", replaced("pid_file", "x.pid"),
     "pid_file", r'"x\.pid".*expected an absolute path'),
    ("pid file is a directory", lambda s: {
        **s.keys, "pid_file": s.path("certs")}, "pid_file",
     r"is a directory, expected"),
    ("path of PAM's files is relative", lambda s: {
        **s.keys, "pam_service": "x", "pam_confdir": "pam"}, "pam_confdir",
     r'"pam".*expected an absolute path'),
    ("no name of a certificate", replaced("server_cert", ""), "server_cert",
     r"is empty, expected a file"),
    ("no name of a key", replaced("server_key", ""), "server_key",
     r"is empty, expected a file"),
    ("no name of CAs", smarthost("ca_file", ""), "smarthost.ca_file",
     r"is empty, expected a file"),
    ("name of a DNS server", replaced("resolver", "dns.play.example"),
     "resolver", r'"dns\.play\.example" is not valid, expected.*127\.0\.0\.1@'),
    ("port of a DNS server behind a colon",
     replaced("resolver", "127.0.0.1:5353"), "resolver",
     r'"127\.0\.0\.1:5353" is not valid, expected'),
    ("DNS server with port 0", replaced("resolver", "127.0.0.1@0"),
     "resolver", r"expected.*port from 1 to 65535"),
    ("DNS server in brackets", replaced("resolver", "[::1]@53"), "resolver",
     r"expected"),
    ("postmaster without a domain", replaced("postmaster", "postmaster"),
     "postmaster", r'"postmaster" is not valid, expected an address such as'),
    ("postmaster with a line end",
     replaced("postmaster", "pm@play.example\rBcc: x@y.example"),
     "postmaster", r"has a line end.*expected an address"),
    ("postmaster with a name", replaced("postmaster", "PM <pm@y.example>"),
     "postmaster", r"is not valid, expected an address"),
    ("the same address twice",
     replaced("listen", ["127.0.0.1:2525", "127.0.0.1:2525"]), "listen",
     r"127\.0\.0\.1:2525 is in listen already, expected each address once"),
    ("the same address spelled twice",
     replaced("listen", ["[::1]:2525", "[0:0::1]:2525"]), "listen",
     r"\[0:0::1\]:2525 is in listen already"),
    ("one address for both ways to TLS", lambda s: {
        **s.keys, "listen": ["127.0.0.1:2525"],
        "listen_tls": ["127.0.0.1:2525"]}, "listen_tls",
     r"127\.0\.0\.1:2525 is in listen already"),
    ("an address within another", lambda s: {
        **s.keys, "listen": ["*:2525"], "listen_tls": ["[::1]:2525"]},
     "listen_tls", r"\[::1\]:2525 is within \*:2525 of listen"),
    ("another within it", lambda s: {
        **s.keys, "listen": ["127.0.0.1:2525"],
        "listen_tls": ["0.0.0.0:2525"]},
     "listen_tls", r"127\.0\.0\.1:2525 of listen is within 0\.0\.0\.0:2525"),
)



def public_ca(scene, name):
    """A file with our CA and one of the system's; its path."""
    path = scene.path(name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open("/etc/ssl/certs/ca-certificates.crt", encoding="ascii") as f:
        one = f.read().partition("-----END CERTIFICATE-----\n")
    with open(scene.ca.cert, encoding="ascii") as f, \
            open(path, "w", encoding="ascii") as out:
        out.write(f.read() + "".join(one[:2]))
    return path


# name, text of the whole file behind its first line, line, key
TEXTS = (
    ("unknown key", 'no_such_key = "x"\n', 2, "no_such_key"),
    ("unknown key of a section", 'smarthost {\n\tname = "x"\n}\n', 3,
     "(smarthost.)?name"),
    ("key set twice", 'max_errors = 1\nmax_errors = 2\n', 3, "max_errors"),
    ("brace not closed", 'smarthost {\n\thost = "x"\n', None, None),
    ("no value", "max_errors =\n", None, None),
)


def submitd(scene, *options):
    """Runs the server, which is expected to end by itself."""
    return subprocess.run(
        (harness.program("submitd"), "-f", scene.conf_file) + options,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, timeout=30, check=False)


def check_refused(tap, scene, name, key, why, line=None):
    """-n and a start both refuse, with the same one line."""
    said = []
    for option in ("-n", "-d"):
        done = submitd(scene, option)
        tap.equal(done.returncode, EX_CONFIG, "%s: %s: exit status 78"
                  % (name, option))
        said.append(done.stderr)
    tap.equal(said[0], said[1], name + ": the same with -n and -d")
    tap.equal(said[0].count("\n"), 1, name + ": one line")
    tap.like(said[0], r"\A%s:%s: %s" % (
        scene.conf_file, r"\d+" if line is None else line,
        key + ": " if key else ""), name + ": file, line and key")
    tap.like(said[0], why, name + ": what was wrong, what is expected")


def key_line(text, key):
    """Where the key stands in a file: 0 if it does not."""
    section, _, name = key.rpartition(".")
    lines = text.splitlines()
    start = lines.index(section + " {") if section else -1
    for number, line in enumerate(lines):
        if number > start and line.strip().startswith(name + " ="):
            return number + 1
    return 0


def values(tap, scene):
    """Each value that is wrong."""
    good = scene.keys
    for name, change, key, why in VALUES:
        scene.keys = change(scene)
        scene.configure()
        with open(scene.conf_file, encoding="utf-8") as f:
            line = key_line(f.read(), key)
        check_refused(tap, scene, name, key.replace(".", r"\."), why, line)
        scene.keys = good
    scene.configure()


def texts(tap, scene):
    """Each file that is not understood."""
    for name, text, line, key in TEXTS:
        with open(scene.conf_file, "w", encoding="utf-8") as f:
            f.write(FIRST + text)
        check_refused(tap, scene, name, key, ".", line)
    os.unlink(scene.conf_file)
    check_refused(tap, scene, "no file", None, "No such file.*expected")
    scene.configure()


def secrets(tap, scene):
    """Keys that others can read."""
    key = scene.path("certs/server.key")
    for mode in (0o644, 0o640, 0o604):
        os.chmod(key, mode)
        check_refused(tap, scene, "key with mode %04o" % mode, "server_key",
                      r"mode %04o.*expected.*chmod 600 %s" % (mode, key))
    os.chmod(key, 0o600)
    if harness.is_root():
        os.chown(key, 64999, 0)
        check_refused(tap, scene, "key of a stranger", "server_key",
                      r"uid 64999.*expected.*chown")
        os.chown(key, 0, 0)
        return
    os.chmod(key, 0)
    check_refused(tap, scene, "unreadable key", "server_key",
                  r"Permission denied.*expected")
    os.chmod(key, 0o600)


def usage(tap, scene):
    """The command line."""
    done = submitd(scene, "-n")
    tap.equal((done.returncode, done.stderr), (0, ""),
              "-n takes a good configuration")
    tap.ok(harness.can_bind("127.0.0.1", scene.port)
           and not os.path.exists(scene.path("run/control")),
           "-n binds nothing")
    tap.equal(submitd(scene, "-y").returncode, 64, "unknown option: 64")
    tap.equal(submitd(scene, "word").returncode, 64, "a word too many: 64")
    done = submitd(scene, "-V")
    tap.like(done.stdout, r"\Asubmitd \d+\.\d+", "-V prints the version")


def busy_port(tap, scene):
    """A port that is taken is named, too."""
    with harness.socket.create_server(("127.0.0.1", scene.port)):
        done = submitd(scene, "-d")
    tap.equal(done.returncode, EX_CONFIG, "busy port: exit status 78")
    tap.like(done.stderr, r"submitd\.conf:2: listen: .*127\.0\.0\.1:%d.*in use"
             % scene.port, "busy port: the message names key and address")


def test(tap):
    """No server runs in this test."""
    with Scene(tap, smarthost=False) as scene:
        scene.route_to(harness.free_port())
        other = scene.ca.issue("other", "other")
        old = scene.ca.issue("old", "old", days=-1)
        for source, name in ((other.key, "other.key"), (old.cert, "old.pem"),
                             (old.key, "old.key")):
            os.rename(source, scene.path("certs", name))
        for part in (usage, values, texts, secrets, busy_port):
            part(tap, scene)


taplib.run(test)
