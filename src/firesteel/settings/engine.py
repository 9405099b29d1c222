"""Settings of the model and of what runs it."""

from typing import Annotated, Literal

from msgspec import Meta

from firesteel.config import DRAFTERS, BackendName, DrafterName, WeightsName
from firesteel.errors import ConfigError
from firesteel.settings.setting import Setting
from firesteel.settings.takes import Count, CountOrNone, megabytes


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
