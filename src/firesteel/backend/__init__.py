"""Backends run the model: rows in, tokens or logits out."""

from typing import TYPE_CHECKING

from firesteel.errors import ConfigError

if TYPE_CHECKING:
    from firesteel.backend.base import Backend
    from firesteel.config import EngineConfig
    from firesteel.types import ModelInfo, Tokenizer


def model_info(config: "EngineConfig") -> "ModelInfo":
    """Return what the configured model's file says about itself. Raises ModelError when it is not here."""
    from firesteel.models.gguf import read_info
    from firesteel.models.pull import resolve

    path = resolve(config.model)
    if config.quantize is not None:
        from firesteel.backend.quantize import quantized

        path = quantized(path, config.quantize)
    return read_info(path)


def open_backend(config: "EngineConfig") -> "Backend":
    """Load the configured backend and model. Raises ModelError or ConfigError."""
    if config.backend == "scripted":
        from firesteel.backend.scripted import ScriptedBackend
        from firesteel.clock import SystemClock

        return ScriptedBackend(None, config, SystemClock())
    _refuse_script(config)
    from firesteel.backend.llamacpp.backend import LlamaBackend

    return LlamaBackend(model_info(config), config)


def open_tokenizer(config: "EngineConfig") -> "Tokenizer":
    """Return the configured model's tokenizer without its weights, for the process that has no backend."""
    if config.backend == "scripted":
        from firesteel.backend.scripted import ScriptedTokenizer

        return ScriptedTokenizer()
    _refuse_script(config)
    from firesteel.backend.llamacpp.tokenizer import LlamaTokenizer

    return LlamaTokenizer(model_info(config).path)


def _refuse_script(config: "EngineConfig") -> None:
    if config.script is not None:
        raise ConfigError("--script needs --backend scripted: a real model cannot be told what to say")
