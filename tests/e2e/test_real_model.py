"""The real default model, end to end: over HTTP with the official SDK, and from the command line."""

import json
import re
import subprocess
import threading
from typing import Any

import openai
import pytest

from firesteel.models.catalogue import DEFAULT
from tests.e2e.conftest import ONLINE, serve
from tests.server.live import Live, Wire, environment, firesteel, is_done, text_of, unchunked, user

pytestmark = [pytest.mark.model, pytest.mark.timeout(240)]

# Two logits that are closer than this may change places with the shape of the batch: twice the measured noise.
NEAR_TIE = 0.7
ADD = "def add(a: int, b: int) -> int:\n    return "
REST = "\n\n\nassert add(2, 3) == 5\n"
LONG_TEXT = "\n".join(f"def function_{i}(x: int) -> int:\n    return x * {i} + {i * 7 % 11}\n" for i in range(80))


def body_of(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": DEFAULT, "messages": user(text), "temperature": 0, **fields}


def code_in(answer: str) -> str:
    """Return the first fenced block, or everything when nothing is fenced."""
    found = re.search(r"```(?:python)?\n(.*?)(?:```|$)", answer, re.DOTALL)
    return found[1] if found else answer


def test_a_function_that_runs_and_is_right(client: openai.OpenAI) -> None:
    question = "Write a Python function is_prime(n) that tells whether n is prime. Only the code, no explanation."
    chunks = client.chat.completions.create(
        model=DEFAULT, messages=user(question), temperature=0, max_tokens=200, stream=True
    )
    names: dict[str, Any] = {}
    exec(code_in("".join(chunk.choices[0].delta.content or "" for chunk in chunks)), names)
    primes = [n for n in range(60) if names["is_prime"](n)]
    assert primes == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59]


def test_a_hole_is_filled_by_suffix_and_by_raw_tokens(client: openai.OpenAI) -> None:
    def filled(**prompt: Any) -> str:
        answer = client.completions.create(model=DEFAULT, temperature=0, max_tokens=24, stop="\n", **prompt)
        text: str = answer.choices[0].text
        return text

    insertion = filled(prompt=ADD, suffix=REST)
    exec(ADD + insertion + REST)
    assert filled(prompt=f"<|fim_prefix|>{ADD}<|fim_suffix|>{REST}<|fim_middle|>") == insertion


def test_a_follow_up_computes_only_what_is_new(client: openai.OpenAI) -> None:
    messages = user(f"{LONG_TEXT}\nWhat does function_3 return for 1? Answer with a number only.")
    first = client.chat.completions.create(model=DEFAULT, messages=messages, temperature=0, max_tokens=30)
    assert first.usage is not None
    assert first.usage.prompt_tokens > 1_500
    messages += [{"role": "assistant", "content": first.choices[0].message.content}, *user("And function_4?")]
    second = client.chat.completions.create(model=DEFAULT, messages=messages, temperature=0, max_tokens=10)
    assert second.usage is not None
    assert second.usage.prompt_tokens_details is not None
    cached = second.usage.prompt_tokens_details.cached_tokens or 0
    assert cached >= 0.99 * (first.usage.prompt_tokens + first.usage.completion_tokens)


def test_leaving_in_a_long_prefill_frees_the_sequence(real: Live) -> None:
    with Wire(real.port) as wire:
        wire.post(body_of("Explain this other file.\n" + LONG_TEXT * 2, stream=True))
        real.wait_engine(num_running=1)
    real.wait_idle()


def decided(client: openai.OpenAI, question: str) -> list[Any]:
    """Return the tokens of a greedy answer with their best rivals."""
    answer = client.chat.completions.create(
        model=DEFAULT, messages=user(question), temperature=0, max_tokens=40, logprobs=True, top_logprobs=2
    )
    assert answer.choices[0].logprobs is not None
    return answer.choices[0].logprobs.content or []


def test_streams_side_by_side_say_what_they_say_alone(client: openai.OpenAI) -> None:
    questions = ["Write a Python function that reverses a string.", "Write a SQL query that counts users by country."]
    alone = [decided(client, question) for question in questions]
    together: dict[int, str] = {}

    def ask(number: int) -> None:
        chunks = client.chat.completions.create(
            model=DEFAULT, messages=user(questions[number]), temperature=0, max_tokens=40, stream=True
        )
        together[number] = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, entries in enumerate(alone):
        assert_same_but_for_ties(entries, together[number])


def assert_same_but_for_ties(entries: list[Any], text: str) -> None:
    """Follow `text` along the tokens that were chosen alone; where it leaves them, the choice was a near tie."""
    for entry in entries:
        if not text.startswith(entry.token):
            first, second = (rival.logprob for rival in entry.top_logprobs)
            assert first - second < NEAR_TIE, f"{entry.token!r} was chosen by {first - second}, and here it is {text!r}"
            return
        text = text[len(entry.token) :]
    assert not text


def test_run_and_complete_from_the_command_line(model: str, tmp_path: Any) -> None:
    question = "Write a Python function double(x). Only the code."
    done = command("run", question, "--temperature", "0", "--max-tokens", "60")
    names: dict[str, Any] = {}
    exec(code_in(done.stdout), names)
    assert names["double"](21) == 42
    assert "tokens/s" in done.stderr
    path = tmp_path / "add.py"
    path.write_text(ADD + REST)
    done = command("complete", f"{path}:2", "--json", "--max-tokens", "24")
    insertion = json.loads(done.stdout)["insertion"]
    exec(ADD + insertion.splitlines()[0] + REST)


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        firesteel(*arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env=environment(ONLINE),
    )


def test_more_text_than_the_context_holds_at_once_is_still_complete(model: str) -> None:
    """Three answers of 200 tokens share 512 cells: some are preempted, and all come whole."""
    with serve("--context", "512") as live, Wire(live.port) as one, Wire(live.port) as two, Wire(live.port) as three:
        wires = (one, two, three)
        for wire, what in zip(wires, ("lists", "files", "threads"), strict=True):
            question = f"Write a long tutorial about {what} in Python."
            wire.socket.settimeout(200)
            wire.post(body_of(question, max_tokens=200, stream=True, stream_options={"include_usage": True}))
        for wire in wires:
            _, stream = unchunked(wire.read_to_end())
            assert is_done(stream)
            assert b'"completion_tokens":200' in stream
            assert len(text_of(stream)) > 400
        assert live.engine("num_preemptions") >= 1
        live.wait_idle()
