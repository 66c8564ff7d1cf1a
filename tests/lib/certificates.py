# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""A private CA, made with a library that the implementation does not use."""

import base64
import datetime
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


def write(path, pem):
    """Never half a file: the daemon reads it again as soon as it changes."""
    new = Path(f"{path}.new")
    new.write_bytes(pem)
    os.replace(new, path)


class Authority:
    """A CA. What it writes goes into a directory of its own."""

    def __init__(self, directory, name="CA"):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key, self.now = Ed25519PrivateKey.generate(), datetime.datetime.now(datetime.timezone.utc)
        built = self._certificate(self.name, self.key.public_key())
        built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.issued = 0
        self.file, self.list = self.directory / f"{name}.pem", self.directory / f"{name}.crl"
        write(self.file, built.sign(self.key, None).public_bytes(Encoding.PEM))
        self.revoke()

    def _certificate(self, name, key):
        made = x509.CertificateBuilder().subject_name(name).issuer_name(self.name).public_key(key)
        made = made.serial_number(x509.random_serial_number())
        return made.not_valid_before(self.now - DAY).not_valid_after(self.now + DAY)

    def certify(self, helper, subject):
        """Gives a host its certificate; returns the lines of its table [host], and the serial number."""
        key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(helper.key.read_text()))
        name = x509.UniformResourceIdentifier(subject) if ":" in subject else x509.DNSName(subject)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
        built = self._certificate(x509.Name([]), key.public_key())
        built = built.add_extension(x509.SubjectAlternativeName([name]), critical=True).add_extension(usage, critical=False)
        made = built.sign(self.key, None)
        file = helper.directory / "host.pem"
        write(file, made.public_bytes(Encoding.PEM))
        return f'certificate-file = "{file}"\nca-file = "{self.file}"\ncrl-file = "{self.list}"\n', made.serial_number

    def revoke(self, *serials):
        """Writes the list of what is revoked; all else is not, or no longer."""
        made = x509.CertificateRevocationListBuilder().issuer_name(self.name)
        made = made.last_update(self.now - DAY).next_update(self.now + DAY)
        for serial in serials:
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(self.now - DAY)
            made = made.add_revoked_certificate(revoked.build())
        # What RFC 5280 section 5.2 asks of a list.
        self.issued += 1
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        made = made.add_extension(x509.CRLNumber(self.issued), critical=False).add_extension(issuer, critical=False)
        write(self.list, made.sign(self.key, None).public_bytes(Encoding.PEM))
