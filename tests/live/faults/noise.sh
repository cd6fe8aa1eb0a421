#!/bin/sh
# noise.sh MODE_FILE WORK: what a healthy host does all day: a package list is read anew, logs are rotated, files are compressed, and
# every 20 s something like a cron job runs.
cd "$2" || exit 1
second=0
seq 200000 >archive
: >service.log
while read -r mode <"$1"; do
  echo "$second $mode: the service goes on" >>service.log
  case $((second % 20)) in
    0) find /usr/share/doc -maxdepth 1 -type d | sort | md5sum ;;
    4) apt-cache -o Dir::Cache::pkgcache="$PWD/packages.bin" -o Dir::Cache::srcpkgcache="$PWD/sources.bin" gencaches ;;
    8) gzip --keep --force archive ;;
    12)
      mv service.log service.log.1
      : >service.log
      gzip --force service.log.1
      ;;
  esac >/dev/null 2>&1
  second=$((second + 1))
  sleep 1
done
