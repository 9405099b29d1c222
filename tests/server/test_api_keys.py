"""Several keys at one server: who comes in, and that nobody finds what another one left warm."""

import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from firesteel.config import ServerConfig, api_keys
from firesteel.errors import ConfigError
from tests.server.live import Live, chat_body, serving, user

KEYS = ("s3cret-one", "s3cret-two")
BEGINNING = 10  # tokens with which every prompt begins
LONG = "Please write a function that adds two numbers. " * 80


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, ()), ("", ()), ("one", ("one",)), ("one,two", ("one", "two")), (" one , two ,", ("one", "two"))],
)
def test_keys_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, value: str | None, expected: tuple[str, ...]
) -> None:
    monkeypatch.delenv("FIRESTEEL_API_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("FIRESTEEL_API_KEY", value)
    assert api_keys() == expected


@pytest.mark.parametrize("value", [",", " ", " , "])
def test_a_variable_that_holds_no_key_is_a_mistake(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("FIRESTEEL_API_KEY", value)
    with pytest.raises(ConfigError, match="holds no key"):
        api_keys()


def test_no_representation_shows_a_key() -> None:
    config = ServerConfig(api_keys=KEYS, port=1234)
    for text in (repr(config), str(config), f"{config}"):
        assert "1234" in text
        assert not [key for key in KEYS if key in text]


@pytest.fixture(scope="module")
def locked() -> Iterator[Live]:
    with serving(env={"FIRESTEEL_API_KEY": ", ".join(KEYS)}) as live:
        yield live


def ask(live: Live, key: str, text: str, **fields: Any) -> httpx.Response:
    body = chat_body(text, max_tokens=8, **fields)
    return live.http.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})


def num_cached(response: httpx.Response) -> int:
    details: dict[str, int] = response.json()["usage"]["prompt_tokens_details"]
    return details["cached_tokens"]


def test_a_key_finds_only_its_own_prompts_warm(locked: Live) -> None:
    text = f"{uuid.uuid4()} {LONG}"
    first, second = KEYS
    assert num_cached(ask(locked, first, text)) < BEGINNING
    assert num_cached(ask(locked, first, text)) > 500
    assert num_cached(ask(locked, second, text)) < BEGINNING
    assert num_cached(ask(locked, second, text)) > 500


def test_a_prompt_that_another_key_is_computing_is_not_shared(locked: Live) -> None:
    """A fork of a live sequence would tell one user what another one asks."""
    text = f"slow {uuid.uuid4()} {LONG}"
    first, second = KEYS
    body = chat_body(text, max_tokens=200, stream=True)
    headers = {"authorization": f"Bearer {first}"}
    with locked.http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as stream:
        next(stream.iter_bytes())
        assert num_cached(ask(locked, second, text)) < BEGINNING
        assert num_cached(ask(locked, first, text)) > 500


def test_keys_stand_in_no_log(locked: Live) -> None:
    assert ask(locked, "wrong", "hello").status_code == 401
    assert ask(locked, KEYS[0], "fail first").status_code == 500
    locked.http.post("/v1/chat/completions", content=b"{", headers={"authorization": f"Bearer {KEYS[0]}"})
    log = locked.log.read_text()
    assert not [key for key in KEYS if key in log]


def test_a_session_of_one_key_is_not_that_of_another(locked: Live) -> None:
    text = f"{uuid.uuid4()} {LONG}"
    for key in KEYS:
        assert num_cached(ask(locked, key, text, prompt_cache_key="same")) < BEGINNING


def test_two_turns_with_a_key(locked: Live) -> None:
    text = f"{uuid.uuid4()} {LONG}"
    answer = ask(locked, KEYS[1], text).json()
    content = answer["choices"][0]["message"]["content"]
    messages = [*user(text), {"role": "assistant", "content": content}, *user("Go on.")]
    body = {"model": "scripted", "messages": messages, "max_tokens": 8}
    headers = {"authorization": f"Bearer {KEYS[1]}"}
    usage = locked.http.post("/v1/chat/completions", json=body, headers=headers).json()["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    assert cached >= answer["usage"]["total_tokens"] - 1
