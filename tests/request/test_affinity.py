import json
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.request import openai_chat, openai_completions
from firesteel.request.affinity import MAX_KEY_CHARACTERS, SESSION_HEADERS, session_of, without_billing
from firesteel.types import ChatPrompt, Message, Request, Sampling

BILLING = "x-anthropic-billing-header: cc_version=2.1.330.7f2; cc_entrypoint=cli; cch=00000;"
names = st.sampled_from(SESSION_HEADERS)


@given(st.none() | st.text(), st.dictionaries(names, st.text()))
def test_the_first_key_that_is_given_counts(prompt_cache_key: str | None, headers: dict[str, str]) -> None:
    given_keys = [prompt_cache_key, *(headers.get(name) for name in SESSION_HEADERS)]
    expected = next((key for key in given_keys if key), None)
    if expected is None or len(expected) <= MAX_KEY_CHARACTERS:
        assert session_of(prompt_cache_key, headers) == expected


@given(st.text(min_size=MAX_KEY_CHARACTERS + 1, max_size=1000), st.text(min_size=1))
def test_long_keys_are_bounded_and_stay_apart(key: str, more: str) -> None:
    bounded, other = session_of(key, {}), session_of(key + more, {})
    assert bounded is not None
    assert len(bounded) <= MAX_KEY_CHARACTERS
    assert bounded != other
    assert bounded == session_of(key, {})


def test_a_lone_surrogate_is_a_key_too() -> None:
    assert session_of("\ud800" * 1000, {})


@given(st.text())
def test_nothing_but_a_billing_line_is_dropped(text: str) -> None:
    assert without_billing(text) == (text, False)
    assert without_billing(f"{BILLING}\n{text}") == (text, True)
    assert without_billing(f"{text}x{BILLING}") == (f"{text}x{BILLING}", False)


def test_a_block_of_its_own_becomes_empty() -> None:
    assert without_billing(BILLING) == ("", True)


def parsed(*messages: object) -> Request:
    body = json.dumps({"model": "m", "messages": messages}).encode()
    return openai_chat.parse(body, request_id="r", defaults=Sampling())


def system_of(content: object) -> str:
    (prompt,) = parsed({"role": "system", "content": content}, {"role": "user", "content": "hi"}).prompts
    assert isinstance(prompt, ChatPrompt)
    assert prompt.messages[0].role == "system"
    return prompt.messages[0].content


def test_two_runs_of_claude_code_begin_alike() -> None:
    rest = {"type": "text", "text": "You are Claude Code.\n"}
    runs = [system_of([{"type": "text", "text": BILLING + run}, rest]) for run in ("1", "2")]
    assert runs == ["You are Claude Code.\n"] * 2
    assert system_of(f"{BILLING}\nYou are Claude Code.\n") == runs[0]


def test_what_was_dropped_is_named() -> None:
    request = parsed({"role": "system", "content": f"{BILLING}\nHello"}, {"role": "user", "content": "hi"})
    assert request.noted == ("x-anthropic-billing-header",)


def test_a_message_of_nothing_else_goes_whole() -> None:
    user = {"role": "user", "content": "hi"}
    (prompt,) = parsed({"role": "system", "content": BILLING}, user).prompts
    assert prompt == ChatPrompt(messages=(Message(role="user", content="hi"),))
    (prompt,) = parsed({"role": "system", "content": BILLING}).prompts
    assert prompt == ChatPrompt(messages=(Message(role="system"),))


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_only_the_system_text_is_looked_at(role: Literal["user", "assistant"]) -> None:
    request = parsed({"role": role, "content": BILLING}, {"role": "system", "content": BILLING})
    (prompt,) = request.prompts
    assert prompt == ChatPrompt(messages=(Message(role=role, content=BILLING), Message(role="system", content=BILLING)))
    assert request.noted == ()


def test_both_endpoints_know_the_session() -> None:
    headers = {"x-session-id": "header"}
    for parse, prompt in (
        (openai_chat.parse, {"messages": [{"role": "user", "content": "hi"}]}),
        (openai_completions.parse, {"prompt": "x"}),
    ):
        for fields, expected in (({}, "header"), ({"prompt_cache_key": "body"}, "body")):
            body = json.dumps({"model": "m", **prompt, **fields}).encode()
            request = parse(body, request_id="r", defaults=Sampling(), headers=headers)
            assert (request.session, request.noted) == (expected, ())
