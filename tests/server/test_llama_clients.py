"""What llama.cpp's editor clients ask of a server: llama.vim and llama.vscode."""

import time
from typing import Any

import httpx
import pytest

from tests.request.test_infill import LLAMA_VIM
from tests.server.live import Live, Wire, chat_body, chunks_of, serving

FIELDS = ["content", "timings/prompt_n", "timings/predicted_n", "timings/predicted_ms", "truncated", "tokens_cached"]


def infill(server: Live, **fields: Any) -> httpx.Response:
    return server.http.post("/infill", json={**LLAMA_VIM, "n_cmpl": 1, **fields})


def test_llama_vims_request(server: Live) -> None:
    answer = infill(server, response_fields=FIELDS).json()
    assert set(answer) == set(FIELDS)
    assert answer["content"].strip()
    assert answer["timings/predicted_n"] > 0


def test_the_whole_answer(server: Live) -> None:
    answer = infill(server, response_fields=None).json()
    assert answer["stop"] is True
    assert answer["stop_type"] == "eos"
    assert answer["timings"]["prompt_n"] + answer["timings"]["cache_n"] == answer["tokens_evaluated"]
    assert "n_indent" in answer["firesteel"]["noted"]
    parts = chunks_of(infill(server, response_fields=None, stream=True).content)
    assert "".join(part["content"] for part in parts) == answer["content"]
    assert [part["stop"] for part in parts] == [False] * (len(parts) - 1) + [True]
    assert len(infill(server, n_cmpl=3).json()) == 3


def test_a_stop_word_is_named(server: Live) -> None:
    whole = infill(server, response_fields=None, temperature=0).json()["content"]
    word = whole[3:5]
    answer = infill(server, response_fields=None, temperature=0, stop=[word]).json()
    assert (answer["stop_type"], answer["stopping_word"]) == ("word", word)
    assert answer["content"] == whole[: whole.index(word)]


def test_the_warm_up_leaves_the_ring_buffer_warm(server: Live) -> None:
    extra = [{"text": f"def other_{i}():\n    return {i}\n" * 8, "filename": f"{i}.py"} for i in range(4)]
    warm_up = {"input_extra": extra, "input_prefix": "", "input_suffix": "", "prompt": "", "n_predict": 0}
    first = infill(server, **warm_up, response_fields=None).json()
    assert (first["content"], first["tokens_predicted"], first["stop_type"]) == ("", 0, "limit")
    assert infill(server, **warm_up, response_fields=[""]).json() == {}
    typed = infill(server, input_extra=extra, response_fields=None).json()
    assert typed["timings"]["cache_n"] >= 0.8 * first["tokens_evaluated"]


def test_an_answer_ends_when_its_time_is_over() -> None:
    script = {"step_ms": 20, "rules": [{"match": "", "say": "a = 1\n" * 400}]}
    with serving(script=script) as live:
        started = time.monotonic()
        answer = infill(live, t_max_predict_ms=200, n_predict=2000, response_fields=None).json()
        assert time.monotonic() - started < 8  # not the half minute that the whole would take
        assert answer["stop_type"] == "limit"
        assert "\n" in answer["content"]
        live.wait_idle()


def test_props_and_slots_and_models(server: Live) -> None:
    props = server.http.get("/props").json()
    context = props["default_generation_settings"]["n_ctx"]
    assert props["model_alias"] == "scripted"
    slots = server.http.get("/slots").json()
    assert len(slots) == props["total_slots"]
    assert {slot["n_ctx"] for slot in slots} == {context}
    (card,) = server.http.get("/v1/models").json()["data"]
    assert card["max_model_len"] == card["context_length"] == card["meta"]["n_ctx"] == context
    assert server.http.get("/health").json()["status"] == "ok"


def test_no_free_slot_is_a_503_that_says_when() -> None:
    with serving("--max-live", "1") as live, Wire(live.port) as wire:
        wire.post(chat_body("stall", stream=True)).read()
        response = live.http.get("/slots?fail_on_no_slot=1")
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1


@pytest.mark.parametrize("path", ["/props", "/slots", "/infill"])
def test_they_are_no_secret_door(path: str) -> None:
    with serving(env={"FIRESTEEL_API_KEY": "secret"}) as live:
        method = "POST" if path == "/infill" else "GET"
        assert live.http.request(method, path).status_code == 401


def test_an_unknown_model_is_refused_and_an_empty_one_is_the_served_one(server: Live) -> None:
    assert infill(server, model="other").status_code == 404
    assert infill(server, model="scripted").status_code == 200
