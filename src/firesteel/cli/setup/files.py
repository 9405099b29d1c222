"""Configuration files: settings merged into what is there, with a backup and never half written.

Comments of TOML and YAML files survive. A JSON file with comments, as Zed's may be, cannot be parsed and is
left alone.
"""

import json
import os
import shutil
import stat
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from firesteel.atomic import replace_file
from firesteel.errors import ConfigError

Format = Literal["json", "toml", "yaml", "text"]
_IDENTITY = ("name", "model_id", "id")  # what tells the entries of a list apart


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What one file should say. `content` is text, or a document that is merged into the one that is there."""

    path: Path
    format: Format
    content: Any


def snippet(settings: Settings) -> str:
    """Return what the settings alone look like in their file."""
    return _written(_empty(settings), settings)


def merged(settings: Settings) -> tuple[str | None, str]:
    """Return what stands in the file, None if there is none, and what it should say.

    Raises ConfigError when the file cannot be read as what it should be.
    """
    try:
        text = settings.path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None, snippet(settings)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{settings.path}: cannot be read ({error}); use --print and edit it by hand") from None
    if settings.format == "text" or not text.strip():
        return text, snippet(settings)
    new = _written(_parsed(settings, text), settings)
    return text, text if _parsed(settings, new) == _parsed(settings, text) else new


def write(path: Path, text: str, *, now: datetime) -> Path | None:
    """Write a file whole, keeping its mode; return the backup that was made of an earlier one."""
    backup = None
    path = path.resolve()  # a link, as dotfile managers make them, stays one
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        backup = path.with_name(f"{path.name}.{now:%Y%m%d-%H%M%S}.bak")
        shutil.copy2(path, backup)
    mode = stat.S_IMODE(path.stat().st_mode) if backup else 0o600
    replace_file(path, text.encode(), prepare=lambda file, _: os.fchmod(file, mode))
    return backup


def _empty(settings: Settings) -> Any:
    if settings.format == "toml":
        import tomlkit

        return tomlkit.document()
    return [] if isinstance(settings.content, list) else {}


def _parsed(settings: Settings, text: str) -> Any:
    """Return the document in `text`. Raises ConfigError when there is none of the right shape."""
    try:
        document = _parse(settings.format, text)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"{settings.path}: is not plain {settings.format.upper()} ({reason}), so nothing can be merged into it; "
            "use --print and add the settings by hand"
        ) from None
    if not isinstance(document, type(settings.content)):
        raise ConfigError(f"{settings.path}: does not look like this client's configuration; use --print")
    return document


def _parse(format: Format, text: str) -> Any:
    if format == "toml":
        import tomlkit

        return tomlkit.parse(text)
    if format == "yaml":
        return _yaml().load(text)
    return json.loads(text)


def _written(document: Any, settings: Settings) -> str:
    """Return `document` with the settings merged in."""
    if settings.format == "text":
        return str(settings.content)
    document = _merge(document, settings.content)
    if settings.format == "toml":
        import tomlkit

        return tomlkit.dumps(document)
    if settings.format == "yaml":
        import io

        stream = io.StringIO()
        _yaml().dump(document, stream)
        return stream.getvalue()
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _yaml() -> Any:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _merge(old: Any, new: Any) -> Any:
    """Merge `new` into `old`, whose other entries stay; list entries of the same name are replaced."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key, value in new.items():
            old[key] = _merge(old.get(key), value)
        return old
    if isinstance(old, list) and isinstance(new, list):
        for entry in new:
            at = next((i for i, other in enumerate(old) if _is_same(other, entry)), None)
            if at is None:
                old.append(entry)
            else:
                old[at] = entry
        return old
    return _merge(type(new)(), new) if isinstance(new, dict | list) else new


def _is_same(old: Any, new: Any) -> bool:
    key = next((key for key in _IDENTITY if isinstance(new, dict) and key in new), None)
    if key is None or not isinstance(old, dict):
        return bool(old == new)
    return bool(old.get(key) == new[key])
