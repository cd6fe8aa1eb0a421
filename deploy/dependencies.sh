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
} >docs/dependencies.md
