"""Certificates for one test, made by openssl: an authority, a server of 127.0.0.1, one that has expired, a client."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    certificate: Path
    key: Path


class Authority:
    """Its `ca` is what clients are told to trust."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.ca = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        _openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", self._key, "-out", self.ca,
            "-days", "2", "-subj", f"/CN=outlier test {name}", "-addext", "basicConstraints=critical,CA:TRUE", "-addext",
            "keyUsage=keyCertSign",
        )  # fmt: skip

    def server(self, name: str = "server", names: Sequence[str] = ()) -> Certificate:
        """`names`: of other hosts that it is for."""
        more = "".join(f",DNS:{host}" for host in names)
        return self._issue(name, f"subjectAltName=IP:127.0.0.1,DNS:localhost{more}\nextendedKeyUsage=serverAuth\n")

    def expired(self, name: str = "expired") -> Certificate:
        """Ended an hour or more ago: a certificate of minus one day."""
        return self._issue(name, "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n", days=-1)

    def client(self, name: str = "client") -> Certificate:
        return self._issue(name, "extendedKeyUsage=clientAuth\n")

    def _issue(self, name: str, extensions: str, days: int = 2) -> Certificate:
        certificate, key, request, extra = (self.folder / f"{name}.{end}" for end in ("pem", "key", "csr", "ext"))
        extra.write_text("basicConstraints=critical,CA:FALSE\n" + extensions)
        _openssl(
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", request,
            "-subj", f"/CN={name}",
        )  # fmt: skip
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._key, "-CAcreateserial", "-out", certificate, "-days", str(days),
            "-extfile", extra,
        )  # fmt: skip
        return Certificate(certificate, key)


def _openssl(*arguments: str | Path) -> None:
    result = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if result.returncode:
        raise RuntimeError(f"openssl {arguments[0]} failed: {result.stderr.strip()}")
