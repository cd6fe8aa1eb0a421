"""Grafana Cloud's OTLP gateway. From public configurations: all of it is UNVERIFIED but the path, the basic auth and HTTP."""

from __future__ import annotations

import base64
import binascii

from ..core import Refused, Request
from ..otlp import OtlpReceiver


class GrafanaCloud(OtlpReceiver):
    name = "grafana_cloud"
    keys = ("123456:glc_abcdefghijklmnop",)  # instance and token
    routes = OtlpReceiver.wants.routes("/otlp")

    def authenticate(self, request: Request) -> None:
        scheme, _, text = (request.header("authorization") or "").partition(" ")
        try:
            pair = base64.b64decode(text, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            pair = ""
        if scheme != "Basic" or not pair.partition(":")[0].isdigit():
            raise Refused(401, "Authorization must be Basic, of instance and token", kind="auth")
        if pair not in self.valid:
            raise Refused(401, "the token is not known", kind="auth", violation=False)
        request.tenant = pair.partition(":")[0]
