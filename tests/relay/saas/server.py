"""All vendors, each on its own port, and the control port that tells them what to do and what they saw."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections import defaultdict, deque
from typing import Any

from .core import Clock, Refused, Request, Vendor
from .faults import KINDS, Fault, Faults
from .vendors import VENDORS
from .wire import Answer, BadRequest, Incoming, Line, Listener

GARBAGE = b"\x00\x16\x03\x01\xff\xfe NOT/HTTP\r\n\x80\x81\x82\r\n\r\n"
PAGE = "<!DOCTYPE html><html><body><h1>Please sign in to the network</h1></body></html>"


def server_context(certificate: str, key: str, client_ca: str | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    if client_ca:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class Host:
    """One vendor behind its port."""

    def __init__(self, vendor: Vendor, world: World) -> None:
        self.vendor = vendor
        self.world = world
        self.listener = Listener(self.respond, self.complain)
        self.recent: dict[str, deque[float]] = defaultdict(deque)

    def complain(self, error: BadRequest, connection: int) -> None:
        entry = self.world.record(self.vendor.name, connection)
        entry.update(verdict="cut" if error.cut else "refused", status=None if error.cut else error.status)
        if not error.cut:
            entry["violations"].append({"kind": "http", "text": str(error)})

    async def respond(self, incoming: Incoming, line: Line) -> None:
        vendor = self.vendor
        entry = self.world.record(vendor.name, incoming.connection)
        entry.update(
            method=incoming.method, path=incoming.path, query=incoming.query, headers=dict(incoming.headers),
            bytes=len(incoming.body), client_certificate=incoming.client_certificate,
        )  # fmt: skip
        request: Request | None = None
        refused: Refused | None = None
        apply = None
        try:
            route, groups = vendor.find(incoming)
            request = Request(incoming, route, groups, vendor.clock.now())
            request.violations = entry["violations"]
            request.effects = entry["effects"]
            if route.key:
                vendor.authenticate(request)
            vendor.decode(request)
            apply = getattr(vendor, route.handler)(request)
        except Refused as error:
            refused = error
            if error.violation:
                entry["violations"] += [{"kind": error.kind, "text": text} for text in error.texts]
        body = request.body if request is not None and request.body else incoming.body
        if request is not None:
            entry.update(tenant=request.tenant, route=request.route.handler)
        entry["body"] = _listed(request.value if request is not None else None, body)

        fault = self.world.faults.pick(vendor.name, incoming, body)
        if fault is not None and fault.kind != "accept":
            entry["fault"] = fault.kind
            await self._misbehave(fault, apply, refused, request, entry, line)
            return
        answer = self._answer(apply, refused, request, entry)
        await self._send(line, answer, entry)

    def _answer(self, apply: Any, refused: Refused | None, request: Request | None, entry: dict[str, Any], partial: int = 0) -> Answer:
        if refused is not None:
            entry.update(verdict="refused", reason=refused.kind)
            return self._decorated(self.vendor.refusal(refused, request))
        assert request is not None
        wait = self._over_the_rate(request)
        if wait is not None:
            entry.update(verdict="throttled")
            return self._decorated(self.vendor.throttle(wait if self.vendor.retry_after is not None else None))
        request.refuse_items = partial
        answer = apply()
        entry.update(verdict="partial" if partial else "accepted", processed=True)
        return self._decorated(answer)

    def _decorated(self, answer: Answer) -> Answer:
        self.vendor.decorate(answer)
        return answer

    def _over_the_rate(self, request: Request) -> float | None:
        """Seconds until the next would pass, where this one does not."""
        if not self.vendor.rate_on or self.vendor.rate is None:
            return None
        most, seconds = self.vendor.rate
        recent = self.recent[request.tenant]
        while recent and recent[0] <= request.now - seconds:
            recent.popleft()
        if len(recent) >= most:
            return max(1.0, round(recent[0] + seconds - request.now + 0.5))
        recent.append(request.now)
        return None

    async def _misbehave(
        self, fault: Fault, apply: Any, refused: Refused | None, request: Request | None, entry: dict[str, Any], line: Line
    ) -> None:
        vendor = self.vendor
        takes_effect = fault.kind in ("slow", "garbage", "truncate", "nonsense") or fault.processed
        answer = self._answer(apply, refused, request, entry) if takes_effect else None
        if fault.kind == "partial":
            await self._send(line, self._answer(apply, refused, request, entry, fault.count), entry)
            return
        entry["verdict"] = "fault"
        if fault.kind == "reset":
            line.reset()
        elif fault.kind == "hang":
            gone = asyncio.ensure_future(line.reader.read(1))
            cleared = asyncio.ensure_future(fault.cleared.wait())
            try:
                await asyncio.wait((gone, cleared), return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone.cancel()
                cleared.cancel()
            line.reset()
        elif fault.kind == "slow":
            assert answer is not None
            await asyncio.sleep(fault.delay)
            await self._send(line, answer, entry)
        elif fault.kind == "garbage":
            await line.send(GARBAGE)
            await line.close()
        elif fault.kind == "truncate":
            assert answer is not None
            data = answer.encoded()
            await line.send(data[: max(20, len(data) - max(3, len(data) // 4))])
            await line.close()
        elif fault.kind == "nonsense":
            await self._send(line, Answer(200, PAGE, {"Content-Type": "text/html"}), entry)
        elif fault.kind == "throttle":
            answer = vendor.throttle(fault.retry_after if fault.retry_after is not None else None)
            answer.headers |= fault.headers
            await self._send(line, self._decorated(answer), entry)
        else:
            headers = dict(fault.headers)
            if fault.kind == "redirect":
                headers["Location"] = fault.location
            if fault.kind == "fail" and fault.retry_after is not None:
                headers["Retry-After"] = str(fault.retry_after)
            told = Refused(fault.answer_status, f"told to answer {fault.answer_status}", kind="fault", headers=headers)
            await self._send(line, self._decorated(vendor.refusal(told, request)), entry)

    async def _send(self, line: Line, answer: Answer, entry: dict[str, Any]) -> None:
        entry.update(status=answer.status, answered=self.world.clock.now())
        await line.send(answer.encoded())


def _listed(value: Any, body: bytes) -> Any:
    if value is not None:
        return value
    try:
        return body.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}


class World:
    def __init__(self) -> None:
        self.clock = Clock()
        self.faults = Faults()
        self.records: list[dict[str, Any]] = []
        self.next_id = 1
        self.shared: dict[str, Any] = {}
        self.hosts = {vendor.name: Host(vendor(self.clock, self.shared), self) for vendor in VENDORS}
        self.control = Listener(self._control, lambda error, connection: None)
        self.stopped = asyncio.Event()

    def record(self, vendor: str, connection: int) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "id": self.next_id, "vendor": vendor, "connection": connection, "time": self.clock.now(), "method": None, "path": None,
            "query": {}, "headers": {}, "bytes": 0, "body": None, "tenant": "", "route": None, "verdict": None, "status": None,
            "fault": None, "processed": False, "effects": [], "violations": [],
        }  # fmt: skip
        self.next_id += 1
        self.records.append(entry)
        return entry

    async def start(self, tls: ssl.SSLContext | None) -> dict[str, Any]:
        for host in self.hosts.values():
            await host.listener.open(tls)
        await self.control.open(None)
        return {"control": self.control.port, "ports": {name: host.listener.port for name, host in self.hosts.items()}}

    async def stop(self) -> None:
        self.faults.clear()
        for host in self.hosts.values():
            await host.listener.close()
        await self.control.close()

    async def _control(self, incoming: Incoming, line: Line) -> None:
        try:
            question = json.loads(incoming.body or b"{}")
            operation = question.pop("operation", "")
            method = getattr(self, f"do_{operation}", None)
            if method is None:
                raise ValueError(f"operation {operation!r} is not known")
            value = method(**question)
            if asyncio.iscoroutine(value):
                value = await value
            answer = Answer(200, {"value": value})
        except (ValueError, TypeError, KeyError, OSError) as error:
            answer = Answer(400, {"error": f"{type(error).__name__}: {error}"})
        await line.send(answer.encoded())

    def _host(self, vendor: str) -> Host:
        if vendor not in self.hosts:
            raise ValueError(f"vendor {vendor!r} is not known: {', '.join(self.hosts)}")
        return self.hosts[vendor]

    # What the control port can be asked.

    def do_fault(self, vendor: str, kind: str, **details: Any) -> None:
        if vendor != "*":
            self._host(vendor)
        if kind == "partial" and (vendor == "*" or not self._host(vendor).vendor.can_be_partial):
            raise ValueError(f"{vendor} takes a request as a whole: it has no partial answer")
        self.faults.rules.append(Fault(vendor, kind, **details))

    def do_faults(self) -> list[dict[str, Any]]:
        return [rule.told() for rule in self.faults.rules]

    def do_clear_faults(self, vendor: str | None = None) -> None:
        self.faults.clear(vendor)

    def do_requests(self, vendor: str | None = None, since: int = 0) -> list[dict[str, Any]]:
        return [entry for entry in self.records if entry["id"] > since and vendor in (None, entry["vendor"])]

    def do_count(self, vendor: str | None = None) -> int:
        return sum(1 for entry in self.records if vendor in (None, entry["vendor"]))

    def do_violations(self, vendor: str | None = None) -> list[dict[str, Any]]:
        return [
            {"request": entry["id"], "vendor": entry["vendor"], "method": entry["method"], "path": entry["path"], **violation}
            for entry in self.do_requests(vendor)
            for violation in entry["violations"]
        ]

    def do_state(self, vendor: str) -> Any:
        return self._host(vendor).vendor.state()

    def do_configure(self, vendor: str, **settings: Any) -> None:
        self._host(vendor).vendor.configure(**settings)

    def do_reset(self) -> None:
        """As just started, but for ports, certificates and the clock."""
        self.faults.clear()
        self.records.clear()
        self.shared.clear()
        for host in self.hosts.values():
            host.vendor = type(host.vendor)(self.clock, self.shared)
            host.recent.clear()

    def do_clock(self, now: float | None = None, frozen: bool = False) -> float:
        self.clock.set(now, frozen)
        return self.clock.now()

    async def do_close(self, vendor: str) -> None:
        await self._host(vendor).listener.close()

    async def do_open(self, vendor: str, certificate: str | None = None, key: str | None = None, client_ca: str | None = None) -> int:
        listener = self._host(vendor).listener
        tls = server_context(certificate, key or certificate, client_ca) if certificate else None
        await listener.close()
        await listener.open(tls)
        return listener.port

    def do_kinds(self) -> dict[str, str]:
        return KINDS

    def do_stop(self) -> None:
        self.stopped.set()
