#!/bin/bash
# Install what a bare Debian 12 lacks before `make setup`: Python's venv and headers, a C++ compiler, make, git.
set -euo pipefail

packages=(python3 python3-venv python3-dev g++ cmake make git ca-certificates)

as_root=()
if [[ $(id -u) -ne 0 ]]; then
  as_root=(sudo)
fi

"${as_root[@]}" apt-get update
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install --yes --no-install-recommends "${packages[@]}"
