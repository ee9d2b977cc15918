"""Certificates for tests and for the playground, made by the openssl command.

All keys are P-256 if nothing else is asked for, files of keys have mode 0600.
"""

import datetime
import hashlib
import os
import re
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


def der_inside(data, at):
    """Where the content of a DER element begins."""
    return at + 2 + (data[at + 1] & 0x7f if data[at + 1] & 0x80 else 0)


def der_end(data, at):
    """Where a DER element ends."""
    inside = der_inside(data, at)
    length = data[at + 1]
    if length & 0x80:
        length = int.from_bytes(data[at + 2:inside], "big")
    return inside + length


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

    def issue(self, file, name, san="", days=30, rsa=False, more="",
              usage="serverAuth,clientAuth"):
        """A certificate from this CA, for servers and clients alike.

        san is text such as "DNS:localhost,IP:127.0.0.1"; negative days make a
        certificate that has expired. more: lines of extensions.
        """
        pair = Pair(self._path(file + ".pem"), self._path(file + ".key"))
        request, extensions = self._path(file + ".csr"), self._path(file + ".x")
        kind = ("rsa:2048",) if rsa else \
            ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")
        openssl("req", "-new", "-newkey", *kind, "-nodes",
                "-subj", "/CN=" + name, "-keyout", pair.key, "-out", request)
        with open(extensions, "w", encoding="ascii") as f:
            f.write("basicConstraints=CA:FALSE\n"
                    "extendedKeyUsage=%s\n%s" % (usage, more))
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

    def ocsp(self, pair, file, revoked=False, responder=None, days_old=0):
        """An OCSP response about the certificate, good for a day, in DER: the
        path of the file.

        responder, a pair of this CA, signs in its place; if its key is RSA,
        the response can be of so many days ago.
        """
        index, path = self._path(file + ".index"), self._path(file)
        serial = subprocess.run(
            ("openssl", "x509", "-in", pair.cert, "-noout", "-serial"),
            stdout=subprocess.PIPE, check=True).stdout.decode()
        with open(index, "w", encoding="ascii") as f:
            f.write("%s\t401231235959Z\t%s\t%s\tunknown\t/CN=x\n" % (
                "R" if revoked else "V", "260101000000Z" if revoked else "",
                serial.strip().partition("=")[2]))
        signer = responder or self.pair
        request = self._path(file + ".request")
        openssl("ocsp", "-issuer", self.cert, "-cert", pair.cert,
                "-no_nonce", "-reqout", request)
        openssl("ocsp", "-index", index, "-CA", self.cert, "-rmd", "sha256",
                "-rsigner", signer.cert, "-rkey", signer.key, "-ndays", "1",
                "-reqin", request, "-respout", path)
        if days_old:
            self._make_older(path, signer, days_old)
        os.unlink(request)
        os.unlink(index)
        return path

    def _make_older(self, path, signer, days):
        """All its times are days earlier, and it is signed again."""
        with open(path, "rb") as f:
            data = f.read()

        def earlier(match):
            then = datetime.datetime.strptime(match[1].decode(),
                                              "%Y%m%d%H%M%SZ")
            then -= datetime.timedelta(days=days)
            return b"\x18\x0f" + then.strftime("%Y%m%d%H%M%SZ").encode()

        # OCSPResponse, responseBytes, response, BasicOCSPResponse
        at = der_inside(data, 0)
        at = der_inside(data, der_end(data, at))
        at = der_inside(data, at)
        at = der_inside(data, der_end(data, at))
        begin = der_inside(data, at)
        end = der_end(data, begin)
        tbs = re.sub(rb"\x18\x0f(\d{14}Z)", earlier, data[begin:end])
        self_made = self._path("tbs")
        with open(self_made, "wb") as f:
            f.write(tbs)
        signature = subprocess.run(
            ("openssl", "dgst", "-sha256", "-sign", signer.key, self_made),
            stdout=subprocess.PIPE, check=True).stdout
        place = der_inside(data, der_end(data, end)) + 1
        with open(path, "wb") as f:
            f.write(data[:begin] + tbs + data[end:place] + signature
                    + data[place + len(signature):])
        os.unlink(self_made)
