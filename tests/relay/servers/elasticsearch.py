"""Elasticsearch, from Maven's registry, with a plugin of ours that supplies what its distribution for tests lacks."""

from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path
from typing import Any

from .cache import client, installed, maven_zip
from .certificates import Authority
from .rest import Rest, basic
from .search import SearchServer, java_home

VERSION = "8.19.21"
SHA256 = "215d5f3dbf0609a149f6218a9e47b6ae2df34ebbff3c5754e35f15a5e5393c8a"
PASSWORD = "for-tests-only"
PLUGIN = Path(__file__).parent / "plugin"


class Elasticsearch(SearchServer):
    """With TLS, the user `elastic` and API keys."""

    name = "elasticsearch"
    environment_prefix = "ES"

    @classmethod
    def install(cls) -> Path:
        return installed(f"elasticsearch-{VERSION}", [SHA256, PASSWORD, PLUGIN], cls._make) / f"elasticsearch-{VERSION}"

    @staticmethod
    def _make(folder: Path) -> None:
        java = java_home(17)
        maven_zip("org.elasticsearch.distribution.integ-test-zip", "elasticsearch", VERSION, SHA256, folder)
        home = folder / f"elasticsearch-{VERSION}"
        classes, plugin = folder / "classes", home / "plugins" / "outlierd-tests"
        plugin.mkdir(parents=True)
        client([java / "bin" / "javac", "-nowarn", "-d", classes, "-cp", f"{home}/lib/*", *PLUGIN.glob("*.java")], package="openjdk-17-jdk-headless")
        client([java / "bin" / "jar", "--create", "--file", plugin / "plugin.jar", "-C", classes, "."])
        shutil.rmtree(classes)
        shutil.copy2(PLUGIN / "plugin-descriptor.properties", plugin)
        # Making a keystore takes two JVMs: once here, and not at each start.
        tool, environment = home / "bin" / "elasticsearch-keystore", {"ES_JAVA_HOME": str(java)}
        client([tool, "create"], environment=environment)
        client([tool, "add", "--stdin", "bootstrap.password"], environment=environment, text=PASSWORD)
        os.chmod(home / "config" / "elasticsearch.keystore", 0o600)

    @functools.cached_property
    def authority(self) -> Authority:
        return Authority(self.folder / "certificates")

    @property
    def ca_file(self) -> Path:
        return self.authority.certificate

    @functools.cached_property
    def rest(self) -> Rest:
        """As the superuser `elastic`."""
        return Rest(f"https://127.0.0.1:{self.port}", headers=basic("elastic", PASSWORD), ca_file=self.ca_file)

    def create_api_key(self, name: str, *, cluster: list[str] | None = None, indices: list[dict[str, Any]] | None = None) -> str:
        """A key with these privileges; what follows `Authorization: ApiKey `."""
        role = {"cluster": cluster or [], "indices": indices or []}
        made = self.rest.post("/_security/api_key", {"name": name, "role_descriptors": {"only": role}}).expect(200)
        return str(made.json()["encoded"])

    def invalidate_api_keys(self, name: str) -> None:
        self.rest.request("DELETE", "/_security/api_key", {"name": name}).expect(200)

    def with_api_key(self, encoded: str) -> Rest:
        return self.rest.with_headers({"Authorization": f"ApiKey {encoded}"})

    def use_certificate(self, certificate: Path, key: Path) -> None:
        """For the next start; while it runs, it reads them again within five seconds."""
        shutil.copy2(certificate, self.folder / "config" / "http.crt")
        shutil.copy2(key, self.folder / "config" / "http.key")

    def _configure(self, config: Path) -> None:
        self.use_certificate(*self.authority.issue("elasticsearch"))

    def _launch(self) -> None:
        self._launch_node(self.install(), "elasticsearch", java_home(17, highest=21))

    def _settings(self) -> dict[str, str]:
        return {
            **super()._settings(),
            "xpack.security.enabled": "true",
            "xpack.security.autoconfiguration.enabled": "false",
            "xpack.security.http.ssl.enabled": "true",
            "xpack.security.http.ssl.certificate": "http.crt",
            "xpack.security.http.ssl.key": "http.key",
        }
