"""Backends run the model: rows in, tokens or logits out."""

from typing import TYPE_CHECKING

from firesteel.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from firesteel.backend.base import Backend
    from firesteel.config import EngineConfig
    from firesteel.models.files import Progress
    from firesteel.types import ModelInfo, Tokenizer


def model_info(config: "EngineConfig") -> "ModelInfo":
    """Return what the configured model's file says about itself; with `yarn`, its context is the stretched one.

    Raises ModelError when it is not here, ConfigError for a context that it does not have.
    """
    from firesteel.backend.blueprint import draw

    return draw(model_path(config), config).info


def model_path(config: "EngineConfig") -> "Path":
    """Return the configured model's file, or its requantised copy. Raises ModelError when it is not here."""
    from firesteel.models.pull import resolve

    path = resolve(config.model)
    if config.quantize is not None and path.is_dir():
        raise ConfigError(f"--quantize needs a GGUF file; {path} is a folder (--weights int8 is for a GPU)")
    if config.quantize is not None:
        from firesteel.backend.quantize import quantized

        path = quantized(path, config.quantize)
    return path


def prepare(config: "EngineConfig", progress: "Progress") -> None:
    """Pack the weights for own kernels, unless that was done before: a second for 300 MB. Raises like `model_info`."""
    from firesteel.backend.blueprint import draw

    blueprint = draw(model_path(config), config)
    if blueprint.native is None:
        return
    from firesteel.backend.native.packed_head import is_packed

    if not is_packed(blueprint.info.path, blueprint.native):
        from firesteel.backend.native.packed import prepare as prepare_packed

        prepare_packed(blueprint.info.path, blueprint.native, progress)


def open_backend(config: "EngineConfig") -> "Backend":
    """Load the configured backend and model, unless memory is short. Raises ModelError or ConfigError."""
    if config.backend == "scripted":
        _refuse_real(config)
        from firesteel.backend.scripted import ScriptedBackend
        from firesteel.clock import SystemClock

        return ScriptedBackend(None, config, SystemClock())
    _refuse_script(config)
    from firesteel.backend.blueprint import draw
    from firesteel.backend.memory import require
    from firesteel.machine import available_bytes

    blueprint = draw(model_path(config), config)
    require(blueprint.memory, available_bytes(), config)
    if blueprint.cuda is not None:
        from firesteel.backend.cuda import open_cuda

        return open_cuda(blueprint, blueprint.cuda, config)
    if blueprint.native is not None:
        from firesteel.backend.native.backend import NativeBackend

        return NativeBackend(blueprint, blueprint.native, config)
    from firesteel.backend.llamacpp.backend import LlamaBackend

    return LlamaBackend(blueprint, config)


def open_tokenizer(config: "EngineConfig") -> "Tokenizer":
    """Return the configured model's tokenizer without its weights, for the process that has no backend."""
    if config.backend == "scripted":
        from firesteel.backend.scripted import ScriptedTokenizer

        return ScriptedTokenizer()
    _refuse_script(config)
    from firesteel.backend.llamacpp.tokenizer import LlamaTokenizer
    from firesteel.models.folder import vocabulary_of

    return LlamaTokenizer(str(vocabulary_of(model_path(config))))


def _refuse_script(config: "EngineConfig") -> None:
    if config.script is not None:
        raise ConfigError("--script needs --backend scripted: a real model cannot be told what to say")


def _refuse_real(config: "EngineConfig") -> None:
    if config.kv_type != "f16" or config.yarn is not None:
        raise ConfigError("--kv-type and --yarn need a real model: the scripted one has no KV and no positions")
    if config.weights != "bf16":
        raise ConfigError("--weights needs --backend cuda: the scripted model has none")
