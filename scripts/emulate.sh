#!/bin/bash
# Run the self-test of the kernels for processors that this machine is not: ARM under qemu-user (NEON with and without
# I8MM, and without the dot product), an x86 without AVX2, and AVX-512 and AVX-VNNI on SIMDe's C for them.
# Installs nothing: it names the Debian packages that are missing. Takes minutes, so it is not a part of CI.
set -euo pipefail
cd "$(dirname "$0")/.."

[[ $(uname -m) == x86_64 ]] || { echo "emulate: this runs on x86-64 machines only" >&2; exit 2; }
missing=()
command -v aarch64-linux-gnu-g++ >/dev/null || missing+=(g++-aarch64-linux-gnu)
command -v qemu-aarch64 >/dev/null || missing+=(qemu-user)
[[ -e /usr/include/simde/x86/avx512.h ]] || missing+=(libsimde-dev)
if ((${#missing[@]})); then
  echo "emulate: missing; on Debian: apt-get install ${missing[*]}" >&2
  exit 2
fi

build() { scripts/build_kernels.sh "$1" firesteel_selftest "${@:2}"; }

# try WHAT COMMAND... : the sets named at the end of the command run, and must be there
try() {
  echo "== $1"
  "${@:2}"
}

build aarch64 -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
  -DCMAKE_EXE_LINKER_FLAGS=-static
try "ARM with dotprod and I8MM (qemu)" qemu-aarch64 -cpu max build/aarch64/firesteel_selftest dotprod i8mm
try "ARM with dotprod (qemu, Neoverse N1)" qemu-aarch64 -cpu neoverse-n1 build/aarch64/firesteel_selftest dotprod
try "ARM without dotprod (qemu, Cortex-A57)" qemu-aarch64 -cpu cortex-a57 build/aarch64/firesteel_selftest portable

build simde -DFIRESTEEL_SIMDE=ON
try "AVX-VNNI and AVX-512 (SIMDe)" build/simde/firesteel_selftest avxvnni avx512 avx512vnni
try "x86 without AVX2 (qemu, Nehalem)" qemu-x86_64 -cpu Nehalem build/simde/firesteel_selftest portable
