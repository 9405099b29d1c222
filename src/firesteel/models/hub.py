"""Pulling from the Hugging Face hub, or from any endpoint that speaks its API (`HF_ENDPOINT`).

The hub answers `GET /owner/repo/resolve/revision/file` with a redirect that carries `X-Linked-Size` and
`X-Linked-ETag` (the sha256 of the file), and leads to a store that honours `Range`.
https://huggingface.co/docs/huggingface_hub/package_reference/file_download
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from firesteel.errors import PullError
from firesteel.models.catalogue import Entry, Hub
from firesteel.models.files import Partial, Progress, require_space

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 5.0  # a source that cannot be reached gives way to the next one quickly
READ_SECONDS = 30.0  # silence after which a connection counts as lost
MAX_REDIRECTS = 5


def endpoint() -> str:
    """Return the hub's address: `HF_ENDPOINT`, else huggingface.co."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


@contextmanager
def connected() -> "Iterator[httpx.Client]":
    """Yield an HTTP client for the hub; its failures become `PullError`."""
    import httpx  # 60 ms that only a pull pays

    try:
        with new_client() as client:
            yield client
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise PullError(str(error) or type(error).__name__) from error


def new_client() -> "httpx.Client":
    """Return an HTTP client with the user's proxy, certificates and token. Raises `PullError`."""
    import httpx

    headers = {"accept-encoding": "identity", "user-agent": "firesteel"}
    if token := os.environ.get("HF_TOKEN"):
        headers["authorization"] = f"Bearer {token}"  # httpx drops it when a redirect leaves the host
    try:
        return httpx.Client(
            headers=headers,
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            follow_redirects=True,
            max_redirects=MAX_REDIRECTS,
        )
    except (ImportError, ValueError, OSError) as error:  # a proxy or a certificate file that is of no use
        raise PullError(f"the network settings cannot be used: {error}") from error


def describe(entry: Entry, source: Hub) -> Entry:
    """Return `entry` with the size and, if the hub tells it, the sha256 of its file. Raises `PullError`."""
    with connected() as client:
        response = client.head(f"{endpoint()}/{source.path}", follow_redirects=False)
        for _ in range(MAX_REDIRECTS):
            if "x-linked-etag" in response.headers or response.next_request is None:
                break
            response = client.send(response.next_request, follow_redirects=False)
        if not response.has_redirect_location:
            refuse_error(response)
        headers = response.headers
        size = headers.get("x-linked-size") or headers.get("content-length", "")
        etag = re.fullmatch(r'(?:W/)?"?([0-9a-f]{64})"?', headers.get("x-linked-etag") or headers.get("etag", ""))
    if not size.isdigit():
        raise PullError("the hub does not tell the size of the file")
    return msgspec.structs.replace(entry, bytes=int(size), sha256=etag and etag[1])


def fetch(source: Hub, entry: Entry, partial: Partial, progress: Progress) -> None:
    """Complete `partial` from the hub; a connection that breaks is resumed as long as it makes headway.

    Raises `PullError` when this source is of no use, `OSError` when the disk is.
    """
    import httpx

    assert entry.bytes is not None
    require_space(partial.path.parent, entry.bytes - partial.size)
    with connected() as client:
        while partial.size < entry.bytes:
            before = partial.size
            try:
                stream(client, f"{endpoint()}/{source.path}", entry, partial, progress)
            except httpx.TransportError:
                if partial.size <= before:
                    raise


def stream(client: "httpx.Client", url: str, entry: Entry, partial: Partial, progress: Progress) -> None:
    """Append what one request yields, from the first byte that is missing on."""
    assert entry.bytes is not None
    headers = {"range": f"bytes={partial.size}-"} if partial.size else {}
    with client.stream("GET", url, headers=headers) as response:
        refuse_error(response)
        if response.status_code != 206:
            partial.cut(0)  # the server knows no ranges: it sends the file from the start
        announced = response.headers.get("content-length")
        if announced is not None and partial.size + int(announced) != entry.bytes:
            raise PullError(f"it offers {partial.size + int(announced)} bytes instead of {entry.bytes}")
        for chunk in response.iter_bytes():
            if partial.size + len(chunk) > entry.bytes:
                raise PullError(f"it sends more than the {entry.bytes} bytes of the file")
            partial.append(chunk)
            progress(partial.size, entry.bytes, entry.name)
    if partial.size < entry.bytes:
        raise PullError(f"it sent only {partial.size} of {entry.bytes} bytes")


def refuse_error(response: "httpx.Response") -> None:
    """Raise `PullError` for an answer that is not the file."""
    if response.status_code in (200, 206):
        return
    reason = {
        401: "; the file is private, gated or does not exist: check the name, or set HF_TOKEN",
        403: "; the repository is gated: accept its terms on the hub and set HF_TOKEN",
        404: "; check owner, repository, revision and file name",
    }.get(response.status_code, "")
    raise PullError(f"it answered {response.status_code} {response.reason_phrase}{reason}")
