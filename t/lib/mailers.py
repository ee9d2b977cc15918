"""Mail programs, all driven in the same way: send(letter, server) logs in with
a password under verified TLS. A program that fails is a Failed with what it
said. None reads or writes settings of whoever runs the test.

takes_raw() tells whether a program sends the bytes it is given, so that they
are known, or composes the message by itself.
"""

import json
import os
import shutil
import smtplib
import ssl
import subprocess
import urllib.parse

NODE_MODULES = "/usr/share/nodejs"  # where Debian's node packages are
HANGS_S = 600  # perl takes its time for 20 MB, on a busy machine even more

NODEMAILER = """
const mailer = require("nodemailer");
const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
mailer.createTransport(given.server).sendMail(given.mail).catch((error) => {
	console.log(error.message);
	process.exitCode = 1;
});
"""


class Failed(Exception):
    """The program did not send the message."""


class Server:
    """Where to send to, and as whom."""

    def __init__(self, port, tls_port, ca, user, password):
        self.port, self.tls_port = port, tls_port
        self.ca, self.user, self.password = ca, user, password

    def at(self, implicit):
        """The port."""
        return self.tls_port if implicit else self.port


class Mailer:
    """What all programs have in common."""

    name = ""
    utf8 = True  # knows SMTPUTF8
    says = ""    # if not: what the user reads then

    def __init__(self, folder):
        """folder: for files of its own; is made."""
        self.folder = folder
        os.makedirs(folder)
        self.environment = {
            **{name: value for name, value in os.environ.items()
               if not name.lower().endswith("_proxy")},
            "HOME": folder, "TERM": "dumb", "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1"}

    @classmethod
    def installed(cls):
        """Whether it is there."""
        return shutil.which(cls.name) is not None

    @staticmethod
    def takes_raw(_letter):
        """Whether it sends the bytes of the letter."""
        return True

    def write(self, name, data):
        """A file of the program's own; its path."""
        path = os.path.join(self.folder, name)
        with open(path, "wb") as f:
            f.write(data)
        return path

    def run(self, command, given=b""):
        """Runs the program."""
        try:
            done = subprocess.run(command, input=given, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=HANGS_S,
                                  check=False, cwd=self.folder,
                                  env=self.environment)
        except subprocess.TimeoutExpired as e:
            raise Failed("no end within %d s" % HANGS_S) from e
        if done.returncode != 0:
            raise Failed("exit %d: %s" % (
                done.returncode, done.stdout.decode("utf-8", "replace")[:900]))


class Msmtp(Mailer):
    """Reads lines that end with LF; told not to touch the header."""

    name = "msmtp"
    utf8 = False
    says = r"5\.6\.7"

    def send(self, letter, server):
        """From its standard input."""
        self.run(["msmtp", "-C", "/dev/null", "--host=localhost",
                  "--port=%d" % server.at(letter.implicit), "--tls=on",
                  "--tls-starttls=" + ("off" if letter.implicit else "on"),
                  "--tls-trust-file=" + server.ca, "--auth=plain",
                  "--user=" + server.user,
                  "--passwordeval=cat " + self.write(
                      "password", server.password.encode() + b"\n"),
                  "--set-date-header=off", "--set-msgid-header=off",
                  "--remove-bcc-headers=off",
                  "--from=" + letter.sender, "--"] + letter.recipients,
                 letter.raw().replace(b"\r\n", b"\n"))


class Swaks(Mailer):
    """Reads lines that end with LF, and ends the last by itself."""

    name = "swaks"
    utf8 = False
    says = r"5\.6\.7"

    @staticmethod
    def takes_raw(letter):
        """It takes away a dot on the last line, and adds an empty line to an
        empty body."""
        return letter.kind not in ("leading dots", "empty body")

    def send(self, letter, server):
        """From a file."""
        file = self.write("message", letter.raw().replace(b"\r\n", b"\n")[:-1])
        self.run(["swaks", "--server", "localhost", "--port",
                  str(server.at(letter.implicit)), "--silent", "2",
                  "--tls-on-connect" if letter.implicit else "--tls",
                  "--tls-verify", "--tls-ca-path", server.ca,
                  "--auth", "PLAIN", "--auth-user", server.user,
                  "--auth-password", server.password,
                  "--from", letter.sender,
                  "--to", ",".join(letter.recipients), "--data", "@" + file])


class Curl(Mailer):
    """Sends a file as it is, or parts that it makes a message of."""

    name = "curl"
    @staticmethod
    def takes_raw(letter):
        """Attachments are made by curl."""
        return letter.kind != "attachments"

    def parts(self, letter):
        """A composed message: arguments."""
        text = self.write("text", letter.body.encode())
        command = ["-F", "=<%s;encoder=quoted-printable" % text]
        for file in letter.files:
            command += ["-F", "=@%s;encoder=base64" % file]
        for field in letter.fields():
            command += ["-H", "%s: %s" % field]
        return command

    def send(self, letter, server):
        """From a file."""
        command = ["curl", "-sS", "--cacert", server.ca, "--login-options",
                   "AUTH=PLAIN", "--user",
                   "%s:%s" % (server.user, server.password),
                   "--mail-from", letter.sender]
        for recipient in letter.recipients:
            command += ["--mail-rcpt", recipient]
        if self.takes_raw(letter):
            command += ["--upload-file", self.write("message", letter.raw())]
        else:
            command += self.parts(letter)
        if letter.implicit:
            command += ["smtps://localhost:%d/laptop" % server.tls_port]
        else:
            command += ["--ssl-reqd",
                        "smtp://localhost:%d/laptop" % server.port]
        self.run(command)


class Snail(Mailer):
    """Debian's s-nail composes."""

    name = "s-nail"
    utf8 = False
    says = r"invalid +address\(es\): '\u00c4nn <\u00e4nn@"

    @staticmethod
    def takes_raw(_letter):
        """Never."""
        return False

    def send(self, letter, server):
        """All by variables."""
        quoted = "%s:%s@localhost:%d" % (
            urllib.parse.quote(server.user, safe=""),
            urllib.parse.quote(server.password, safe=""),
            server.at(letter.implicit))
        variables = ["v15-compat=y", "smtp-auth=plain",
                     "mta=%s://%s" % ("smtps" if letter.implicit else "smtp",
                                      quoted),
                     "tls-ca-file=" + server.ca, "tls-ca-no-defaults",
                     "tls-verify=strict", "ttycharset=utf-8",
                     "sendcharsets=utf-8", "mime-encoding=8bit",
                     "from=%s <%s>" % (letter.names[0], letter.sender),
                     "sendwait", "nosave", "expandaddr=fail"]
        if not letter.implicit:
            variables.append("smtp-use-starttls")
        command = ["s-nail", "-:/", "-s", letter.subject]
        for variable in variables:
            command += ["-S", variable]
        for file in letter.files:
            command += ["-a", file]
        self.run(command + ["-."] + letter.recipients, letter.body.encode())


class Mutt(Mailer):
    """mutt composes."""

    name = "mutt"

    @staticmethod
    def takes_raw(_letter):
        """Never."""
        return False

    def send(self, letter, server):
        """All by a file of settings."""
        keys = {"smtp_url": "%s://%s@localhost:%d/" % (
                    "smtps" if letter.implicit else "smtp", server.user,
                    server.at(letter.implicit)),
                "smtp_pass": server.password, "smtp_authenticators": "plain",
                "ssl_starttls": "yes", "ssl_force_tls": "yes",
                "ssl_verify_host": "yes", "certificate_file": server.ca,
                "from": letter.sender, "realname": letter.names[0],
                "use_envelope_from": "yes",
                "envelope_from_address": letter.sender, "copy": "no",
                "hostname": "laptop.example", "charset": "utf-8",
                "send_charset": "us-ascii:utf-8", "allow_8bit": "yes",
                "idn_encode": "no", "use_domain": "no"}
        settings = self.write("muttrc", "".join(
            'set %s="%s"\n' % pair for pair in keys.items()).encode())
        command = ["mutt", "-n", "-F", settings, "-s", letter.subject]
        if letter.files:
            command += ["-a"] + list(letter.files)
        self.run(command + ["--"] + letter.recipients, letter.body.encode())


class GitSendEmail(Mailer):
    """git send-email takes a file and writes the fields on top anew."""

    name = "git send-email"
    utf8 = False
    says = r"5\.6\.7"

    @classmethod
    def installed(cls):
        """A package of its own, and what it needs of Perl."""
        return subprocess.run(("perl", "-MMail::Address", "-MAuthen::SASL",
                               "-MIO::Socket::SSL", "-e", ""),
                              stderr=subprocess.DEVNULL,
                              check=False).returncode == 0 and \
            os.path.exists("/usr/lib/git-core/git-send-email")

    @staticmethod
    def takes_raw(_letter):
        """Never quite."""
        return False

    def send(self, letter, server):
        """A file like those of git format-patch."""
        patch = self.write("0001.patch", letter.raw(("To", "Bcc")).replace(
            b"\r\n", b"\n"))
        command = ["git", "-c", "user.name=Ann", "-c",
                   "user.email=" + letter.sender, "send-email",
                   "--quiet", "--no-validate", "--confirm=never",
                   "--suppress-cc=all",
                   "--smtp-server=localhost", "--smtp-domain=laptop.example",
                   "--smtp-server-port=%d" % server.at(letter.implicit),
                   "--smtp-encryption=" + ("ssl" if letter.implicit
                                           else "tls"),
                   "--smtp-ssl-cert-path=" + server.ca, "--smtp-auth=PLAIN",
                   "--smtp-user=" + server.user,
                   "--smtp-pass=" + server.password,
                   "--from=%s <%s>" % (letter.names[0], letter.sender),
                   "--transfer-encoding=8bit", "--8bit-encoding=utf-8"]
        self.run(command + ["--to=" + r for r in letter.recipients] + [patch])


class Smtplib(Mailer):
    """Python's own."""

    name = "Python smtplib"

    @classmethod
    def installed(cls):
        """With Python."""
        return True

    def send(self, letter, server):
        """Bytes are sent as they are."""
        context = ssl.create_default_context(cafile=server.ca)
        options = {"local_hostname": "laptop.example", "timeout": HANGS_S}
        try:
            if letter.implicit:
                session = smtplib.SMTP_SSL("localhost", server.tls_port,
                                           context=context, **options)
            else:
                session = smtplib.SMTP("localhost", server.port, **options)
            with session:
                if not letter.implicit:
                    session.starttls(context=context)
                session.login(server.user, server.password)
                session.sendmail(letter.sender, letter.recipients,
                                 letter.raw(), ["BODY=8BITMIME"] +
                                 (["SMTPUTF8"] if letter.utf8 else []))
        except (smtplib.SMTPException, OSError) as e:
            raise Failed(str(e)) from e


class Nodemailer(Mailer):
    """Composes, but for what it would encode."""

    name = "nodemailer"

    @classmethod
    def installed(cls):
        """A module of node."""
        return shutil.which("node") is not None and \
            os.path.exists(os.path.join(NODE_MODULES, cls.name))

    @staticmethod
    def takes_raw(letter):
        """Given as it is: what is about bytes."""
        return letter.kind in ("8-bit body", "lines of 998 bytes",
                               "leading dots")

    def mail(self, letter):
        """The message as nodemailer wants it."""
        envelope = {"from": letter.sender, "to": letter.recipients}
        if self.takes_raw(letter):
            return {"envelope": {**envelope, "use8BitMime": True},
                    "raw": letter.raw().decode()}
        mail = {"envelope": envelope, "subject": letter.subject,
                "text": letter.body, "from": {"name": letter.names[0],
                                              "address": letter.sender},
                "to": [{"name": letter.names[1], "address": r}
                       for r in letter.recipients],
                "attachments": [{"path": file} for file in letter.files]}
        if letter.bare:
            mail["bcc"] = "hidden@example.net"
        return mail

    def send(self, letter, server):
        """A small program reads what to do."""
        given = {"server": {"host": "localhost", "name": "laptop.example",
                            "port": server.at(letter.implicit),
                            "secure": letter.implicit, "requireTLS": True,
                            "authMethod": "PLAIN",
                            "auth": {"user": server.user,
                                     "pass": server.password}},
                 "mail": self.mail(letter)}
        self.environment.update(NODE_PATH=NODE_MODULES,
                                NODE_EXTRA_CA_CERTS=server.ca)
        self.run(["node", "-e", NODEMAILER], json.dumps(given).encode())


MAILERS = (Msmtp, Swaks, Curl, Snail, Mutt, GitSendEmail, Smtplib, Nodemailer)
