"""Who calls: the keys that a running server knows, from `FIRESTEEL_API_KEY` and from the key file."""

import hmac
import logging
import time
from collections.abc import Callable, Mapping
from hashlib import blake2b

import msgspec

from firesteel.errors import ConfigError, Forbidden, Unauthorized
from firesteel.service.key_file import SCOPES, Key, KeyFile, KeyScope, hash_of, id_of

log = logging.getLogger("firesteel")

NO_HASH = hash_of("")
_REMEDY = "send a key of this server as `Authorization: Bearer KEY` or `x-api-key: KEY`; see `firesteel keys create`"


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who sent a request. `scope` names whose warm state serves it; `key` is the id that the ledger keeps.

    Limits are a minute's; None is the server's own.
    """

    key: str = ""
    scope: str = ""
    scopes: tuple[KeyScope, ...] = SCOPES
    models: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    def check(self, needed: KeyScope) -> None:
        """Raise Forbidden when the key may not do what needs the scope `needed`."""
        if needed not in self.scopes and not (needed == "models" and "generate" in self.scopes):
            raise Forbidden(
                f"this key has no scope `{needed}`; send one that was made by "
                f"`firesteel keys create NAME --scope {needed}`",
                code="insufficient_scope",
            )

    def may_use(self, model: str) -> bool:
        """Return whether the key may use `model`."""
        return not self.models or model in self.models

    def check_model(self, model: str) -> None:
        """Raise Forbidden when the key may not use `model`."""
        if not self.may_use(model):
            allowed = ", ".join(self.models)
            message = f"`model`: this key may not use {model!r}, which is served here; it is for {allowed}, ask there"
            raise Forbidden(message, code="model_not_allowed", param="model")


ANYONE = Caller()


class Keyring:
    """Tells callers apart. The file is looked at before each answer, so that a revoked key ends at once."""

    def __init__(
        self, file: KeyFile | None, environment: tuple[str, ...] = (), now: Callable[[], float] = time.time
    ) -> None:
        self._file = file
        self._now = now
        self._keys: dict[str, Key] = {}
        self._is_locked = False
        self._seen: tuple[int, ...] | None = None
        self.reload(environment)
        if file is not None:
            self._seen = self._signature()
            self._take(file.load())

    def reload(self, environment: tuple[str, ...]) -> None:
        """Take other keys in place of those of the configuration, and read the file anew before the next answer."""
        self._environment = tuple(key.encode() for key in environment)
        self._is_locked = self._is_locked or bool(environment)
        self._seen = None

    @property
    def is_open(self) -> bool:
        """Whether nobody needs a key. A server that has once known keys never becomes open."""
        return not self._is_locked

    def identify(self, headers: Mapping[str, str]) -> Caller:
        """Return who sent `headers`. Raises Unauthorized. The time it takes tells nothing about any key."""
        self.refresh()
        if self.is_open:
            return ANYONE
        sent = _sent_key(headers)
        caller = self._by_file(sent) or self._by_environment(sent)
        if caller is None:
            raise Unauthorized(_REMEDY)
        return caller

    def _by_file(self, sent: bytes) -> Caller | None:
        key = self._keys.get(id_of(sent.decode("latin-1")))
        matches = hmac.compare_digest(hash_of(sent), key.hash if key else NO_HASH)
        if key is None or not matches or key.revoked is not None:
            return None
        if key.has_ended(self._now()):
            raise Unauthorized(f"this key has expired; {_REMEDY}", code="expired_api_key")
        return Caller(
            key=key.id,
            scope=scope_of(sent),
            scopes=key.scopes,
            models=key.models,
            requests_per_minute=key.requests_per_minute,
            tokens_per_minute=key.tokens_per_minute,
        )

    def _by_environment(self, sent: bytes) -> Caller | None:
        matches = [hmac.compare_digest(sent, known) for known in self._environment]
        scope = scope_of(sent)
        return Caller(key=f"env-{scope[:8]}", scope=scope) if any(matches) else None

    def refresh(self) -> None:
        """Read the file again if it has changed; one that cannot be read leaves the keys as they were."""
        if self._file is None or (now := self._signature()) == self._seen:
            return
        self._seen = now
        try:
            self._take(self._file.load())
        except ConfigError as error:
            log.error("the keys stay as they were: %s", error)

    def _take(self, keys: list[Key]) -> None:
        self._keys = {key.id: key for key in keys}
        self._is_locked = self._is_locked or bool(keys)

    def _signature(self) -> tuple[int, ...] | None:
        assert self._file is not None
        try:
            status = self._file.path.stat()
        except OSError:
            return None
        return status.st_ctime_ns, status.st_mtime_ns, status.st_ino, status.st_size  # ctime: who may read it, too


def _sent_key(headers: Mapping[str, str]) -> bytes:
    """Return the key that was sent, as the very bytes; empty for none."""
    scheme, _, sent = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":  # as Anthropic's clients send it, also behind a proxy with a password of its own
        sent = headers.get("x-api-key", "")
    return sent.strip(" \t").encode("latin-1")


def scope_of(key: bytes) -> str:
    """Return the name of what belongs to a key, which does not tell the key."""
    return blake2b(key, digest_size=8, person=b"firesteel").hexdigest()
