"""Web pages may call where they were allowed to, and nowhere else; who is no page never notices."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from firesteel.server.origins import is_own
from firesteel.service.headers import limit_headers
from firesteel.service.limiter import REQUESTS, TOKENS, Standing
from tests.server.live import Live, chat_body, serving

PAGE = "https://editor.example"


@pytest.fixture(scope="module")
def open_to_one() -> Iterator[Live]:
    with serving("--cors-origins", f"{PAGE}, http://other.example:3000") as live:
        yield live


def test_by_default_no_page_may_call_and_no_header_says_otherwise(server: Live) -> None:
    for path, kind in (("/v1/chat/completions", "error"), ("/v1/messages", "error")):
        response = server.http.post(path, json=chat_body("hello"), headers={"origin": PAGE})
        assert response.status_code == 403
        assert "cors.origins" in response.json()[kind]["message"]
        assert "access-control-allow-origin" not in response.headers
    preflight = server.http.options("/v1/models", headers={"origin": PAGE, "access-control-request-method": "GET"})
    assert preflight.status_code == 403


def test_a_page_that_may_call_is_told_so(open_to_one: Live) -> None:
    headers = {"origin": PAGE}
    ask = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    preflight = open_to_one.http.options("/v1/chat/completions", headers={**headers, **ask})
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == PAGE
    assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
    body = chat_body("hello", max_tokens=2)
    response = open_to_one.http.post("/v1/chat/completions", json=body, headers=headers)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == PAGE
    assert "access-control-allow-credentials" not in response.headers
    assert open_to_one.http.get("/v1/models", headers={"origin": "https://evil.example"}).status_code == 403


@pytest.mark.parametrize("kind", ["chat", "messages"])
def test_a_page_is_shown_each_header_of_the_limits_by_its_name(open_to_one: Live, kind: str) -> None:
    shown = open_to_one.http.get("/v1/models", headers={"origin": PAGE}).headers["access-control-expose-headers"]
    names = [name.strip() for name in shown.split(",")]
    assert not [name for name in names if "*" in name]
    standings = [Standing(kind=what, limit=1, remaining=1, reset=0) for what in (REQUESTS, TOKENS)]
    assert {name.decode() for name, _ in limit_headers(standings, kind)} <= set(names)


def test_a_socket_of_a_foreign_page_is_refused(open_to_one: Live) -> None:
    """Browsers open WebSockets to anywhere, without asking first."""
    url = f"ws://127.0.0.1:{open_to_one.port}/v1/responses"
    with pytest.raises(InvalidStatus) as caught, connect(url, origin=Origin("https://evil.example"), proxy=None):
        pass
    assert caught.value.response.status_code == 403
    assert json.loads(caught.value.response.body)["error"]["code"] == "origin_not_allowed"
    for origin in (Origin(PAGE), None, Origin(f"http://127.0.0.1:{open_to_one.port}")):
        with connect(url, origin=origin, proxy=None):
            pass


@pytest.mark.parametrize(
    ("origin", "host", "own"),
    [
        ("http://127.0.0.1:80", "127.0.0.1:80", True),
        ("http://localhost:8080", "localhost:8080", True),
        ("http://[::1]:8080", "[::1]:8080", True),
        ("http://127.0.0.1:81", "127.0.0.1:80", False),
        ("http://evil.example:8080", "evil.example:8080", False),  # a name that its owner lets point here
        ("null", "null", False),
        ("", "", False),
    ],
)
def test_only_an_address_is_the_servers_own(origin: str, host: str, own: bool) -> None:
    assert is_own(origin, host) is own


@given(st.text(), st.text())
def test_any_header_is_judged(origin: str, host: str) -> None:
    assert is_own(origin, host) in (True, False)
