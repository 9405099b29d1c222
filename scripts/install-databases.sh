#!/bin/bash
# Installs Debian's PostgreSQL and Redis, which the tests of ledger and limits start on loopback in temporary folders.
# What cannot be installed is reported loudly; its tests are then skipped, as loudly.
set -uo pipefail

as_root=()
[[ $(id -u) -eq 0 ]] || as_root=(sudo)

have() {
  command -v "$1" >/dev/null || ls /usr/lib/postgresql/*/bin/"$1" >/dev/null 2>&1
}

for pair in postgres:postgresql redis-server:redis-server; do
  program=${pair%%:*} package=${pair##*:}
  if have "$program"; then
    echo "databases: $package is here"
    continue
  fi
  # No service of the system: the tests start their own.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get install --yes --no-install-recommends "$package" >/dev/null 2>&1 ||
    { "${as_root[@]}" apt-get update >/dev/null 2>&1 &&
      "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install --yes --no-install-recommends "$package" >/dev/null 2>&1; }
  if have "$program"; then
    echo "databases: $package installed"
  else
    echo "databases: $package COULD NOT BE INSTALLED; ITS TESTS WILL BE SKIPPED" >&2
  fi
done
