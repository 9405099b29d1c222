#!/bin/bash
# Make .venv and install Firesteel with its development tools. `make setup` calls this when pyproject.toml is newer.
# llama.cpp is compiled from its source package, for the instruction set of this very machine: no prebuilt wheel is as fast.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
log=.venv/setup.log
remedy="On Debian or Ubuntu run scripts/system-packages.sh, then try again."

fail() {
  echo "setup: $1" >&2
  exit 1
}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or newer is needed. $remedy"
"$python" -c 'import ensurepip, venv' 2>/dev/null || fail "Python's venv module is missing. $remedy"
command -v c++ >/dev/null || fail "a C++ compiler is missing. $remedy"

if [[ ! -x .venv/bin/pip ]]; then
  "$python" -m venv .venv
fi

if ! .venv/bin/python -c 'import llama_cpp' 2>/dev/null; then
  echo "setup: compiling llama.cpp for this machine: 6 to 8 minutes on two cores the first time,"
  echo "setup: seconds when pip still has the wheel in its cache. Log: $log"
fi

# LLAVA_BUILD=OFF leaves the image models out: Firesteel is text only.
CMAKE_ARGS="${CMAKE_ARGS:--DLLAVA_BUILD=OFF}" \
  .venv/bin/pip install --verbose --disable-pip-version-check --editable '.[dev]' >"$log" 2>&1 &
pip=$!
trap 'kill "$pip" 2>/dev/null || true' EXIT INT TERM

started=$SECONDS
reported=$SECONDS
while kill -0 "$pip" 2>/dev/null; do
  sleep 1
  if ((SECONDS - reported >= 15)); then
    reported=$SECONDS
    step=$(grep -oE '\[[0-9]+/[0-9]+\]' "$log" | tail -n 1 || true)
    echo "setup: $((SECONDS - started)) s ${step:-}"
  fi
done

if ! wait "$pip"; then
  tail -n 30 "$log" >&2
  fail "pip failed; the whole log is in $log"
fi
trap - EXIT INT TERM
.venv/bin/python -c 'import llama_cpp' >>"$log" 2>&1 || fail "llama.cpp was installed but does not load; see $log"
echo "setup: done in $((SECONDS - started)) s"
