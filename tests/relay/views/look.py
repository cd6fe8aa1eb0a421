#!/usr/bin/env python3
"""Draws every picture on a server that holds the documents of documents.py, to be looked at; writes the one of docs/dashboards.md.

    tests/relay/views/look.py elasticsearch|opensearch FOLDER    writes FOLDER/NAME.png, and FOLDER/dashboards.svg
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

import node  # noqa: E402
from pictures import draw  # noqa: E402
from servers.elasticsearch import Elasticsearch  # noqa: E402
from servers.opensearch import OpenSearch  # noqa: E402
from store import CONTEXT, fill  # noqa: E402
from test_pictures import SIZE, pictures_of, spec_of  # noqa: E402


def below_each_other(svgs: list[str]) -> str:
    parts, top, widest = [], 0, 0
    for svg in svgs:
        width, height = (int(re.search(rf'{side}="(\d+)"', svg)[1]) for side in ("width", "height"))  # type: ignore[index]
        # Clip paths are numbered from 0 in each.
        svg = re.sub(r"(clip|gradient)(\d+)", rf"\g<1>{len(parts)}_\2", svg)
        parts.append(svg.replace("<svg ", f'<svg y="{top}" ', 1))
        top, widest = top + height + 16, max(widest, width)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{widest}" height="{top}" viewBox="0 0 {widest} {top}">'
    return f'{head}<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'


def rounded(svg: str) -> str:
    """Tenths of a pixel are enough."""
    return re.sub(r"\d+\.\d{2,}", lambda match: f"{float(match[0]):.1f}".removesuffix(".0"), svg)


def main() -> int:
    if len(sys.argv) != 3 or sys.argv[1] not in ("elasticsearch", "opensearch"):
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    with (Elasticsearch if sys.argv[1] == "elasticsearch" else OpenSearch)() as server:
        indexed, svgs = fill(server), {}
        for name in pictures_of(server.name):
            width, height = SIZE.get(name, (480, 260))
            svgs[name] = draw(spec_of(name, server.name), CONTEXT, indexed.search, node.packages(), width, height, png=folder / f"{name}.png").svg
    (folder / "dashboards.svg").write_text(rounded(below_each_other([svgs["swim-lane"], svgs["single-metric"]])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
