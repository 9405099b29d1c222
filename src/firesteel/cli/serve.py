"""`firesteel serve`: the OpenAI-compatible server."""

import signal
from collections.abc import Callable
from typing import Annotated, Any

import typer

from firesteel.cli.common import ensure_model
from firesteel.cli.options import takes_settings, typed
from firesteel.settings.resolve import Settings, resolve

ConfigOption = Annotated[
    str | None,
    typer.Option(
        help="Configuration file.", show_default="./firesteel.toml, or as docs/reference/configuration.md says"
    ),
]


@takes_settings
def serve(invoked: typer.Context, config: ConfigOption = None, **flags: Any) -> None:
    """Serve the model at http://HOST:PORT/v1 until Ctrl-C. Ready when GET /health answers 200.

    Settings come from a configuration file, FIRESTEEL_* variables and these flags; later ones win. See
    docs/reference/configuration.md, and `firesteel config show` for what holds here.
    """
    _ignore_reload()
    given = typed(invoked, flags)

    def read() -> Settings:
        return resolve(given, config=config)

    start(read(), read)


def _ignore_reload() -> None:
    """Let a SIGHUP that comes before there is anything to reload not end the program."""
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def start(settings: Settings, read_again: Callable[[], Settings]) -> None:
    """Check what can be checked before any work, pull the model if need be, and serve.

    `read_again` returns the settings as they are when SIGHUP asks for them.
    """
    import logging

    from firesteel import logs
    from firesteel.backend.sizes import prices
    from firesteel.server import checks
    from firesteel.server.observe import current_id
    from firesteel.server.reload import Reload
    from firesteel.server.run import serve as serve_until_signal

    engine, server = settings.engine(), settings.server()
    checks.check(server)  # what cannot be is said now
    logs.configure(engine.log_format, current_id)
    log = logging.getLogger("firesteel")
    for warning in (*settings.warnings, *checks.remarks(server)):
        log.warning(warning)
    if settings.file is not None:
        log.info("settings of %s", settings.file)
    ensure_model(engine)
    for price in prices(engine):
        log.warning(price)
    name = "scripted" if engine.backend == "scripted" else engine.model
    scheme = "http" if server.tls_cert is None else "https"
    log.info("loading %s for %s://%s:%d/v1", name, scheme, server.host, server.port)
    serve_until_signal(engine, server, Reload(settings, read_again))
