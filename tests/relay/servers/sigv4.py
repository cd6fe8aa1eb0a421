"""AWS Signature Version 4, for the tests' own requests."""

from __future__ import annotations

import hashlib
import hmac
import urllib.parse
from dataclasses import dataclass
from datetime import datetime, timezone


@dataclass(frozen=True)
class Credentials:
    access_key: str
    secret_key: str
    region: str = "us-east-1"


def signed_headers(credentials: Credentials, service: str, url: str, body: bytes, headers: dict[str, str], *, method: str = "POST",
                   now: datetime | None = None) -> dict[str, str]:  # fmt: skip
    """`headers` and those that make the request valid. The URL has no query: the services here take what they need in the body."""
    parts = urllib.parse.urlsplit(url)
    time = (now or datetime.now(timezone.utc)).strftime("%Y%m%dT%H%M%SZ")
    sent = {**headers, "Host": parts.netloc, "X-Amz-Date": time}
    canonical = sorted((name.lower(), " ".join(value.split())) for name, value in sent.items())
    names = ";".join(name for name, _ in canonical)
    lines = [method, parts.path or "/", "", *(f"{name}:{value}" for name, value in canonical), "", names, hashlib.sha256(body).hexdigest()]
    scope = f"{time[:8]}/{credentials.region}/{service}/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", time, scope, hashlib.sha256("\n".join(lines).encode()).hexdigest()])
    key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    sent["Authorization"] = f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return sent
