#!/bin/bash
# Make .venv and install Firesteel with its development tools. `make setup` calls this when pyproject.toml is newer.
# llama.cpp is compiled from its source package for the instruction set of this very machine. The wheel is kept in
# our own cache, under a key of processor, compiler and options: pip's cache would hand out one built elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
log=$PWD/.venv/setup.log
remedy="On Debian or Ubuntu run scripts/system-packages.sh, then try again."

fail() {
  echo "setup: $1" >&2
  exit 1
}

child=""
trap '[[ -z "$child" ]] || kill -- -"$child" 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM

# Run a command into the log, with a sign of life every 15 seconds. It gets a session of its own, so that
# Ctrl-C ends all of it, the compilers too; and not our lock.
logged() {
  local started=$SECONDS reported=$SECONDS step
  setsid "$@" >>"$log" 2>&1 9>&- &
  child=$!
  while kill -0 "$child" 2>/dev/null; do
    sleep 1
    if ((SECONDS - reported >= 15)); then
      reported=$SECONDS
      step=$(grep -oE '\[[0-9]+/[0-9]+\]' "$log" | tail -n 1 || true)
      echo "setup: $((SECONDS - started)) s ${step:-}"
    fi
  done
  if ! wait "$child"; then
    child=""
    tail -n 30 "$log" >&2
    fail "'$*' failed; the whole log is in $log"
  fi
  child=""
}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or newer is needed. $remedy"
"$python" -c 'import ensurepip, venv' 2>/dev/null || fail "Python's venv module is missing. $remedy"
command -v c++ >/dev/null || fail "a C++ compiler is missing. $remedy"

[[ -x .venv/bin/pip ]] || "$python" -m venv .venv
: >"$log"

# LLAVA_BUILD=OFF leaves the image models out: Firesteel is text only. GGML_OPENMP=OFF: docs/decisions/0013.
export CMAKE_ARGS="${CMAKE_ARGS:--DLLAVA_BUILD=OFF -DGGML_OPENMP=OFF}"
export CXXFLAGS="${CXXFLAGS:-} -include $PWD/scripts/amx_tile_config.h"
requirement=$(grep -oE 'llama-cpp-python==[0-9.]+' pyproject.toml)
processor=$(grep -m 1 -E '^(flags|Features)' /proc/cpuinfo 2>/dev/null || uname -m)
key=$(printf '%s\n' "$requirement" "$CMAKE_ARGS" "$processor" "$(c++ --version)" "$("$python" --version)" |
  cat - scripts/amx_tile_config.h | sha256sum | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/firesteel
wheels=$cache/wheels/$key

mkdir -p "$cache"
exec 9>"$cache/setup.lock"
if ! flock -n 9; then  # two at once would compile twice
  echo "setup: another setup is running; waiting for it"
  flock 9
fi

if ! ls "$wheels"/llama_cpp_python-*.whl >/dev/null 2>&1; then
  echo "setup: compiling llama.cpp for this machine, about 8 minutes on two cores; it is done once. Log: $log"
  logged .venv/bin/pip wheel --verbose --disable-pip-version-check --no-deps --no-cache-dir \
    --no-binary llama-cpp-python --wheel-dir "$wheels.part" "$requirement"
  mkdir -p "$wheels"
  mv "$wheels.part"/*.whl "$wheels"
  rm -rf "$wheels.part"
fi

if [[ "$(cat .venv/.llama-wheel 2>/dev/null || true)" != "$key" ]]; then
  logged .venv/bin/pip install --disable-pip-version-check --force-reinstall --no-deps "$wheels"/llama_cpp_python-*.whl
  echo "$key" >.venv/.llama-wheel
fi
logged .venv/bin/pip install --disable-pip-version-check --editable '.[dev]'
.venv/bin/python -c 'import llama_cpp' >>"$log" 2>&1 || fail "llama.cpp was installed but does not load; see $log"
echo "setup: done in $SECONDS s"
