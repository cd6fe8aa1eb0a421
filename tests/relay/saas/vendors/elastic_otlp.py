"""Elastic APM Server and the managed OTLP endpoint: OTLP on the server's own port. UNVERIFIED: the auth headers and codes."""

from __future__ import annotations

from ..core import Refused, Request
from ..otlp import OtlpReceiver


class ElasticOtlp(OtlpReceiver):
    name = "elastic_otlp"
    keys = ("VnVhQ2ZHY0JDZGJrUW0tZTVhT3g6dWkybHAyYXhUTm1zeWFrdzl0dk5udw==", "a-secret-token")
    routes = OtlpReceiver.wants.routes("")

    def authenticate(self, request: Request) -> None:
        scheme, _, key = (request.header("authorization") or "").partition(" ")
        if scheme not in ("ApiKey", "Bearer") or not key:
            raise Refused(401, "Authorization must be 'ApiKey <encoded>' or 'Bearer <secret token>'", kind="auth")
        if key not in self.valid:
            raise Refused(401, "the key is not known", kind="auth", violation=False)
        request.tenant = key
