"""API keys at rest: a JSON file of mode 0600 that holds their hashes, never a key."""

import os
import re
import secrets
import stat
import time
from base64 import b32encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Literal, get_args

import msgspec
from filelock import FileLock, Timeout

from firesteel.atomic import create_in, opened_folder, replace_file
from firesteel.errors import ConfigError

KeyScope = Literal["generate", "models", "metrics"]
SCOPES: tuple[KeyScope, ...] = get_args(KeyScope)

MAX_NAME = 64
LOCK_SECONDS = 10
SECRET_BYTES = 32  # so much chance needs no slow hash
_KEY = re.compile(r"fs-([a-z2-7]{8})-[A-Za-z0-9_-]{43}")


class Key(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One key. `scopes` is what it may do; no `models` means all of them; limits that are None are the server's.

    `created`, `expires` and `revoked` are seconds since 1970. A revoked key stays in the file, so that its name in the
    ledger keeps its meaning and its id is not given again.
    """

    id: str
    name: str
    hash: str  # SHA-256 of the whole key, in hexadecimal
    created: int
    scopes: tuple[KeyScope, ...] = ("generate",)
    models: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    expires: int | None = None
    revoked: int | None = None

    def has_ended(self, now: float) -> bool:
        """Return whether the key is of no use any more: revoked or expired."""
        return self.revoked is not None or (self.expires is not None and self.expires <= now)


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    keys: list[Key] = []
    version: Literal[1] = 1


def hash_of(key: str | bytes) -> str:
    """Return what is kept of `key`."""
    return sha256(key if isinstance(key, bytes) else key.encode()).hexdigest()


def id_of(key: str) -> str:
    """Return the public part of a key, which says which hash to compare; "" for what is no key of ours."""
    found = _KEY.fullmatch(key)
    return found[1] if found else ""


class KeyFile:
    """The file at `path`. Several processes may change it; each change replaces the file as a whole."""

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self.path = path
        self._now = now

    def load(self) -> list[Key]:
        """Return all keys, the revoked ones too; none when there is no file. Raises ConfigError."""
        try:
            if self.path.is_dir():
                raise ConfigError(f"{self.path} is a folder; name a file, as in {self.path / 'keys.json'}")
            if self.path.stat().st_mode & 0o077:
                raise ConfigError(f"{self.path} can be read by others; run: chmod 600 {self.path}")
            return msgspec.json.decode(self.path.read_bytes(), type=_Document).keys
        except FileNotFoundError:
            return []
        except PermissionError:
            raise ConfigError(f"this user may not read {self.path}; run: chown USER {self.path}") from None
        except (OSError, msgspec.MsgspecError) as error:
            raise ConfigError(f"{self.path} holds no keys that can be read ({error}); repair or remove it") from None

    def create(
        self,
        name: str,
        *,
        scopes: tuple[KeyScope, ...] = ("generate",),
        models: tuple[str, ...] = (),
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        expires: int | None = None,
    ) -> tuple[Key, str]:
        """Add a key; return what is kept of it, and the key itself, which nobody can see again.

        Raises ConfigError when `name` is taken by a key that has not ended, or is no name, or one of `models` is
        none, or `expires` is over.
        """
        _check_name(name)
        if not all(model.strip() for model in models):
            raise ConfigError("an empty name of a model; name one that is served, or leave `--model` out for all")
        if expires is not None and expires <= self._now():
            raise ConfigError("`expires` is not in the future; name a later day, or 30d from now")
        with self._changing() as keys:
            if any(key.name == name and not key.has_ended(self._now()) for key in keys):
                raise ConfigError(f"there is a key {name!r}; revoke it first, or take another name")
            secret = _new_key({key.id for key in keys})
            key = Key(
                id=id_of(secret),
                name=name,
                hash=hash_of(secret),
                created=int(self._now()),
                scopes=scopes,
                models=models,
                requests_per_minute=requests_per_minute,
                tokens_per_minute=tokens_per_minute,
                expires=expires,
            )
            keys.append(key)
        return key, secret

    def revoke(self, wanted: str) -> Key:
        """Revoke the key whose id is `wanted`, else the one that has this name and has not ended.

        Raises ConfigError when there is none.
        """
        now = self._now()
        with self._changing() as keys:
            ids = (place for place, key in enumerate(keys) if key.id == wanted and key.revoked is None)
            names = (place for place, key in enumerate(keys) if key.name == wanted and not key.has_ended(now))
            place = next(chain(ids, names), None)
            if place is None:
                raise ConfigError(f"there is no valid key {wanted!r}; see `firesteel keys list`")
            keys[place] = msgspec.structs.replace(keys[place], revoked=int(now))
        return keys[place]

    @contextmanager
    def _changing(self) -> Iterator[list[Key]]:
        lock = self.path.with_name(self.path.name + ".lock")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._make(lock)
            with FileLock(lock, timeout=LOCK_SECONDS, mode=0o600):
                keys = self.load()
                yield keys
                content = msgspec.json.format(msgspec.json.encode(_Document(keys))) + b"\n"
                replace_file(self.path, content, is_synced=True, prepare=self._give_to_owner)
        except Timeout:
            raise ConfigError(f"another process has held {lock} for {LOCK_SECONDS} s; end it, or try again") from None
        except OSError as error:
            raise ConfigError(
                f"{self.path} cannot be changed ({error}); run this as its owner, or correct --keys"
            ) from None

    def _make(self, lock: Path) -> None:
        """Make the file that is locked, unless it is there; then it may be a link, and stays whose it is."""
        with opened_folder(lock.parent) as folder, suppress(FileExistsError):
            descriptor = create_in(folder, lock.name)
            try:
                self._give_to_owner(descriptor, folder)
            finally:
                os.close(descriptor)

    def _give_to_owner(self, file: int, folder: int) -> None:
        """Let a file that root makes belong to whom the keys belong, else the server could not read it."""
        if os.geteuid() != 0:
            return
        owner = os.fstat(folder)
        with suppress(FileNotFoundError):
            status = os.lstat(self.path.name, dir_fd=folder)
            owner = status if stat.S_ISREG(status.st_mode) else owner
        os.fchown(file, owner.st_uid, owner.st_gid)


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
        raise ConfigError(f"{name!r} is no name of a key; take 1 to {MAX_NAME} printable characters")


def _new_key(taken: set[str]) -> str:
    while (id := b32encode(secrets.token_bytes(5)).decode().lower()) in taken:
        pass
    return f"fs-{id}-{secrets.token_urlsafe(SECRET_BYTES)}"
