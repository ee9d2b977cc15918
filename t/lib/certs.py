"""Certificates for tests and for the playground, made by the openssl command.

All keys are P-256 if nothing else is asked for, files of keys have mode 0600.
"""

import hashlib
import os
import ssl
import subprocess


class Pair:
    """A certificate and its key, as files."""

    def __init__(self, cert, key):
        self.cert = cert
        self.key = key

    def der(self):
        """The certificate's bytes."""
        with open(self.cert, encoding="ascii") as f:
            return ssl.PEM_cert_to_DER_cert(f.read())

    def sha256(self):
        """The fingerprint: SHA-256 of the certificate in lower-case hex."""
        return hashlib.sha256(self.der()).hexdigest()


def openssl(*args):
    """Runs the openssl command; its complaint becomes an exception."""
    done = subprocess.run(("openssl",) + args, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False)
    if done.returncode != 0:
        raise RuntimeError("openssl %s: %s" % (args[0], done.stdout.decode()))


class CA:
    """A private certificate authority, its files in a directory."""

    def __init__(self, directory, name="Playground CA", file="ca"):
        os.makedirs(directory, exist_ok=True)
        self.directory = directory
        self.pair = Pair(self._path(file + ".pem"), self._path(file + ".key"))
        self.cert = self.pair.cert
        self._self_signed(self.pair, name, (
            "basicConstraints=critical,CA:TRUE",
            "keyUsage=critical,keyCertSign,cRLSign"))

    def _path(self, name):
        return os.path.join(self.directory, name)

    @staticmethod
    def _self_signed(pair, name, extensions):
        args = ["req", "-x509", "-new", "-newkey", "ec",
                "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-subj", "/CN=" + name, "-days", "30",
                "-keyout", pair.key, "-out", pair.cert]
        for extension in extensions:
            args += ["-addext", extension]
        openssl(*args)
        os.chmod(pair.key, 0o600)

    def issue(self, file, name, san="", days=30, rsa=False):
        """A certificate from this CA, for servers and clients alike.

        san is text such as "DNS:localhost,IP:127.0.0.1"; negative days make a
        certificate that has expired.
        """
        pair = Pair(self._path(file + ".pem"), self._path(file + ".key"))
        request, extensions = self._path(file + ".csr"), self._path(file + ".x")
        kind = ("rsa:2048",) if rsa else \
            ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")
        openssl("req", "-new", "-newkey", *kind, "-nodes",
                "-subj", "/CN=" + name, "-keyout", pair.key, "-out", request)
        with open(extensions, "w", encoding="ascii") as f:
            f.write("basicConstraints=CA:FALSE\n"
                    "extendedKeyUsage=serverAuth,clientAuth\n")
            if san:
                f.write("subjectAltName=%s\n" % san)
        openssl("x509", "-req", "-in", request, "-CA", self.pair.cert,
                "-CAkey", self.pair.key, "-CAcreateserial",
                "-days", str(days), "-extfile", extensions, "-out", pair.cert)
        os.unlink(request)
        os.unlink(extensions)
        os.chmod(pair.key, 0o600)
        return pair

    def self_signed(self, file, name, san=""):
        """A certificate that nobody but itself vouches for."""
        pair = Pair(self._path(file + ".pem"), self._path(file + ".key"))
        self._self_signed(pair, name, ("basicConstraints=critical,CA:FALSE",)
                          + (("subjectAltName=" + san,) if san else ()))
        return pair
