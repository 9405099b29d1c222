"""What each client's configuration must say to use this server."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from firesteel import config
from firesteel.cli.setup.files import Settings

OUTPUT_SHARE = 8  # of the context, what clients that must be told keep for the answer is one part in so many
NO_KEY = "none"  # clients refuse an empty key, and a server without keys takes any


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The server that clients should use. `url` has no path and no slash at its end; `context` is in tokens."""

    url: str
    model: str
    context: int
    api_key: str | None = None

    @property
    def key(self) -> str:
        """Return the key that is sent."""
        return self.api_key or NO_KEY

    @property
    def max_output(self) -> int:
        """Return the tokens that are left for an answer."""
        return self.context // OUTPUT_SHARE


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The files to be written, and what the user does then."""

    settings: tuple[Settings, ...]
    then: str


def codex(target: Target, home: Path, env: Mapping[str, str]) -> Plan:
    """Codex CLI; its own catalogue entry replaces a system prompt of 17 kB, so that a small context suffices."""
    folder = Path(env.get("CODEX_HOME") or home / ".codex")
    catalogue = folder / "firesteel-catalog.json"
    provider: dict[str, Any] = {
        "name": "Firesteel",
        "base_url": f"{target.url}/v1",
        "wire_api": "responses",
        "supports_websockets": True,
        "request_max_retries": 1,
    }
    if target.api_key:
        provider["env_key"] = "FIRESTEEL_API_KEY"
    content = {
        "model": target.model,
        "model_provider": "firesteel",
        "model_catalog_json": str(catalogue),
        "analytics": {"enabled": False},
        "model_providers": {"firesteel": provider},
    }
    key = "export FIRESTEEL_API_KEY=…, then run `codex`" if target.api_key else "run `codex`"
    entry = json.dumps(codex_catalogue(target), indent=2) + "\n"
    return Plan(
        settings=(
            Settings(path=folder / "config.toml", format="toml", content=content),
            Settings(path=catalogue, format="text", content=entry),
        ),
        then=key,
    )


def codex_catalogue(target: Target) -> dict[str, Any]:
    """Return the catalogue with the one model that is served."""
    text = files("firesteel.cli.setup").joinpath("codex-catalog.json").read_text(encoding="utf-8")
    catalogue: dict[str, Any] = json.loads(text)
    (entry,) = catalogue["models"]
    entry |= {"slug": target.model, "display_name": f"Firesteel: {target.model}"}
    entry |= {"context_window": target.context, "max_context_window": target.context}
    entry["truncation_policy"]["limit"] = min(10_000, target.context // 4)
    return catalogue


def claude(target: Target, home: Path, env: Mapping[str, str]) -> Plan:
    """Claude Code."""
    folder = Path(env.get("CLAUDE_CONFIG_DIR") or home / ".claude")
    variables = {
        "ANTHROPIC_BASE_URL": target.url,
        "ANTHROPIC_AUTH_TOKEN": target.key,
        "ANTHROPIC_MODEL": target.model,
        "ANTHROPIC_SMALL_FAST_MODEL": target.model,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(target.max_output),
        "CLAUDE_CODE_AUTO_COMPACT_WINDOW": str(target.context),
    }
    settings = Settings(path=folder / "settings.json", format="json", content={"env": variables})
    return Plan(
        settings=(settings,),
        then="run `claude`. Its own prompt is some 50 kB: serve with --context 32768",
    )


def opencode(target: Target, home: Path, env: Mapping[str, str]) -> Plan:
    """The opencode agent."""
    folder = Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "opencode"
    limits = {"context": target.context, "output": target.max_output}
    content = {
        "$schema": "https://opencode.ai/config.json",
        "model": f"firesteel/{target.model}",
        "small_model": f"firesteel/{target.model}",
        "provider": {
            "firesteel": {
                "npm": "@ai-sdk/openai-compatible",
                "name": "Firesteel",
                "options": {"baseURL": f"{target.url}/v1", "apiKey": target.key},
                "models": {target.model: {"limit": limits, "tool_call": True}},
            }
        },
    }
    settings = Settings(path=folder / "opencode.json", format="json", content=content)
    return Plan(settings=(settings,), then="run `opencode`")


def continue_(target: Target, home: Path, env: Mapping[str, str]) -> Plan:
    """Continue in an editor, and its command `cn`."""
    folder = Path(env.get("CONTINUE_GLOBAL_DIR") or home / ".continue")
    model = {
        "name": "Firesteel",
        "provider": "openai",
        "model": target.model,
        "apiBase": f"{target.url}/v1",
        "apiKey": target.key,
        "roles": ["chat", "edit", "apply", "autocomplete"],
        "capabilities": ["tool_use"],
        "defaultCompletionOptions": {"contextLength": target.context, "maxTokens": target.max_output},
    }
    content = {"name": "Local", "version": "1.0.0", "schema": "v1", "models": [model]}
    settings = Settings(path=folder / "config.yaml", format="yaml", content=content)
    return Plan(settings=(settings,), then=f"run `cn --config {settings.path}`, or reload the editor")


def aider(target: Target, home: Path, env: Mapping[str, str]) -> Plan:
    """The aider pair programmer; it learns the size of the context from a file of its own."""
    name = f"openai/{target.model}"
    metadata = home / ".aider.model.metadata.json"
    sizes = {"max_input_tokens": target.context, "max_output_tokens": target.max_output, "litellm_provider": "openai"}
    content = {
        "model": name,
        "openai-api-base": f"{target.url}/v1",
        "openai-api-key": target.key,
        "edit-format": "diff",
        "model-metadata-file": str(metadata),
        "analytics-disable": True,
        "check-update": False,
    }
    return Plan(
        settings=(
            Settings(path=home / ".aider.conf.yml", format="yaml", content=content),
            Settings(path=metadata, format="json", content={name: sizes}),
        ),
        then="run `aider`",
    )


def copilot(target: Target, home: Path, env: Mapping[str, str]) -> Plan:
    """GitHub's Copilot CLI, which reads variables only."""
    variables = {
        "COPILOT_PROVIDER_BASE_URL": f"{target.url}/v1",
        "COPILOT_PROVIDER_TYPE": "openai",
        "COPILOT_PROVIDER_API_KEY": target.key,
        "COPILOT_PROVIDER_WIRE_API": "responses",
        "COPILOT_PROVIDER_TRANSPORT": "websockets",
        "COPILOT_MODEL": target.model,
        "COPILOT_OFFLINE": "true",
    }
    text = "".join(f"export {name}={_quoted(value)}\n" for name, value in variables.items())
    path = config.home() / "setup" / "copilot.sh"
    return Plan(settings=(Settings(path=path, format="text", content=text),), then=f"`. {path}`, then run `copilot`")


def llm(target: Target, home: Path, env: Mapping[str, str]) -> Plan:
    """The `llm` command, for chat and for raw completions."""
    default = Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "io.datasette.llm"
    if sys.platform == "darwin":
        default = home / "Library" / "Application Support" / "io.datasette.llm"
    folder = Path(env.get("LLM_USER_PATH") or default)
    shared = {"model_name": target.model, "api_base": f"{target.url}/v1"}
    if target.api_key:
        shared["api_key_name"] = "firesteel"
    content = [
        {"model_id": "firesteel", **shared, "supports_tools": True, "supports_schema": True},
        {"model_id": "firesteel-completion", **shared, "completion": True},
    ]
    settings = Settings(path=folder / "extra-openai-models.yaml", format="yaml", content=content)
    key = "`llm keys set firesteel`, then " if target.api_key else ""
    return Plan(settings=(settings,), then=f"{key}run `llm -m firesteel 'Hello'`")


def zed(target: Target, home: Path, env: Mapping[str, str]) -> Plan:
    """The Zed editor: chat, and edit predictions by fill in the middle."""
    folder = Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "zed"
    capabilities = {"tools": True, "images": False, "parallel_tool_calls": True, "prompt_cache_key": True}
    model = {
        "name": target.model,
        "display_name": f"Firesteel: {target.model}",
        "max_tokens": target.context,
        "max_output_tokens": target.max_output,
        "capabilities": capabilities,
    }
    prediction = {
        "api_url": f"{target.url}/v1/completions",
        "model": target.model,
        "prompt_format": "qwen" if "qwen" in target.model else "infer",
        "max_output_tokens": 64,
    }
    content = {
        "language_models": {
            "openai_compatible": {"Firesteel": {"api_url": f"{target.url}/v1", "available_models": [model]}}
        },
        "edit_predictions": {"provider": "open_ai_compatible_api", "open_ai_compatible_api": prediction},
    }
    settings = Settings(path=folder / "settings.json", format="json", content=content)
    then = (
        f"start Zed with FIRESTEEL_API_KEY={target.key} and ZED_OPEN_AI_COMPATIBLE_EDIT_PREDICTION_API_KEY={target.key}"
    )
    return Plan(settings=(settings,), then=then)


def nvim(target: Target, home: Path, env: Mapping[str, str]) -> Plan:
    """Neovim with the plugin llama.vim."""
    folder = Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "nvim" / "plugin"
    key = json.dumps(target.api_key or "")
    text = (
        "-- Written by `firesteel setup nvim`: the plugin llama.vim (ggml-org/llama.vim) asks Firesteel.\n"
        'vim.g.llama_config = vim.tbl_extend("force", vim.g.llama_config or {}, {\n'
        f"  endpoint_fim = {json.dumps(f'{target.url}/infill')},\n"
        f"  endpoint_inst = {json.dumps(f'{target.url}/v1/chat/completions')},\n"
        f"  model_fim = {json.dumps(target.model)},\n"
        f"  model_inst = {json.dumps(target.model)},\n"
        f"  api_key = {key},\n"
        "})\n"
    )
    settings = Settings(path=folder / "firesteel.lua", format="text", content=text)
    return Plan(settings=(settings,), then="install the plugin ggml-org/llama.vim if it is not there, then run `nvim`")


def vscode(target: Target, home: Path, env: Mapping[str, str]) -> Plan:
    """VS Code's own chat."""
    folder = Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "Code" / "User"
    if sys.platform == "darwin":
        folder = home / "Library" / "Application Support" / "Code" / "User"
    model = {
        "id": target.model,
        "name": f"Firesteel: {target.model}",
        "url": f"{target.url}/v1/chat/completions",
        "toolCalling": True,
        "vision": False,
        "maxInputTokens": target.context - target.max_output,
        "maxOutputTokens": target.max_output,
    }
    content = [{"name": "Firesteel", "vendor": "customoai", "apiKey": target.key, "models": [model]}]
    settings = Settings(path=folder / "chatLanguageModels.json", format="json", content=content)
    return Plan(settings=(settings,), then="choose the model in VS Code's chat (Manage Models…)")


CLIENTS: dict[str, Callable[[Target, Path, Mapping[str, str]], Plan]] = {
    "codex": codex,
    "claude": claude,
    "opencode": opencode,
    "continue": continue_,
    "aider": aider,
    "copilot": copilot,
    "llm": llm,
    "zed": zed,
    "nvim": nvim,
    "vscode": vscode,
}


def plan_of(client: str, target: Target) -> Plan:
    """Return what must be written for `client`, for this user and environment."""
    return CLIENTS[client](target, Path.home(), os.environ)


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)
