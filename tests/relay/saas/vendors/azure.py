"""Azure Monitor: Logs Ingestion and OTLP, and the Entra endpoint (with the instance metadata service) whose tokens both take.

UNVERIFIED: all of the token endpoints, the success code 204, 12 000 requests a minute, codes and texts of errors, that compressed and
inflated size are both held to 1 MB.
"""

from __future__ import annotations

import re
import secrets
from typing import Any
from urllib.parse import parse_qsl

from ..check import rfc3339
from ..core import Apply, Refused, Request, Route, Vendor
from ..otlp import OtlpReceiver
from ..wire import Answer

MAX_BODY = 1_048_576
SCOPE = "https://monitor.azure.com/.default"
TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
CLIENT = "11111111-2222-3333-4444-555555555555"
RULE = "dcr-0123456789abcdef0123456789abcdef"


class Entra(Vendor):
    name = "entra"
    keys = (f"{CLIENT}:a~client~secret",)  # client id and secret
    routes = (
        Route("POST", r"/(?P<tenant>[^/]+)/oauth2/v2\.0/token", "token", media=("application/x-www-form-urlencoded",),
        query={"client-request-id": ".*"}),
        Route("GET", r"/(?P<tenant>[^/]+)/v2\.0/\.well-known/openid-configuration", "discovery", media=(), query={"api-version": ".*"}),
        Route(
            "GET", "/metadata/identity/oauth2/token", "metadata_token", media=(), query={"api-version": "2018-02-01",
            "resource": "https://monitor.azure.com/?"},
            needed_query=("api-version", "resource"),
        ),
    )  # fmt: skip

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.lifetime = 3600

    def reset(self) -> None:
        self.tokens: dict[str, dict[str, Any]] = self.world.setdefault("azure tokens", {})
        self.tokens.clear()

    def setting(self, name: str, value: Any) -> bool:
        if name == "lifetime":
            self.lifetime = int(value)
        elif name == "revoke" and value:
            self.tokens.clear()
        return name in ("lifetime", "revoke")

    def refusal(self, refused: Refused, request: Request | None) -> Answer:
        return Answer(refused.status, {"error": refused.code or "invalid_request", "error_description": str(refused)}, refused.headers)

    def _issue(self) -> str:
        token = f"eyJ.{secrets.token_urlsafe(32)}.sig"
        self.tokens[token] = {"expires": self.clock.now() + self.lifetime}
        return token

    def token(self, request: Request) -> Apply:
        form = dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
        for name in ("grant_type", "client_id", "client_secret", "scope"):
            if not form.get(name):
                raise Refused(400, f"{name} is missing", code="invalid_request")
        if form["grant_type"] != "client_credentials":
            raise Refused(400, f"grant_type {form['grant_type']!r}", code="unsupported_grant_type")
        if SCOPE not in form["scope"].split():
            raise Refused(400, f"scope {form['scope']!r}, must be {SCOPE}", code="invalid_scope")
        if request.groups["tenant"] != TENANT:
            raise Refused(400, "the tenant is not known", code="invalid_tenant", kind="auth", violation=False)
        if f"{form['client_id']}:{form['client_secret']}" not in self.valid:
            raise Refused(401, "the client or its secret is not known", code="invalid_client", kind="auth", violation=False)
        request.tenant = form["client_id"]

        def apply() -> Answer:
            told = {"token_type": "Bearer", "expires_in": self.lifetime, "ext_expires_in": self.lifetime, "access_token": self._issue()}
            return Answer(200, told, {"Cache-Control": "no-store"})

        return apply

    def metadata_token(self, request: Request) -> Apply:
        if (request.header("metadata") or "").lower() != "true":
            raise Refused(400, "Metadata: true is missing", kind="header")
        if request.header("x-forwarded-for"):
            raise Refused(400, "X-Forwarded-For is not allowed", kind="header")

        def apply() -> Answer:
            told = {
                "access_token": self._issue(),
                "expires_in": str(self.lifetime),
                "expires_on": str(int(self.clock.now() + self.lifetime)),
            }
            return Answer(200, told | {"resource": request.incoming.query["resource"], "token_type": "Bearer"})

        return apply

    def discovery(self, request: Request) -> Apply:
        base = f"https://{request.header('host')}/{request.groups['tenant']}"
        told = {
            "issuer": f"{base}/v2.0", "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "jwks_uri": f"{base}/discovery/v2.0/keys", "response_types_supported": ["code"], "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }  # fmt: skip
        return lambda: Answer(200, told)

    def state(self) -> Any:
        return {"tokens": self.tokens}


class Azure(OtlpReceiver):
    name = "azure"
    keys = (RULE,)  # data collection rules, by their immutable ids
    rate = (12_000, 60.0)
    retry_after = 1.0
    routes = (
        Route(
            "POST", r"/dataCollectionRules/(?P<rule>[^/]+)/streams/(?P<stream>[^/]+)", "ingest", encodings=("gzip",), limit=MAX_BODY,
            inflated_limit=MAX_BODY, query={"api-version": "2023-01-01"}, needed_query=("api-version",),
        ),
    ) + OtlpReceiver.wants.routes(
        r"/datacollectionRules/(?P<rule>[^/]+)/streams/microsoft-otelmetrics/otlp", ("metrics",)
    ) + OtlpReceiver.wants.routes(
        r"/datacollectionRules/(?P<rule>[^/]+)/streams/(Microsoft-OTLP-Logs|opentelemetry_logs)/otlp", ("logs",)
    )  # fmt: skip

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.streams: dict[str, dict[str, str]] = {}

    def reset(self) -> None:
        super().reset()
        self.rows: dict[str, list[Any]] = {}

    def setting(self, name: str, value: Any) -> bool:
        """`streams`: name -> column -> type (string, int, long, real, boolean, dynamic, datetime); without any, every column is taken."""
        if name == "streams":
            self.streams = value
        return name == "streams"

    def authenticate(self, request: Request) -> None:
        scheme, _, token = (request.header("authorization") or "").partition(" ")
        if scheme != "Bearer" or not token:
            raise Refused(401, "Authorization must be 'Bearer <token>'", kind="auth", code="AuthenticationFailed")
        known = self.world.get("azure tokens", {}).get(token)
        if known is None or known["expires"] <= self.clock.now():
            raise Refused(
                401, "the token is not known, or has expired", kind="auth", violation=False, code="AuthenticationTokenInvalid",
                headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
            )  # fmt: skip
        if request.groups["rule"] not in self.valid:
            raise Refused(404, "the data collection rule is not known", kind="auth", violation=False, code="NotFound")
        request.tenant = request.groups["rule"]

    def refusal(self, refused: Refused, request: Request | None) -> Answer:
        if request is not None and request.route.handler.startswith("otlp_"):
            return super().refusal(refused, request)
        known = {413: "ContentLengthLimitExceeded", 429: "TooManyRequests", 403: "OperationFailed", 404: "NotFound"}
        code = refused.code or known.get(refused.status, "InvalidPayload" if refused.status < 500 else "InternalServerError")
        return Answer(refused.status, {"error": {"code": code, "message": str(refused)}}, refused.headers)

    def throttle(self, retry_after: float | str | None) -> Answer:
        return super().throttle(self.retry_after if retry_after is None else retry_after)

    def ingest(self, request: Request) -> Apply:
        stream = request.groups["stream"]
        if not re.fullmatch(r"Custom-\w{1,100}", stream):
            raise Refused(404, f"stream {stream!r} is none of Custom-<name>", code="StreamNotFound")
        columns = self.streams.get(stream)
        if self.streams and columns is None:
            raise Refused(404, f"stream {stream!r} is not declared in the rule", kind="state", violation=False, code="StreamNotFound")
        rows = request.value
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            raise Refused(400, "the body is not an array of objects")
        for number, row in enumerate(rows):
            request.violate("schema", *(f"[{number}]: {text}" for text in _wrong_row(row, columns)))

        def apply() -> Answer:
            self.rows.setdefault(stream, []).extend(rows)
            request.effects.append(f"stored {len(rows)}")
            return Answer(204)

        return apply

    def state(self) -> Any:
        return super().state() | {"rows": self.rows}


def _wrong_row(row: dict[str, Any], columns: dict[str, str] | None) -> list[str]:
    wrong = []
    for name, value in row.items():
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,44}", name):
            wrong.append(f"column {name[:60]!r}: 1..45 letters, digits and underscores, a letter first")
        if isinstance(value, str) and len(value.encode()) > 64 * 1024:
            wrong.append(f"{name} has {len(value.encode())} bytes and is cut at 64 KB")
        if columns is None:
            continue
        kind = columns.get(name)
        fits = {
            "string": isinstance(value, str), "boolean": isinstance(value, bool), "dynamic": True,
            "int": isinstance(value, int) and not isinstance(value, bool), "long": isinstance(value, int) and not isinstance(value, bool),
            "real": isinstance(value, (int, float)) and not isinstance(value, bool),
            "datetime": isinstance(value, str) and rfc3339(value) is not None,
        }  # fmt: skip
        if kind is None:
            wrong.append(f"the stream declares no column {name}, it is dropped")
        elif value is not None and not fits[kind]:
            wrong.append(f"{name} is declared {kind}")
    return wrong
