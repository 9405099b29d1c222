#!/bin/bash
# Build parts of the native kernels by hand, where every warning is an error:
#   scripts/build_kernels.sh FOLDER_IN_BUILD "TARGET ..." [CMAKE_OPTION ...]
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/.venv/bin:$PATH
command -v cmake >/dev/null || .venv/bin/pip install --quiet cmake

echo "compiling in build/$1 ..." >&2
cmake -S . -B "build/$1" -DCMAKE_CXX_FLAGS=-Werror "${@:3}" >/dev/null
read -ra targets <<<"$2"
cmake --build "build/$1" --target "${targets[@]}" --parallel "$(nproc)" >/dev/null
