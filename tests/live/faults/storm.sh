#!/bin/sh
# storm.sh MODE_FILE WORK: starts one process a second, or, in mode `storm`, about a thousand.
while read -r mode <"$1"; do
  if [ "$mode" = storm ]; then
    started=0
    while [ "$started" -lt 100 ]; do
      /bin/true
      started=$((started + 1))
    done
  else
    sleep 1
  fi
done
