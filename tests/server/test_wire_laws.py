"""The laws of DESIGN.md that can be seen from outside, over HTTP."""

import uuid
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.live import Live, chunks_of, is_done, text_of, user

fields = st.fixed_dictionaries(
    {"max_tokens": st.integers(1, 60)},
    optional={
        "temperature": st.sampled_from([0, 0.7, 1.5]),
        "top_p": st.sampled_from([0.5, 1.0]),
        "stop": st.text("abe \n(", min_size=1, max_size=2),
        "n": st.integers(1, 3),
        "frequency_penalty": st.sampled_from([0.5]),
    },
)


def reasons_of(body: bytes) -> dict[int, str]:
    choices = [choice for chunk in chunks_of(body) for choice in chunk["choices"]]
    return {choice["index"]: choice["finish_reason"] for choice in choices if choice["finish_reason"]}


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["", "hash "]), st.text(max_size=80), fields)
def test_a_stream_says_what_the_whole_answer_says(
    shared_server: Live, kind: str, text: str, given_fields: dict[str, Any]
) -> None:
    """Law 2 at the wire; and law 4, since the second request finds the first one's prefix."""
    body = {"model": "scripted", "seed": 5, **given_fields}
    for path, prompt in (
        ("/v1/chat/completions", {"messages": user(kind + text)}),
        ("/v1/completions", {"prompt": kind + text + "."}),
    ):
        whole = shared_server.http.post(path, json=body | prompt).json()
        options = {"stream": True, "stream_options": {"include_usage": True}}
        stream = shared_server.http.post(path, json=body | prompt | options).content
        assert is_done(stream)
        for choice in whole["choices"]:
            said = choice["message"]["content"] if "message" in choice else choice["text"]
            assert text_of(stream, choice["index"]) == said
            assert reasons_of(stream)[choice["index"]] == choice["finish_reason"]
        usage = chunks_of(stream)[-1]["usage"]
        counts = ("prompt_tokens", "completion_tokens", "total_tokens")
        assert [usage[name] for name in counts] == [whole["usage"][name] for name in counts]


def test_a_cached_prefix_changes_no_token(server: Live) -> None:
    """Law 4: in hash mode any mix-up in the KV would show."""
    prompt = f"hash {uuid.uuid4()} " + "some text that is long enough to be kept. " * 20
    miss, hit = (server.chat(prompt, max_tokens=100, temperature=0).json() for _ in range(2))
    assert miss["usage"]["prompt_tokens_details"]["cached_tokens"] < 32
    assert hit["usage"]["prompt_tokens_details"]["cached_tokens"] >= 0.99 * hit["usage"]["prompt_tokens"] - 1
    assert hit["choices"][0]["message"] == miss["choices"][0]["message"]
    longer = server.chat(prompt + "And more.", max_tokens=100, temperature=0).json()
    assert longer["choices"][0]["message"] != miss["choices"][0]["message"]


def test_a_growing_conversation_computes_only_its_new_tokens(server: Live) -> None:
    text = f"Conversation {uuid.uuid4()}. " + "Please write a function that adds two numbers. " * 60
    messages: list[dict[str, str]] = []
    num_shared = 0
    for turn in range(4):
        messages.append({"role": "user", "content": f"{text} Turn {turn}."})
        body = {"model": "scripted", "messages": messages, "max_tokens": 120, "temperature": 0}
        answer = server.http.post("/v1/chat/completions", json=body).json()
        usage = answer["usage"]
        assert usage["prompt_tokens_details"]["cached_tokens"] >= 0.99 * num_shared
        num_shared = usage["prompt_tokens"] + usage["completion_tokens"]
        messages.append({"role": "assistant", "content": answer["choices"][0]["message"]["content"]})
    assert num_shared > 2_000
