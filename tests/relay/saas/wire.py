"""HTTP/1.1 on asyncio streams, strict, and with the means to misbehave: resets, half answers, bytes that are no HTTP."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

MAX_HEAD = 64 * 1024
MAX_BODY = 128 * 1024 * 1024  # beyond any vendor's limit: what is larger is not read
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class BadRequest(Exception):
    """Not HTTP as RFC 9112 has it."""

    def __init__(self, text: str, status: int = 400, cut: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.cut = cut  # the peer went away in the middle: a crash, not a wrong request


@dataclass
class Incoming:
    """One request as it came over the wire."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int
    client_certificate: str | None = None

    @property
    def path(self) -> str:
        """Still percent-encoded, so that an encoded slash in an alias stays one."""
        return urlsplit(self.target).path if "://" in self.target else self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        pairs = (pair.partition("=") for pair in self.target.partition("?")[2].split("&") if pair)
        return {unquote(name.replace("+", " ")): unquote(value.replace("+", " ")) for name, _, value in pairs}

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key == name.lower()]
        return ", ".join(values) if values else None


@dataclass
class Answer:
    """What goes back. `body` of a dict or list becomes JSON."""

    status: int = 200
    body: bytes | str | dict | list | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def encoded(self, keep_alive: bool = True) -> bytes:
        headers = dict(self.headers)
        if self.body is None:
            payload = b""
        elif isinstance(self.body, bytes):
            payload = self.body
        elif isinstance(self.body, str):
            payload = self.body.encode()
            headers.setdefault("Content-Type", "text/plain; charset=utf-8")
        else:
            payload = json.dumps(self.body).encode()
            headers.setdefault("Content-Type", "application/json")
        try:
            phrase = HTTPStatus(self.status).phrase
        except ValueError:
            phrase = "Unknown"
        if self.status not in (204, 304):
            headers.setdefault("Content-Length", str(len(payload)))
        headers.setdefault("Connection", "keep-alive" if keep_alive else "close")
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status} {phrase}\r\n{head}\r\n".encode("latin-1") + payload


class Line:
    """The connection that a request came on, as far as an answer may abuse it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.over = False

    def reset(self) -> None:
        """The peer sees ECONNRESET, not an orderly end."""
        raw = self.writer.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        self.over = True

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def close(self) -> None:
        self.over = True
        self.writer.close()


Respond = Callable[[Incoming, Line], Awaitable[None]]
Complain = Callable[[BadRequest, int], None]


async def read_request(line: Line, connection: int) -> Incoming | None:
    """None when the peer ended the connection between requests."""
    reader = line.reader
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise BadRequest("the connection ended within the head of a request", cut=True) from error
    except asyncio.LimitOverrunError as error:
        raise BadRequest(f"the head is longer than {MAX_HEAD} bytes", 431) from error
    request_line, *lines = head[:-4].decode("latin-1").split("\r\n")
    parts = request_line.split(" ")
    if len(parts) != 3 or not TOKEN.fullmatch(parts[0]) or parts[2] != "HTTP/1.1":
        raise BadRequest(f"not a request line of HTTP/1.1: {request_line[:100]!r}")
    method, target, _ = parts
    if not target.startswith("/") and "://" not in target and not (method == "OPTIONS" and target == "*"):
        raise BadRequest(f"not a request target: {target[:100]!r}")
    headers: list[tuple[str, str]] = []
    for text in lines:
        name, colon, value = text.partition(":")
        if not colon or not TOKEN.fullmatch(name):
            raise BadRequest(f"not a header line: {text[:100]!r}")
        headers.append((name.lower(), value.strip(" \t")))
    incoming = Incoming(method, target, headers, b"", connection)
    for name in ("host", "content-length", "content-type", "authorization"):
        if sum(1 for key, _ in headers if key == name) > 1:
            raise BadRequest(f"header {name} is there twice")
    if not incoming.header("host"):
        raise BadRequest("no Host header")
    coding, length = incoming.header("transfer-encoding"), incoming.header("content-length")
    if coding is not None and length is not None:
        raise BadRequest("both Transfer-Encoding and Content-Length")
    if (incoming.header("expect") or "").lower() == "100-continue":
        await line.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    try:
        if coding is not None:
            if coding.lower() != "chunked":
                raise BadRequest(f"Transfer-Encoding {coding!r} is not known", 501)
            incoming.body = await _read_chunks(reader)
        elif length is not None:
            if not length.isdigit():
                raise BadRequest(f"Content-Length {length!r} is no number")
            if int(length) > MAX_BODY:
                raise BadRequest(f"a body of {length} bytes", 413)
            incoming.body = await reader.readexactly(int(length))
        elif method in ("POST", "PUT", "PATCH"):
            raise BadRequest(f"{method} with neither Content-Length nor Transfer-Encoding", 411)
    except asyncio.IncompleteReadError as error:
        raise BadRequest("the connection ended within a body", cut=True) from error
    return incoming


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while True:
        size_line = (await reader.readuntil(b"\r\n"))[:-2].split(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", size_line):
            raise BadRequest(f"not the size of a chunk: {size_line[:20]!r}")
        size = int(size_line, 16)
        if len(body) + size > MAX_BODY:
            raise BadRequest("a body beyond every limit", 413)
        if size == 0:
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass
            return bytes(body)
        body += await reader.readexactly(size)
        if await reader.readexactly(2) != b"\r\n":
            raise BadRequest("a chunk does not end where it says")


class Listener:
    """One listening port. It can be closed (connections are refused) and opened again on the same port, under another certificate."""

    def __init__(self, respond: Respond, complain: Complain) -> None:
        self.port = 0
        self.connections = 0
        self._respond = respond
        self._complain = complain
        self._server: asyncio.AbstractServer | None = None
        self._open: set[Line] = set()

    async def open(self, tls: ssl.SSLContext | None) -> None:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=tls, limit=MAX_HEAD, backlog=512, reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for line in list(self._open):
            line.reset()
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = self.connections
        line = Line(reader, writer)
        self._open.add(line)
        peer = writer.get_extra_info("peercert")
        subject = ",".join(value for part in peer.get("subject", ()) for key, value in part if key == "commonName") if peer else None
        try:
            while not line.over:
                try:
                    incoming = await read_request(line, connection)
                except BadRequest as error:
                    self._complain(error, connection)
                    await line.send(Answer(error.status, str(error)).encoded(keep_alive=False))
                    break
                if incoming is None:
                    break
                incoming.client_certificate = subject
                await self._respond(incoming, line)
                if (incoming.header("connection") or "").lower() == "close":
                    break
        except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the peer went away: what it had sent is on record
        finally:
            self._open.discard(line)
            writer.close()
