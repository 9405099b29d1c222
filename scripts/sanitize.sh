#!/bin/bash
# Build the native kernels with the address and undefined-behaviour sanitizers and run their self-test and the tests of
# the native backend on that build. Any finding ends the run with an error. A few sets stand for all: the sanitizers
# look at the code around the lanes, and what no processor here has would only be compiled.
set -euo pipefail
cd "$(dirname "$0")/.."

build=$PWD/build/sanitize
scripts/build_kernels.sh sanitize "firesteel_native firesteel_selftest" -DFIRESTEEL_SANITIZE=ON \
  "-DFIRESTEEL_SETS=portable;avx2;dotprod"

export ASAN_OPTIONS=detect_leaks=0  # Python's own
export UBSAN_OPTIONS=print_stacktrace=1
"$build"/firesteel_selftest

library=$(ls "$build"/libfiresteel_native.*)
compiler=$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' "$build"/CMakeCache.txt)
preload="$("$compiler" -print-file-name=libasan.so) $("$compiler" -print-file-name=libubsan.so)"
FIRESTEEL_NATIVE_LIBRARY=$library LD_PRELOAD=$preload .venv/bin/python -m pytest tests/backend/native
