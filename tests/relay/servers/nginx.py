"""nginx, of Debian, in front of a source's socket: with the file of deploy/nginx, in which only paths and port are the test's."""

from __future__ import annotations

import functools
import os
import signal
import socket
from pathlib import Path

from .base import Server, free_port
from .cache import debian_program
from .rest import Rest

DEPLOYED = Path(__file__).resolve().parents[3] / "deploy" / "nginx" / "outlierd.conf"


class Nginx(Server):
    """Ends mutual TLS before `source_socket`. Its certificate, key and authority of clients lie in `folder` as server.pem, server.key, relays-ca.pem;
    reload() takes up what was replaced."""

    name = "nginx"

    def __init__(self, source_socket: Path, folder: Path | None = None) -> None:
        super().__init__(folder)
        self.port = free_port()
        self._socket = source_socket

    @classmethod
    def install(cls) -> Path:
        return debian_program("nginx", "nginx")

    @functools.cached_property
    def rest(self) -> Rest:
        return Rest(f"https://127.0.0.1:{self.port}")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def reload(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGHUP)

    def _launch(self) -> None:
        site = DEPLOYED.read_text()
        for ours, theirs in (("listen 9470", f"listen {self.address}"), ("/etc/outlierd/tls/", f"{self.folder}/"),
                             ("/run/outlierd/outlierd.sock", str(self._socket))):  # fmt: skip
            assert ours in site, f"{DEPLOYED} says nothing of {ours}"
            site = site.replace(ours, theirs)
        user = "user root;" if os.geteuid() == 0 else ""  # the socket's folder is the test's alone
        temporary = "".join(f"{kind}_temp_path {self.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        file = self.folder / "nginx.conf"
        file.write_text(f"{user} daemon off; worker_processes 1; pid {self.folder}/pid; error_log {self.folder}/error.log info;\n"
                        f"events {{}}\nhttp {{ access_log {self.folder}/access.log; {temporary}\n{site}\n}}\n")  # fmt: skip
        self._spawn([self.install(), "-p", self.folder, "-c", file, "-e", self.folder / "error.log"])

    def _ready(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
