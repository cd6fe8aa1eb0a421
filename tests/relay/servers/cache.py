"""Where installed servers are kept between runs, and how they get there: whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


class Unavailable(Exception):
    """A server cannot be had on this machine: what was tried, why it failed, what to do."""


def cache_folder() -> Path:
    """OUTLIER_TEST_CACHE, else ~/.cache/outlierd-tests; made if missing."""
    chosen = os.environ.get("OUTLIER_TEST_CACHE")
    folder = Path(chosen) if chosen else Path.home() / ".cache" / "outlierd-tests"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"the cache of servers {folder} cannot be made: {error.strerror}; set OUTLIER_TEST_CACHE") from error
    return folder.resolve()


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Holds the lock `name` of the cache; the kernel lets go of it when the holder ends, however it ends."""
    with (cache_folder() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def installed(name: str, recipe: Iterable[str | Path], make: Callable[[Path], None]) -> Path:
    """The folder of `name` in the cache. Where there is none of this recipe (texts, files, folders), `make` fills a new one, which gets its name only
    when it is whole: an interrupted installation is done again. Two runs at once install once."""
    final = cache_folder() / f"{name}-{digest(recipe)}"
    if final.is_dir():
        return final
    with locked(name):
        if not final.is_dir():  # else another run was faster
            part = final.with_name(final.name + ".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            make(part)
            part.rename(final)
    return final


def digest(recipe: Iterable[str | Path]) -> str:
    """Changes when any part of the recipe does."""
    total = hashlib.sha256()
    for part in recipe:
        if isinstance(part, str):
            total.update(part.encode() + b"\0")
            continue
        for file in sorted(part.rglob("*")) if part.is_dir() else [part]:
            if file.is_file():
                total.update(file.read_bytes() + b"\0")
    return total.hexdigest()[:12]


def client(command: Sequence[str | Path], *, package: str = "", folder: Path | None = None, environment: Mapping[str, str] | None = None,
           text: str | None = None, timeout: float = 1500) -> str:  # fmt: skip
    """Runs a registry's client or a tool of an installation and returns what it printed. `package`: Debian's, which brings the program."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, cwd=folder, env={**os.environ, **(environment or {})}, input=text if text is not None else "", text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)  # fmt: skip
    except FileNotFoundError as error:
        hint = f": apt-get install {package}" if package else ""
        raise Unavailable(f"`{words[0]}` is not installed{hint}") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"`{' '.join(words)}` did not end within {timeout:.0f} s") from error
    if done.returncode != 0:
        tail = "\n".join(done.stdout.strip().splitlines()[-15:])
        raise Unavailable(f"`{' '.join(words)}` ended with status {done.returncode}:\n{tail}")
    return done.stdout


def require_sha256(file: Path, expected: str) -> None:
    """For registries whose client takes what it gets."""
    total = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            total.update(chunk)
    if total.hexdigest() != expected:
        raise Unavailable(f"{file.name}: SHA-256 is {total.hexdigest()}, expected {expected}: the download is damaged or not what was asked for")


def python_environment(name: str, requirements: Path) -> Path:
    """A virtual environment of its own in the cache; returns its interpreter. Programs in it are run by `python -m`: it has been moved."""

    def make(folder: Path) -> None:
        client(["/usr/bin/python3", "-m", "venv", folder], package="python3-venv")
        client([folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "-r", requirements])

    return installed(name, [requirements], make) / "bin" / "python"


def maven_zip(group: str, artifact: str, version: str, sha256: str, into: Path) -> None:
    """Fetches a zip by Maven and unpacks it; Maven's own copy is deleted, its plugins stay in the cache for the next one."""
    repository = cache_folder() / "maven"
    with locked("maven"):
        client(["mvn", "--batch-mode", "--quiet", "--strict-checksums", f"-Dmaven.repo.local={repository}", "-Dtransitive=false",
                f"-Dartifact={group}:{artifact}:{version}:zip", "dependency:get"], package="maven", folder=into)  # fmt: skip
        kept = repository / group.replace(".", "/") / artifact / version
        file = kept / f"{artifact}-{version}.zip"
        require_sha256(file, sha256)
        client(["unzip", "-q", file, "-d", into], package="unzip")
        shutil.rmtree(kept)


def debian_program(name: str, package: str) -> Path:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/bin:/usr/sbin")
    if found is None:
        raise Unavailable(f"`{name}` is not installed: apt-get install {package} (./test installs what deploy/packages.txt lists)")
    return Path(found)
