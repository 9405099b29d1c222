"""What the server says once it ends."""

from firesteel.errors import NotReady

CLOSING_RETRY_SECONDS = 5.0


def closing() -> NotReady:
    """Return the error of requests that are not taken any more, or outlast the grace period."""
    return NotReady(
        "the server is shutting down; send the request again in a moment", retry_after=CLOSING_RETRY_SECONDS
    )
