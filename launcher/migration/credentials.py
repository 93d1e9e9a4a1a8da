"""Certificates of one migration: a CA that signs two, and is gone. Nobody else is ever let in by them.

The target's half stays in its Pod. The source's leaves as one file that whoever moves the guest carries to
the source's node: never over the network that the migration takes.
"""

from __future__ import annotations

import datetime as dt
import errno
import os
import secrets
import ssl
import stat
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from nncp.errors import Error, ErrorKind
from vmnet import versioned
from vmnet.valid import is_address

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509 import Certificate

VERSION = 1
LARGEST = 1 << 16
SOURCE, TARGET = "source.migration.bridgehead", "target.migration.bridgehead"
"""The names in the two certificates."""
EARLIER, LATER = dt.timedelta(days=1), dt.timedelta(days=30)
"""How far the nodes' clocks may be apart, and how long a target may wait."""


class Half(Struct, frozen=True):
    """One side's part: its certificate and key, and the CA that signed both sides', as PEM.

    `to` is the address of the target Pod, `secret` what both sides' knocks are made of, in hexadecimal.
    """

    version: int
    to: str
    name: str
    ca: str
    certificate: str
    key: str
    secret: str

    def save(self, path: Path) -> None:
        """Put it down as the one file that is carried to the other side; raises `Error` when it cannot be."""
        if path.exists() and not path.is_file():
            raise Error(f"{path} is there, and not a plain file", kind=ErrorKind.USAGE)
        _write(path, msgspec.json.encode(self).decode() + "\n")


def load(path: Path) -> Half:
    """Return the half in a file; raises `Error` when it is none, or of another version."""
    try:
        data = _read(path)
    except OSError as error:
        message = f"the credentials {path} cannot be read: {error.strerror}"
        hint = "launcher prepare writes them, on the target's node"
        raise Error(message, kind=ErrorKind.USAGE, hint=hint) from None
    try:
        half: Half = versioned.decode(data, Half, version=VERSION, what=str(path))
    except Error as error:
        message = f"{path} holds no credentials: {error.message}"
        raise Error(message, kind=ErrorKind.USAGE, hint="launcher prepare writes them") from None
    if not is_address(half.to):
        raise Error(f"the file {path} names no address of a target: {half.to!r}", kind=ErrorKind.USAGE)
    return half


def _read(path: Path) -> bytes:
    """Return what a plain file holds; no other is waited for, and none is read without an end."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a plain file")
        return file.read(LARGEST)


def taken(half: Half) -> ssl.SSLContext:
    """Return how a source speaks by its half; raises `Error` when it is none."""
    if half.name != SOURCE:
        raise Error(f"these are not the credentials of a source, but of {half.name!r}", kind=ErrorKind.USAGE)
    try:
        bytes.fromhex(half.secret)
        return context(half)
    except (OSError, TypeError, ValueError) as error:  # ssl's own are OSErrors; it has no text but ASCII
        message = f"the credentials cannot be used: {error}"
        raise Error(message, kind=ErrorKind.USAGE, hint="launcher prepare writes them anew") from None


def _write(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
        file.write(text)


def context(half: Half) -> ssl.SSLContext:
    """Return how the side of this half speaks: TLS 1.3, to nobody but the other; raises as ssl does."""
    is_target = half.name == TARGET
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_target else ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(cadata=half.ca)
    # OpenSSL's own reads a key from a file only: this one has no name, and is gone at once.
    descriptor = os.memfd_create("key", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "w") as file:
        file.write(half.certificate + half.key)
        file.flush()
        made.load_cert_chain(f"/proc/self/fd/{descriptor}")
    if is_target:
        made.num_tickets = 0  # no session is taken up again
    return made


def issue(*, to: str) -> tuple[Half, Half]:
    """Return the target's half and the source's, of a CA that nobody has."""
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 -- only for a migration

    signer = ec.generate_private_key(ec.SECP256R1())
    ca = _certificate("migration.bridgehead", signer, signer, None)
    secret = secrets.token_hex(32)
    halves = []
    for name in (TARGET, SOURCE):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(name, key, signer, ca)
        halves.append(Half(VERSION, to, name, _pem(ca), _pem(certificate), _key_pem(key), secret))
    return halves[0], halves[1]


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    ca: Certificate | None,
) -> Certificate:
    """Return a certificate for `name`; the CA's own without `ca`."""
    from cryptography import x509  # noqa: PLC0415 -- the same
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: PLC0415

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    usage = dict.fromkeys(
        (
            *("content_commitment", "crl_sign", "data_encipherment", "decipher_only", "encipher_only"),
            *("key_agreement", "key_encipherment"),
        ),
        False,
    )
    leaf = ca is not None
    signs = {"key_cert_sign": not leaf, "digital_signature": leaf}
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if ca is None else ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + LATER)
        .add_extension(x509.BasicConstraints(ca=not leaf, path_length=None if leaf else 0), critical=True)
        .add_extension(x509.KeyUsage(**usage, **signs), critical=True)
    )
    if leaf:
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if name == TARGET else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _pem(certificate: Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 -- the same

    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415 -- the same

    plain = form.NoEncryption()
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, plain).decode()
