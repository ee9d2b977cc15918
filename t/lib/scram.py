"""SCRAM as a client speaks it (RFC 5802, RFC 7677), for smtplib.

smtplib knows no SCRAM; SMTP.auth() takes this object as its answerer.
"""

import base64
import hashlib
import hmac
import secrets


def _fields(text):
    """"r=...,s=...,i=..." as a dictionary."""
    return dict(part.split("=", 1) for part in text.split(","))


class Scram:
    """One exchange; verified is set once the server has proved itself."""

    def __init__(self, user, password, header="n,,", binding=b"",
                 hash_name="sha256"):
        """header is the GS2 header, such as "p=tls-unique,,"; binding the
        channel's value that goes with it."""
        self.password = password.encode()
        self.hash = hash_name
        self.header = header
        self.bound = header.encode() + binding
        self.bare = "n=%s,r=%s" % (user.replace("=", "=3D").replace(
            ",", "=2C"), secrets.token_urlsafe(18))
        self.signature = None
        self.verified = False

    def __call__(self, challenge=None):
        """The next line for the server; the first without a challenge."""
        if challenge is None:
            return self.header + self.bare
        text = challenge.decode("ascii")
        if self.signature is None:
            return self._final(text)
        signature = base64.b64decode(_fields(text)["v"])
        self.verified = hmac.compare_digest(signature, self.signature)
        return ""

    def _hmac(self, key, text):
        return hmac.new(key, text, self.hash).digest()

    def _final(self, server_first):
        fields = _fields(server_first)
        if not fields["r"].startswith(_fields(self.bare)["r"]):
            raise ValueError("the server's nonce does not continue ours")
        salted = hashlib.pbkdf2_hmac(
            self.hash, self.password, base64.b64decode(fields["s"]),
            int(fields["i"]))
        unproved = "c=%s,r=%s" % (base64.b64encode(self.bound).decode(),
                                  fields["r"])
        whole = ",".join((self.bare, server_first, unproved)).encode()
        client_key = self._hmac(salted, b"Client Key")
        stored_key = hashlib.new(self.hash, client_key).digest()
        proof = bytes(a ^ b for a, b in
                      zip(client_key, self._hmac(stored_key, whole)))
        self.signature = self._hmac(self._hmac(salted, b"Server Key"), whole)
        return "%s,p=%s" % (unproved, base64.b64encode(proof).decode())
