"""The frozen configurations, and the few settings that come from the environment."""

import os
from pathlib import Path
from typing import Literal

import msgspec

from firesteel.errors import ConfigError
from firesteel.logs import LogFormat

BackendName = Literal["auto", "native", "llamacpp", "cuda", "scripted"]
WeightsName = Literal["bf16", "int8", "fp8"]
GuardLevel = Literal["off", "observe", "warn", "rewrite", "block"]
DrafterName = Literal["prediction", "reference", "ngram", "suffix", "model"]
DRAFTERS: tuple[DrafterName, ...] = ("prediction", "reference", "ngram", "suffix", "model")


def home() -> Path:
    """Return the folder that holds models and caches: `FIRESTEEL_HOME`, else `~/.cache/firesteel`."""
    return Path(os.environ.get("FIRESTEEL_HOME") or Path.home() / ".cache" / "firesteel")


def offline() -> bool:
    """Return whether network use is forbidden (`FIRESTEEL_OFFLINE` or `HF_HUB_OFFLINE` is set and true)."""
    values = (os.environ.get(name, "") for name in ("FIRESTEEL_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value.lower() not in ("", "0", "false", "no", "off") for value in values)


def api_keys() -> tuple[str, ...]:
    """Return the keys in `FIRESTEEL_API_KEY`, separated by commas; none when it is not set or empty.

    Raises ConfigError when it is set and holds no key, which would leave the server open by mistake.
    """
    text = os.environ.get("FIRESTEEL_API_KEY", "")
    keys = tuple(key.strip() for key in text.split(",") if key.strip())
    if text and not keys:
        raise ConfigError("FIRESTEEL_API_KEY holds no key; set it to one or more keys separated by commas, or unset it")
    return keys


class GuardConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How answers are guarded where a request does not say otherwise; `locked`: it may not say so."""

    is_on: bool = True
    level: Literal["observe", "warn", "rewrite", "block"] = "rewrite"
    actions: dict[str, str] = {}  # by rule id or its beginning
    ignored_paths: tuple[str, ...] = ()
    locked: bool = False


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine and its backend need to know. `None` means: chosen for the machine."""

    backend: BackendName = "auto"
    model: str = "qwen2.5-coder-0.5b"
    quantize: Literal["q4_0", "q8_0"] | None = None
    weights: WeightsName = "bf16"  # cuda backend only: how matrices are held on the device
    script: str | None = None  # scripted backend only: path of a JSON script
    num_threads: int | None = None
    context_tokens: int | None = None  # KV cells shared by all live sequences
    chunk_tokens: int | None = None  # prompt tokens a step may compute when a prefill is alone
    max_live: int | None = None  # sequences computed together in one batch
    max_gap_seconds: float = 0.06  # a step that carries another stream's token aims to stay below this
    drafters: tuple[DrafterName, ...] = DRAFTERS  # who may guess the next tokens; empty = nobody
    max_draft: int = 48  # tokens that one step may verify at most
    draft_model: str | None = None  # a smaller model with the same vocabulary, for the drafter `model`
    kv_type: Literal["f16", "q8_0"] = "f16"  # how keys and values are stored
    yarn: float | None = None  # context stretched by this factor (arXiv 2309.00071); None = as the file says
    cache_bytes: int = 512 * 1024 * 1024  # host memory for the KV of idle sequences
    disk_bytes: int = 0  # disk for the same, so that it outlives the process; 0 = none
    disk_seconds: float = 7 * 86_400  # what was not used for this long leaves the disk
    log_format: LogFormat = "text"
    disk_folder: str | None = None  # None = `home() / "kv"`
    guard: Literal["off", "on", "required"] = "off"  # whether it is tried out at the start; required: else no start


def kv_folder(config: EngineConfig) -> Path:
    """Return the folder that holds the KV of all models on disk."""
    return Path(config.disk_folder) if config.disk_folder else home() / "kv"


def response_file() -> str:
    """Return the file that holds stored responses."""
    return str(home() / "responses.db")


def ledger_file() -> str:
    """Return the file that holds the ledger, where it is kept in SQLite."""
    return str(home() / "ledger.db")


def journal_folder() -> Path:
    """Return the folder of what is on its way to a ledger's database."""
    return home() / "journal"


def key_file() -> str:
    """Return the file that holds the hashes of API keys."""
    return str(home() / "keys.json")


def learned_folder(config: EngineConfig) -> Path:
    """Return the folder that holds what was learned of step costs; beside the KV on disk."""
    return kv_folder(config).with_name(kv_folder(config).name + "-learned")


SECRET_FIELDS = ("api_keys", "ledger", "limit_store")  # which no log may show; a URL may hold a password


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the HTTP server needs to know."""

    host: str = "127.0.0.1"
    port: int = 8080
    api_keys: tuple[str, ...] = ()  # of which a client must send one; each has warm state of its own
    key_file: str | None = None  # more of them, hashed, with limits; None = `key_file()`, "none" = no file
    requests_per_minute: int | None = None  # of a key that has no limit of its own; None = as many as it likes
    tokens_per_minute: int | None = None  # the same, read and written
    limit_store: str | None = None  # Redis, where several servers hold the limits together; None = this process
    ledger: str | None = None  # URL or SQLite file; None = `ledger_file()`, "none" = no ledger
    ledger_seconds: float | None = None  # a row is kept for so long; None = for ever
    price_input: float = 5.0  # dollars for a million tokens
    price_output: float = 15.0
    price_cached: float | None = None  # of the warm part of prompts; None = `price_input`
    max_queue: int = 64  # requests that may wait beyond the live ones
    max_body_bytes: int = 16 * 1024 * 1024
    grace_seconds: float = 10.0
    idle_write_seconds: float = 60.0  # a client that takes nothing for this long counts as gone
    header_seconds: float = 10.0  # the head of a request must arrive within this time
    body_seconds: float = 60.0  # and its body
    request_seconds: float = 0.0  # an answer may take no longer; 0 = as long as it takes
    max_connections: int = 4096
    tls_cert: str | None = None  # PEM files; both or none
    tls_key: str | None = None
    cors_origins: tuple[str, ...] = ()  # web pages that may call
    accept_any_model: bool = False
    response_store: str | None = None  # SQLite file of stored responses; None = `response_file()`, "none" = no file
    response_bytes: int = 1_000_000_000  # of them, the oldest go first
    response_seconds: float = 30 * 86_400.0  # and none stays longer
    privacy: Literal["normal", "strict"] = "normal"  # strict: nothing that was said is written to a disk
    socket_seconds: float = 3600.0  # a WebSocket lives no longer than this
    guard: GuardLevel = "off"  # how far it goes at most with vulnerable code in answers
    guard_actions: tuple[str, ...] = ()  # RULE=ACTION
    guard_ignore: tuple[str, ...] = ()  # globs of paths that are not guarded
    guard_lock: bool = False  # no request may change the guard
    guard_keys: str | None = None  # a JSON file of guards by API key

    def __repr__(self) -> str:
        """Return the settings without the keys, which no log may show."""
        shown = {name: getattr(self, name) for name in self.__struct_fields__ if name not in SECRET_FIELDS}
        settings = ", ".join(f"{name}={value!r}" for name, value in shown.items())
        return f"ServerConfig({settings}, api_keys=<{len(self.api_keys)}>)"
