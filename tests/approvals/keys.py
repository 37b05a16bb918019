"""SSH keys for tests: stock ssh-keygen, and a security key in software, touched or not."""

import base64
import hashlib
import struct
import subprocess

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

TOUCHED, UNTOUCHED = b"\x01", b"\x00"


def keygen(*arguments, stdin=b""):
    done = subprocess.run(
        ["ssh-keygen", *arguments], input=stdin, capture_output=True, timeout=30, check=True
    )
    return done.stdout.decode()


def sign(folder, message, namespace):
    return keygen("-Y", "sign", "-n", namespace, "-f", str(folder / "key"), stdin=message)


def field(data):
    return struct.pack(">I", len(data)) + data


class Token:
    """A FIDO token as OpenSSH sees one; Source: OpenSSH PROTOCOL.u2f."""

    def __init__(self, kind):
        self.kind = kind
        self.key = (
            Ed25519PrivateKey.generate()
            if kind.startswith(b"sk-ssh")
            else ec.generate_private_key(ec.SECP256R1())
        )

    @property
    def blob(self):
        public = self.key.public_key()
        if isinstance(self.key, Ed25519PrivateKey):
            point = field(public.public_bytes(Encoding.Raw, PublicFormat.Raw))
        else:
            raw = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            point = field(b"nistp256") + field(raw)
        return field(self.kind) + point + field(b"ssh:")

    @property
    def public(self):
        return f"{self.kind.decode()} {base64.b64encode(self.blob).decode()}"

    def sign(self, message, flags, namespace):
        parts = (namespace.encode(), b"", b"sha512", hashlib.sha512(message).digest())
        data = b"SSHSIG" + b"".join(map(field, parts))
        counter = struct.pack(">I", 7)
        signed = hashlib.sha256(b"ssh:").digest() + flags + counter + hashlib.sha256(data).digest()
        raw = self._raw(signed)
        signature = field(self.kind) + field(raw) + flags + counter
        envelope = b"SSHSIG" + struct.pack(">I", 1)
        envelope += b"".join(map(field, (self.blob, *parts[:3], signature)))
        return armor(envelope)

    def _raw(self, signed):
        if isinstance(self.key, Ed25519PrivateKey):
            return self.key.sign(signed)
        r, s = decode_dss_signature(self.key.sign(signed, ec.ECDSA(hashes.SHA256())))
        return field(mpint(r)) + field(mpint(s))


def mpint(number):
    return number.to_bytes(number.bit_length() // 8 + 1, "big")


def armor(envelope):
    text = base64.b64encode(envelope).decode()
    lines = [text[at : at + 70] for at in range(0, len(text), 70)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])
