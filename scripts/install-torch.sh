#!/bin/bash
# Installs PyTorch (a build for processors, 190 MB) and Triton (170 MB) into .venv, for the tests of backend/cuda.
#
# No part of `make setup`: nobody needs them but those tests. The version is pinned with its `+cpu`, so that never a
# CUDA build of several gigabytes comes instead; where pip finds no such file (PyPI has none; PyTorch's own index for
# processors does, see PIP_EXTRA_INDEX_URL), that is said loudly, and the tests are skipped, as loudly.
set -uo pipefail
cd "$(dirname "$0")/.."

missing=()
for requirement in 'torch==2.13.0+cpu' 'triton==3.7.1' 'safetensors==0.8.0'; do
  if .venv/bin/pip install --quiet --disable-pip-version-check "$requirement"; then
    echo "torch: ${requirement%%=*} is here"
  else
    missing+=("$requirement")
  fi
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "torch: COULD NOT BE INSTALLED: ${missing[*]}; THE TESTS OF backend/cuda THAT NEED IT WILL BE SKIPPED" >&2
fi
