"""The table. A new setting is one row here: its key in the file, its variable, its flag and its documentation follow.

Its field must be there in `EngineConfig` or `ServerConfig`. `make docs` writes docs/reference/configuration.md.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta

from firesteel.config import DRAFTERS, BackendName, DrafterName, WeightsName
from firesteel.errors import ConfigError
from firesteel.settings.setting import Setting

MEGABYTE = 1_000_000

Count = Annotated[int, Meta(ge=1)]
CountOrNone = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]
Price = Annotated[float, Meta(ge=0)]


def megabytes(value: int) -> int:
    """Return the bytes of `value` megabytes."""
    return value * MEGABYTE


def drafters(names: tuple[str, ...]) -> tuple[DrafterName, ...]:
    """Return the drafters that are named, in their order; none for `none`. Raises ConfigError for a mixture."""
    if ("none" in names and len(names) > 1) or not names:
        raise ConfigError(f"`drafters`: name some of {', '.join(DRAFTERS)}, or none alone")
    return tuple(name for name in DRAFTERS if name in names)


MODEL = (
    Setting(
        name="model",
        field="engine.model",
        default="qwen2.5-coder-0.5b",
        short=("-m",),
        help="A name of the catalogue, a path to a GGUF file, or hf:owner/repo/file.",
    ),
    Setting(
        name="backend",
        field="engine.backend",
        takes=BackendName,
        default="auto",
        help="What runs the model; cuda needs a GPU, scripted is a fake one without weights.",
    ),
    Setting(
        name="weights",
        field="engine.weights",
        takes=WeightsName,
        default="bf16",
        help="With the backend cuda: how the GPU holds the model's matrices; see docs/how-to/gpu.md.",
    ),
    Setting(
        name="script",
        field="engine.script",
        takes=str | None,
        help="What the scripted backend says: a JSON file, see docs/reference/script.md.",
    ),
    Setting(
        name="quantize",
        field="engine.quantize",
        takes=Literal["q4_0", "q8_0"] | None,
        help="Use a requantised copy, made once; docs/how-to/quantize.md says what it costs.",
    ),
    Setting(
        name="threads",
        field="engine.num_threads",
        takes=Count | None,
        stands_for="physical cores",
        help="Threads of the model.",
    ),
    Setting(
        name="context",
        field="engine.context_tokens",
        takes=Annotated[int, Meta(ge=64)] | None,
        stands_for="16384 or the model's",
        help="Tokens of KV, shared by all live requests.",
    ),
    Setting(
        name="kv_type",
        field="engine.kv_type",
        takes=Literal["f16", "q8_0"],
        default="f16",
        help="How KV is stored; q8_0 takes half the memory and is slower, see docs/how-to/long-context.md.",
    ),
    Setting(
        name="yarn",
        field="engine.yarn",
        takes=float | None,
        help="Stretch the model's context by this factor, up to 8; see docs/how-to/long-context.md.",
    ),
)

SPEED = (
    Setting(
        name="chunk",
        field="engine.chunk_tokens",
        takes=Count | None,
        stands_for="chosen",
        help="Prompt tokens a step computes when alone.",
    ),
    Setting(
        name="max_live",
        field="engine.max_live",
        takes=Annotated[int, Meta(ge=1, le=256)] | None,
        stands_for="16",
        help="Requests computed together.",
    ),
    Setting(
        name="drafters",
        field="engine.drafters",
        takes=tuple[DrafterName | Literal["none"], ...],
        default=DRAFTERS,
        make=drafters,
        help="Who may guess the next tokens, separated by commas; none is nobody. Guesses cost time only when "
        "they pay, and change no text: see docs/how-to/drafting.md.",
    ),
    Setting(
        name="max_draft",
        field="engine.max_draft",
        takes=Annotated[int, Meta(ge=0, le=256)],
        default=48,
        help="Guessed tokens that one step verifies at most.",
    ),
    Setting(
        name="draft_model",
        field="engine.draft_model",
        takes=str | None,
        help="A smaller model with the same vocabulary that guesses: a name or a path.",
    ),
    Setting(
        name="cache_mb",
        field="engine.cache_bytes",
        takes=CountOrNone,
        default=512,
        make=megabytes,
        help="Host memory for idle conversations' KV, in MB.",
    ),
)

SERVER = (
    Setting(
        name="host",
        field="server.host",
        default="127.0.0.1",
        help="Address; other than loopback needs API keys.",
    ),
    Setting(
        name="port", field="server.port", takes=Annotated[int, Meta(ge=1, le=65535)], default=8080, help="TCP port."
    ),
    Setting(
        name="api_key",
        field="server.api_keys",
        takes=tuple[Annotated[str, Meta(min_length=1)], ...],
        default=(),
        is_secret=True,
        has_flag=False,
        is_live=True,
        help="Keys of which a client must send one; several, separated by commas, share nothing.",
    ),
    Setting(
        name="keys",
        field="server.key_file",
        takes=str | None,
        stands_for="keys.json",
        help="File of `firesteel keys`; `none` is no file.",
    ),
    Setting(
        name="accept_any_model",
        field="server.accept_any_model",
        takes=bool,
        default=False,
        help="Serve this model under any name a client sends.",
    ),
    Setting(
        name="grace",
        field="server.grace_seconds",
        takes=Seconds,
        default=10.0,
        help="Seconds that streams get to end after SIGTERM.",
    ),
)

LIMITS = (
    Setting(
        name="requests_per_minute",
        field="server.requests_per_minute",
        takes=Count | None,
        is_live=True,
        help="Requests that a key without a limit of its own may send in a minute.",
    ),
    Setting(
        name="tokens_per_minute",
        field="server.tokens_per_minute",
        takes=Count | None,
        is_live=True,
        help="Tokens, read and written, that a key without a limit of its own may have in a minute.",
    ),
    Setting(
        name="max_queue",
        field="server.max_queue",
        takes=CountOrNone,
        default=64,
        help="Requests that may wait beyond those that are computed.",
    ),
    Setting(
        name="max_body_mb",
        field="server.max_body_bytes",
        takes=Count,
        default=16,
        make=megabytes,
        is_live=True,
        help="Largest request body, in MB.",
    ),
)

KEPT = (
    Setting(
        name="disk_cache",
        field="engine.disk_bytes",
        takes=CountOrNone,
        default=4096,
        make=megabytes,
        help="Disk for KV that outlives the process, in MB; 0 is none. See `firesteel cache`.",
    ),
    Setting(
        name="response_store",
        field="server.response_store",
        takes=str | None,
        stands_for="responses.db",
        help="SQLite file of stored responses; `:memory:` keeps them for this run.",
    ),
)

LEDGER = (
    Setting(
        name="ledger",
        field="server.ledger",
        takes=str | None,
        stands_for="ledger.db",
        is_secret=True,
        help="Where each request is entered: an SQLite file, or postgresql://USER@HOST/DATABASE; `none` is nowhere.",
    ),
    Setting(
        name="price_input",
        field="server.price_input",
        takes=Price,
        default=5.0,
        is_live=True,
        help="Dollars for a million tokens read.",
    ),
    Setting(
        name="price_output",
        field="server.price_output",
        takes=Price,
        default=15.0,
        is_live=True,
        help="Dollars for a million tokens written.",
    ),
    Setting(
        name="price_cached",
        field="server.price_cached",
        takes=Price | None,
        stands_for="as price_input",
        is_live=True,
        help="Dollars for a million tokens of prompts that were warm.",
    ),
)

GROUPS: tuple[tuple[str, tuple[Setting, ...]], ...] = (
    ("The model", MODEL),
    ("Speed and memory", SPEED),
    ("The server", SERVER),
    ("Limits", LIMITS),
    ("What is kept", KEPT),
    ("The ledger", LEDGER),
)
SETTINGS: dict[str, Setting] = {setting.name: setting for _, group in GROUPS for setting in group}


def default_of(name: str) -> Any:
    """Return the default of the setting `name`."""
    return SETTINGS[name].default
