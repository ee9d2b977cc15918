#!/usr/bin/python3 -B
"""contrib/from-sendmail and contrib/from-postfix: what they take from sample
configurations (t/migrate) is what submitd then works with, and what they can't
take they say. The server starts with what they made."""

import os
import re
import shutil
import smtplib
import stat
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

import harness
import tap as taplib
from harness import Playground

SAMPLES = os.path.join(harness.TOP, "t", "migrate")
EX_USAGE, EX_DATAERR, EX_NOINPUT, EX_CANTCREAT = 64, 65, 66, 73


class Old(Playground):
    """A folder with the configuration of another mail system."""

    def __init__(self, tap):
        super().__init__(tap)
        ca = self.path("certs/CAcert.pem")
        shutil.copy(self.ca.cert, ca)
        os.mkdir(self.path("certs/cas"))
        shutil.copy(self.ca.cert, self.path("certs/cas/one.pem"))
        for name, cert, key in (("old", "mycert.pem", "mykey.pem"),
                                ("oldclient", "client.pem", "client.key")):
            pair = self.ca.issue(name, name, "DNS:localhost,IP:127.0.0.1")
            shutil.copy(pair.cert, self.path("certs", cert))
            shutil.copy(pair.key, self.path("certs", key))
        self.printer = self.ca.issue("printer", "printer")
        for name in os.listdir(SAMPLES):
            with open(os.path.join(SAMPLES, name), encoding="utf-8") as f:
                text = f.read()
            self.put(name, text)

    def put(self, name, text):
        """A sample with its names replaced."""
        digest = self.printer.sha256().upper()
        pairs = ":".join(re.findall("..", digest))
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text.replace("@DIR@", self.directory)
                    .replace("@FINGERPRINT@", pairs))

    def migrate(self, program, source, *options):
        """Runs one of the programs."""
        sets = []
        if harness.is_root():
            for n, role in enumerate(harness.ROLES):
                uid = harness.FIRST_UID + n
                sets += ["--set", "user_%s=%d:%d" % (role, uid, uid)]
        return subprocess.run(
            ("python3", "-B", os.path.join(harness.TOP, "contrib", program),
             self.path(source)) + options + tuple(sets),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, timeout=60, check=False,
            cwd=self.directory, env={
                **os.environ, "SUBMITCTL": harness.program("submitctl")})

    def conf(self, out):
        """{key: value} of the configuration that was made."""
        with open(self.path(out, "submitd.conf"), encoding="utf-8") as f:
            text = f.read()
        found, section = {}, ""
        for line in text.splitlines():
            match = re.match(r"\s*(\w+) = (.*)", line)
            if line.endswith("{"):
                section = line.split()[0] + "."
            elif match:
                found[section + match[1]] = match[2].strip('"')
        return found


def has_keys(tap, old, out, name, wanted):
    """The configuration has these values; None: not the key."""
    conf = old.conf(out)
    for key, value in wanted.items():
        if value is not None:
            value = re.sub("^@", old.path("certs"), value)
        tap.equal(conf.get(key), value, "%s: %s" % (name, key))


def says(tap, name, text, *patterns):
    """The report has all of this."""
    for pattern in patterns:
        tap.like(text, pattern, "%s: says: %s" % (name, pattern))


def begin(old, out):
    """The playground is now the server that was made; it starts."""
    old.conf_file = old.path(out, "submitd.conf")
    with open(old.conf_file, encoding="utf-8") as f:
        text = f.read()
    more = {k: v for k, v in old.keys.items() if k in (
        "listen", "listen_tls", "spool", "control_socket", "chroot_dir",
        "fronts", "auth_workers")}
    text = re.sub(r"(?m)^listen(_tls)? = .*\n", "", text)
    with open(old.conf_file, "w", encoding="utf-8") as f:
        f.write(text + harness.conf_text(more))
    old.start()


# ---- sendmail ----

MC_KEYS = {
    "cert_dir": "@", "ca_cert": "@/CAcert.pem", "ca_path": None,
    "server_cert": "@/mycert.pem", "server_key": "@/mykey.pem",
    "client_cert": "@/client.pem", "client_key": "@/client.key",
    "listen": '{"*:587"}', "smarthost.host": "smart.example.net",
    "smarthost.port": "587", "smarthost.client_cert": "yes",
    "smarthost.user": "relay@example.org", "max_message_size": None,
    "crl_file": None,
}


def from_mc(tap, old):
    """sendmail.mc and the access map."""
    done = old.migrate("from-sendmail", "sendmail.mc", "--out", "mc")
    tap.equal((done.returncode, done.stderr), (0, ""), "sendmail.mc: works")
    has_keys(tap, old, "mc", "sendmail.mc", MC_KEYS)
    says(tap, "sendmail.mc", done.stdout,
         r"mc:8: /etc/ssl/certs has the public CAs", r"missing\.m4 can't be",
         r"confMAX_MESSAGE_SIZE 20000000", r"MASQUERADE_AS example\.org",
         r"masquerade_envelope", r"delay_checks: Connect and From entries",
         r"conditions \(ifdef, ifelse\)",
         r"mc:21: relay domain partner\.example: .*To:partner\.example RELAY",
         r"only over TLS",
         r"access:4: warning: demands more", r"access:7: note: AuthInfo",
         r"access:9: note: ClientRate", r"follow the file, set access_map")
    tap.unlike(done.stdout, "hush|wrong", "sendmail.mc: no secret is told")
    secret = old.path("mc/smarthost.password")
    with open(secret, encoding="utf-8") as f:
        tap.equal(f.read(), "hush hush\n", "sendmail.mc: the password")
    for name in secret, old.path("mc/submitd.conf"):
        tap.equal(stat.S_IMODE(os.stat(name).st_mode), 0o600,
                  "mode 0600: " + os.path.basename(name))
    begin(old, "mc")
    rows = {r["key"]: r["value"] for r in old.submitctl_json("access", "list")}
    tap.equal(rows, {"TLS_Clt:": "VERIFY", "TLS_Clt:192.0.2": "OK",
                     "TLS_Clt:printer.example.org": "PERM+ENCR:128",
                     "CertIssuer:/CN=Our+20CA": "RELAY",
                     "Connect:198.51.100.7": "REJECT"},
              "sendmail.mc: the entries are in the store")
    with old.tls_session() as session:
        tap.equal(session.mail("ann@example.org")[0], 454,
                  "sendmail.mc: TLS_Clt: VERIFY decides")
    with old.tls_session(old.printer) as session:
        tap.equal(session.mail("ann@example.org")[0], 530,
                  "sendmail.mc: with a certificate it is met")
    old.stop()


CF_KEYS = {
    "cert_dir": None, "ca_cert": "@/CAcert.pem", "ca_path": "@/cas",
    "server_cert": "@/mycert.pem", "server_key": "@/mykey.pem",
    "client_cert": None, "smarthost.host": "relay.example.net",
    "smarthost.port": "25", "smarthost.user": None, "crl_file": "@/crl.pem",
}


def from_cf(tap, old):
    """sendmail.cf."""
    done = old.migrate("from-sendmail", "sendmail.cf", "--out", "cf")
    tap.equal((done.returncode, done.stderr), (0, ""), "sendmail.cf: works")
    has_keys(tap, old, "cf", "sendmail.cf", CF_KEYS)
    says(tap, "sendmail.cf", done.stdout, r"MaxMessageSize 0",
         r"MX records of relay\.example\.net")
    old.conf_file = old.path("cf/submitd.conf")
    tap.equal(len(old.submitctl_json("access", "list")), 5,
              "sendmail.cf: the entries of the map it names")


LOCAL_MC = """define(`MAIL_SETTINGS_DIR', `@DIR@/')dnl
define(`confCRL', `@DIR@/certs/crl.pem')dnl
define(`SMART_HOST', `smart.example.net.')dnl
FEATURE(`access_db', `hash @DIR@/map', `lookupdotdomain', `skip')dnl
FEATURE(`authinfo', `hash -o @DIR@/authinfo')dnl
TRUST_AUTH_MECH(`PLAIN LOGIN')dnl
RELAY_DOMAIN(`one.example two.example')dnl
MAILER(`smtp')dnl
LOCAL_CONFIG
FR-o @DIR@/more-domains
C{R} three.example
Kauth program /usr/bin/may-relay
LOCAL_RULESETS
SLocal_check_rcpt
R$*	$: $>foo $1
"""
LOCAL_CF = """V10/Debian
DSsmart.example.net.
CRone.example two.example
C{R}three.example
FR-o @DIR@/relay-domains %[^\\#]
F{R}@DIR@/more-domains
C{TrustAuthMech}PLAIN LOGIN
DMexample.org
C{M}example.net
Kaccess hash -T<TMPF> @DIR@/map
Kauthinfo hash -o @DIR@/authinfo
O CRLFile=@DIR@/certs/crl.pem
R<SKIP> <$*>		$: @ $1
SLocal_check_relay
SLocal_check_rcpt
# ours
R$*	$: $>foo $1
SDelay_TLS_Clt
"""
RELAYS = ("one.example", "two.example", "three.example", "file.example",
          "10.1", "more.example")


def local_rules(tap, old):
    """What changes who relays is told, wherever it stands."""
    for name, text in (("relay-domains", "file.example # ours\n\n10.1\n"),
                       ("more-domains", "more.example\n"),
                       ("map", "AuthInfo:smart.example.net \"U:a\" \"P:b\"\n"),
                       ("authinfo", "AuthInfo:smart.example.net \"U:relay\" "
                        "\"P:hush hush\"\n"),
                       ("local.mc", LOCAL_MC), ("local.cf", LOCAL_CF)):
        old.put(name, text)
    for name, extra in (
            ("local.mc", (r"mc:6: TRUST_AUTH_MECH PLAIN LOGIN: any login may",
                          r"mc:12: LOCAL_CONFIG Kauth program",
                          r"mc:13: LOCAL_RULESETS rules of its own",
                          r"mc:4: lookupdotdomain: a key that begins")),
            ("local.cf", (r"cf:7: TRUST_AUTH_MECH PLAIN LOGIN: any login may",
                          r"cf:8: MASQUERADE_AS example\.org: addresses leave",
                          r"cf:9: MASQUERADE_AS example\.net",
                          r"cf:15: LOCAL_RULESETS Local_check_rcpt: rules of",
                          r"cf:18: delay_checks: Connect and From"))):
        out = name.replace(".", "-")
        done = old.migrate("from-sendmail", name, "--out", out)
        tap.equal((done.returncode, done.stderr), (0, ""), name + ": works")
        has_keys(tap, old, out, name, {
            "smarthost.host": "smart.example.net", "crl_file": "@/crl.pem",
            "smarthost.user": "relay"})
        says(tap, name, done.stdout, *(
            r"relay domain %s: .*Connect:%s RELAY" % (r, r) for r in RELAYS))
        tap.unlike(done.stdout, r"To:10\.1", name + ": an address gets no To")
        says(tap, name, done.stdout, *extra)
        tap.unlike(done.stdout, r"\bskip\b|SKIP|Local_check_relay",
                   name + ": skip is the same, no rules are none")


OPTIONS_MAP = """TLS_Clt:	VERIFY
To:void.example	REJECT
To:partner.example	RELAY
To:open.example	OK
Connect:spam.example	REJECT
bad.example	ERROR:550 no
10.9	REJECT
From:x.example	SKIP
"""


def map_options(tap, old):
    """The server has blocklist_recipients and skip: told to whom had not."""
    old.put("map", OPTIONS_MAP)
    block = r"asks no recipient for these entries.*: \S+map:2, \S+map:6\n"
    skip = r"SKIP ends the search here.*: \S+map:8\n"
    for name, features, told in (
            ("neither", "FEATURE(`access_db', `hash %s')dnl", (True, True)),
            ("skip", "FEATURE(`access_db', `hash %s', `skip')dnl",
             (True, False)),
            ("blocklist", "FEATURE(`access_db', `hash %s')dnl\n"
             "FEATURE(`blocklist_recipients')dnl", (False, True)),
            ("its old name", "FEATURE(`access_db', `hash %s', `skip')dnl\n"
             "FEATURE(`blacklist_recipients')dnl", (False, False))):
        old.put("options.mc", features % old.path("map") + "\n")
        done = old.migrate("from-sendmail", "options.mc", "--out", "none",
                           "--dry-run")
        for pattern, want in zip((block, skip), told):
            check = tap.like if want else tap.unlike
            check(done.stdout, pattern, "%s: %s: %s" % (
                name, pattern[:20], "told" if want else "not told"))
        tap.unlike(done.stdout, r"mc:\d+: bl|mean something else",
                   name + ": nothing else is said of it")
    old.put("options.cf", "Kaccess hash %s\nR<REJECT> $*\t\t$#error $@ 5.2.1 "
            "$: \"550 Mailbox disabled\"\nR<SKIP> <$*>\t$: @ $1\n"
            % old.path("map"))
    done = old.migrate("from-sendmail", "options.cf", "--out", "none",
                       "--dry-run")
    tap.unlike(done.stdout, "%s|%s" % (block, skip), "sendmail.cf with both")


def bad_map(tap, old):
    """A map with an error is not taken; everything else is."""
    old.put("bad", "TLS_Clt:\tVERYFY\nTo:x.example\tRELAY\n")
    done = old.migrate("from-sendmail", "sendmail.cf", "--out", "bad-out",
                       "--access", old.path("bad"))
    tap.equal(done.returncode, EX_DATAERR, "a bad map: exit 65")
    says(tap, "a bad map", done.stdout, r"bad:1: 'VERYFY' is not",
         r"1 error, nothing was done")
    has_keys(tap, old, "bad-out", "a bad map",
             {"smarthost.host": "relay.example.net"})
    old.conf_file = old.path("bad-out/submitd.conf")
    tap.equal(old.submitctl_json("access", "list"), [],
              "a bad map: no entry is taken")


# ---- Postfix ----

CF_POSTFIX_KEYS = {
    "server_cert": "@/mycert.pem", "server_key": "@/mykey.pem",
    "ca_cert": "@/CAcert.pem", "ca_path": None,
    "client_cert": "@/client.pem", "client_key": "@/client.key",
    "smarthost.host": "smart.example.net", "smarthost.port": "587",
    "smarthost.tls": None, "smarthost.ca_file": "@/CAcert.pem",
    "smarthost.client_cert": "yes", "smarthost.user": "relay@example.org",
}


def from_postfix(tap, old):
    """main.cf and its tables."""
    done = old.migrate("from-postfix", "main.cf", "--out", "pf")
    tap.equal(done.stderr, "", "main.cf: works")
    tap.equal(done.returncode, EX_DATAERR, "main.cf: one user is refused")
    has_keys(tap, old, "pf", "main.cf", CF_POSTFIX_KEYS)
    says(tap, "main.cf", done.stdout,
         r"main\.cf:\d+: smtpd_tls_CApath: /etc/ssl/certs has the public CAs",
         r"ldap:/etc/postfix/certs\.cf is no text table",
         r"clientcerts:3: 00:11:.*SHA-256 fingerprints only",
         r"logins:5: submitctl user add: ", r"smtp_tls_security_level",
         r"smtpd_recipient_restrictions", r"have no passwords yet",
         r"demands a certificate from every client", r"master\.cf was not")
    tap.unlike(done.stdout, "hush|wrong", "main.cf: no secret is told")
    tap.unlike(done.stdout, "alias_maps", "main.cf: what has nothing to do "
               "with submission is not told")
    secret = old.path("pf/smarthost.password")
    with open(secret, encoding="utf-8") as f:
        tap.equal(f.read(), "hush: hush\n", "main.cf: the password")
    tap.equal(stat.S_IMODE(os.stat(secret).st_mode), 0o600,
              "main.cf: its file has mode 0600")
    begin(old, "pf")
    owned = sorted((r["user"], r["address"]) for r in
                   old.submitctl_json("address", "list"))
    tap.equal(owned, [("ann", "ann@example.org"), ("ann", "sales@example.org"),
                      ("bob@example.org", "@shop.example"),
                      ("bob@example.org", "bob@example.org"),
                      ("bob@example.org", "sales@example.org"),
                      ("carol", "carol@example.org"),
                      ("printer.example.org", "*")],
              "main.cf: users and their addresses")
    with old.tls_session(old.printer) as session:
        session.mail("anybody@example.org")
        tap.equal(session.rcpt("bo@example.net")[0], 250,
                  "main.cf: a certificate of relay_clientcerts relays")
    with old.tls_session() as session:
        tap.equal(session.mail("anybody@example.org")[0], 530,
                  "main.cf: without it nobody does")
        try:
            session.login("ann", "")
            tap.ok(False, "main.cf: ann has no password")
        except smtplib.SMTPException:
            tap.ok(True, "main.cf: ann has no password")
    old.stop()


def relayhosts(tap, old):
    """The forms of relayhost, with parameters in them."""
    for number, (text, host, port, tls) in enumerate((
            ("smart.example.net", "smart.example.net", "25", None),
            ("[smart.example.net]", "smart.example.net", "25", None),
            ("smart.example.net:2525", "smart.example.net", "2525", None),
            ("[smart.example.net]:465\nsmtp_tls_wrappermode = yes",
             "smart.example.net", "465", "implicit"),
            ("[2001:db8::1]:587", "2001:db8::1", "587", None),
            ("[smtp.$mydomain]:587\nmyhostname = mail.example.org",
             "smtp.example.org", "587", None),
            ("$mydomain\nmyhostname = mail.example.org", "example.org", "25",
             None),
            ("[smtp.${mydomain}]\nmyhostname = mail.example.org\n"
             "mydomain = example.net", "smtp.example.net", "25", None),
            ("[smtp.$mydomain]\nmyhostname = mail", "smtp.localdomain", "25",
             None),
            ("[${here?a}${there:b}.$here]\nhere = x.example",
             "ab.x.example", "25", None),
            ("[${here?{yes}:{no}}.example]", "no.example", "25", None),
            ("", None, None, None))):
        old.put("one.cf", "relayhost = %s\n" % text)
        out = "relayhost-%d" % number
        done = old.migrate("from-postfix", "one.cf", "--out", out)
        tap.equal(done.returncode, 0, "relayhost = %s: works"
                  % text.split("\n", maxsplit=1)[0])
        has_keys(tap, old, out, "relayhost = %r" % text,
                 {"smarthost.host": host, "smarthost.port": port,
                  "smarthost.tls": tls})
        if not text:
            says(tap, "no relayhost", done.stdout, "there is no smarthost")
    for text, why in (("[smtp.$mydomain]:587", r"\$mydomain is not known"),
                      ("[smtp.$isp.example]", r"\$isp is not known"),
                      ("[${{a} == {b} ? {c} : {d}}]", "is not understood")):
        old.put("one.cf", "relayhost = %s\n" % text)
        done = old.migrate("from-postfix", "one.cf", "--out",
                           "unknown" + why[-7:].strip(), "--dry-run")
        tap.equal(done.returncode, 0, "relayhost = %s: works" % text)
        says(tap, "relayhost = " + text, done.stdout,
             "one.cf:1: relayhost: .*" + why, "there is no smarthost",
             '#host = "smarthost')


LOGINS = """ann@example.org	ann
Ann@Example.ORG	ann, bob
Cy@example.org	cy@example.org
postmaster	ann
"""


def logins(tap, old):
    """Who may send as whom: keys without domain, and in another case."""
    for name, origin, domain, why in (
            ("mailname", "myorigin = %s\n" % old.path("mailname"),
             "debian.example", None),
            ("mydomain", "myhostname = mail.example.net\n"
             "myorigin = $mydomain\n", "example.net", None),
            ("myhostname", "myhostname = mail.example.net\n",
             "mail.example.net", None),
            ("no-mailname", "myorigin = %s\n" % old.path("nonexistent"),
             None, r"myorigin: .*nonexistent: No such file"),
            ("no-origin", "", None, "postmaster has no domain, and myorigin")):
        old.put("mailname", "debian.example\n")
        old.put("some-logins", LOGINS)
        old.put("one.cf", origin + "smtpd_sender_login_maps = texthash:%s\n"
                % old.path("some-logins"))
        out = "logins-" + name
        done = old.migrate("from-postfix", "one.cf", "--out", out)
        tap.equal((done.returncode, done.stderr), (0, ""), name + ": works")
        tap.unlike(done.stdout, "owns no address", name + ": everybody gets "
                   "an address, so nothing is said of it")
        if why is not None:
            says(tap, name, done.stdout, why)
        old.conf_file = old.path(out, "submitd.conf")
        owned = sorted((r["user"], r["address"].lower()) for r in
                       old.submitctl_json("address", "list"))
        more = [("ann", "postmaster@" + domain)] if domain else []
        tap.equal(owned, [("ann", "ann@example.org")] + more +
                  [("bob", "ann@example.org"),
                   ("cy@example.org", "cy@example.org")],
                  name + ": the addresses")


# ---- both ----

def nothing_written(tap, old):
    """--dry-run, and mistakes."""
    before = sorted(os.listdir(old.directory))
    for program, source in (("from-sendmail", "sendmail.mc"),
                            ("from-postfix", "main.cf")):
        done = old.migrate(program, source, "--out", "dry", "--dry-run")
        says(tap, program + " --dry-run", done.stdout,
             r"%s would be:" % old.path("dry/submitd.conf"),
             r'host = "smart\.example\.net"', r"Not carried over:",
             r"Nothing was written\.")
        done = old.migrate(program, "nonexistent", "--out", "dry")
        tap.equal(done.returncode, EX_NOINPUT, program + ", no file: exit 66")
        done = old.migrate(program, source, "--no-such-option")
        tap.equal(done.returncode, EX_USAGE, program + ", usage: exit 64")
        tap.equal(sorted(os.listdir(old.directory)), before,
                  program + ": nothing is written")
    done = old.migrate("from-postfix", "main.cf", "--out", "pf")
    tap.equal(done.returncode, EX_CANTCREAT, "what is there stays: exit 73")
    tap.like(done.stderr, "File exists", "what is there stays: says so")


def test(tap):
    """One folder for all."""
    with Old(tap) as old:
        for part in (from_mc, from_cf, local_rules, map_options,
                     bad_map, from_postfix, relayhosts,
                     logins, nothing_written):
            part(tap, old)


taplib.run(test)
