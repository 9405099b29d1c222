"""TLS by certificate files, which may be replaced while the server runs."""

import logging
import os
import ssl
from pathlib import Path

from firesteel.config import ServerConfig
from firesteel.errors import ConfigError

log = logging.getLogger("firesteel")


class Tls:
    """The context of a server. `take` loads files that `check` passed into it: for the connections that come after."""

    def __init__(self, config: ServerConfig) -> None:
        """Raise ConfigError when the files cannot be used."""
        self.context = load(config)

    def check(self, config: ServerConfig) -> None:
        """Raise ConfigError unless the files of `config` can be used."""
        if not uses_tls(config):
            raise ConfigError("`tls.cert` and `tls.key` cannot be taken away from a running server; restart it")
        load(config)  # in a context of its own: what fails half-way must not break the one in use

    def take(self, config: ServerConfig) -> None:
        """Load the files of `config`, which may have other contents now."""
        self.context.load_cert_chain(*_files(config))
        log.info("new connections get the certificate of %s as it is now", config.tls_cert)


def check_plain(config: ServerConfig) -> None:
    """Raise ConfigError when `config` asks for TLS: a server that was started without cannot begin with it."""
    if uses_tls(config):
        raise ConfigError("`tls.cert` and `tls.key` cannot be given to a server that runs without TLS; restart it")


def uses_tls(config: ServerConfig) -> bool:
    """Return whether the server speaks TLS. Raises ConfigError when only half of what that needs is set."""
    if (config.tls_cert is None) != (config.tls_key is None):
        missing = "tls.key" if config.tls_key is None else "tls.cert"
        raise ConfigError(f"`{missing}` is missing: TLS needs a certificate and its key")
    return config.tls_cert is not None


def load(config: ServerConfig) -> ssl.SSLContext:
    """Return a context with the files of `config`. Raises ConfigError that names the setting at fault."""
    cert, key = _files(config)
    for setting, path in (("tls.cert", cert), ("tls.key", key)):
        _check_readable(setting, path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except ssl.SSLError as error:
        raise ConfigError(_why(error, cert, key)) from None
    return context


def _files(config: ServerConfig) -> tuple[str, str]:
    assert config.tls_cert is not None
    assert config.tls_key is not None
    return config.tls_cert, config.tls_key


def _check_readable(setting: str, path: str) -> None:
    if not Path(path).is_file():
        raise ConfigError(f"`{setting}`: there is no file {path}")
    try:
        Path(path).read_bytes()
    except OSError as error:
        user = os.environ.get("USER") or "this user"
        raise ConfigError(f"`{setting}`: {path} cannot be read ({error.strerror}); let {user} read it") from None
    if setting == "tls.key" and Path(path).stat().st_mode & 0o004:
        raise ConfigError(f"`{setting}`: every user can read {path}; chmod o-r {path}")


def _no_password() -> str:
    raise ConfigError("`tls.key` is encrypted; store it without a passphrase, readable by the server only")


def _why(error: ssl.SSLError, cert: str, key: str) -> str:
    if "KEY_VALUES_MISMATCH" in str(error):
        return f"`tls.key`: {key} is not the key of the certificate in {cert}"
    return f"`tls.cert` and `tls.key` must be PEM files, the certificate first in its chain: {cert}, {key} ({error})"
