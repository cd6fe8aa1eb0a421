#!/bin/sh
# supervise.sh COMMAND...: starts it again two seconds after it failed.
until "$@"; do
  sleep 2
done
