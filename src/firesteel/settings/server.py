"""Settings of the server: where it listens, who may call, what it refuses."""

from typing import Annotated

from msgspec import Meta

from firesteel.logs import LogFormat
from firesteel.settings.setting import ORIGIN, Setting
from firesteel.settings.takes import Count, CountOrNone, Positive, Seconds, megabytes

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
    Setting(
        name="log_format",
        field="engine.log_format",
        takes=LogFormat,
        default="text",
        help="How the log on stderr looks; json is one object a line, with a line for each request: see "
        "docs/how-to/observe.md.",
    ),
)

WEB = (
    Setting(
        name="tls.cert",
        field="server.tls_cert",
        takes=str | None,
        is_live=True,
        help="PEM file of the certificate and its chain; with `tls.key`, the server speaks HTTPS only. SIGHUP reads "
        "both files again.",
    ),
    Setting(
        name="tls.key",
        field="server.tls_key",
        takes=str | None,
        is_live=True,
        help="PEM file of its private key, without a passphrase.",
    ),
    Setting(
        name="cors.origins",
        field="server.cors_origins",
        takes=tuple[Annotated[str, Meta(pattern=ORIGIN)], ...],
        default=(),
        is_live=True,
        help="Origins of web pages that may call, such as `https://app.example.com`; `*` is all. Pages of other "
        "origins are refused, over WebSockets too.",
    ),
)

LIMITS = (
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
    Setting(
        name="max_connections",
        field="server.max_connections",
        takes=Count,
        default=4096,
        is_live=True,
        help="Connections that may be open together; one more is answered by a 503.",
    ),
    Setting(
        name="header_timeout",
        field="server.header_seconds",
        takes=Positive,
        default=10.0,
        is_live=True,
        help="Seconds in which the head of a request must arrive, else it is a 408.",
    ),
    Setting(
        name="body_timeout",
        field="server.body_seconds",
        takes=Positive,
        default=60.0,
        is_live=True,
        help="Seconds in which its body must arrive, else it is a 408.",
    ),
    Setting(
        name="request_timeout",
        field="server.request_seconds",
        takes=Seconds,
        default=0.0,
        is_live=True,
        help="Seconds an answer may take, else it is a 504, or ends with such an error; 0 is as long as it takes. "
        "Background responses and WebSockets have no such limit.",
    ),
    Setting(
        name="write_timeout",
        field="server.idle_write_seconds",
        takes=Positive,
        default=60.0,
        help="Seconds after which a client that takes nothing counts as gone.",
    ),
)
