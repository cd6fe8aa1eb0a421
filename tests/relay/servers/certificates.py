"""Certificates for servers under test, made by openssl."""

from __future__ import annotations

from pathlib import Path

from .cache import client


class Authority:
    """A certificate authority of one test."""

    def __init__(self, folder: Path, name: str = "outlierd test authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.certificate, self._key = folder / "ca.crt", folder / "ca.key"
        _openssl("req", "-x509", *_KEY, "-days", "3650", "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                 "-keyout", self._key, "-out", self.certificate)  # fmt: skip

    def issue(self, name: str, days: int = 30) -> tuple[Path, Path]:
        """A certificate for servers at 127.0.0.1 and localhost and for clients, and its key. `days` may be negative: expired."""
        certificate, key, request = (self._folder / f"{name}{ending}" for ending in (".crt", ".key", ".csr"))
        extensions = self._folder / f"{name}.ext"
        extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n")
        _openssl("req", "-new", *_KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        _openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial", "-days", str(days),
                 "-extfile", extensions, "-out", certificate)  # fmt: skip
        return certificate, key

    def fingerprint(self) -> str:
        """SHA-256 of the authority's certificate in hexadecimal, as clients pin it."""
        printed = client(["openssl", "x509", "-in", self.certificate, "-noout", "-fingerprint", "-sha256"], package="openssl")
        return printed.strip().rpartition("=")[2].replace(":", "").lower()


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")


def _openssl(*words: str | Path) -> None:
    client(["openssl", *words], package="openssl")
