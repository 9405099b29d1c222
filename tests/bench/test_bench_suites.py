import re
from typing import Any, get_args

import msgspec
import pytest

from firesteel.bench import suite, workload
from firesteel.bench.suite import Suite, Task

KINDS = ("edits", "fresh", "agent", "json")
PREDICTION = {"type": "content", "content": workload.read("edits-types.py.txt")}


def by_name(kind: str) -> dict[str, Task]:
    return {task.name: task for task in suite.tasks(kind)}


@pytest.mark.parametrize(("kind", "count"), [("edits", 6), ("fresh", 8), ("agent", 6), ("json", 12)])
def test_suites_ship_with_every_text_that_they_quote(kind: str, count: int) -> None:
    tasks = suite.tasks(kind)
    assert len({task.name for task in tasks}) == len(tasks) == count
    for task in tasks:
        assert task.messages[-1]["role"] == "user"
        assert all(message["content"].strip() and "<<" not in message["content"] for message in task.messages)


@pytest.mark.parametrize("kind", KINDS)
def test_suites_are_said_in_the_language_of_the_struct_and_nothing_else(kind: str) -> None:
    found = msgspec.json.decode(workload.read(f"{kind}.json"), type=Suite)
    assert found.name == suite.title(kind)
    assert {talk.schema for talk in found.talks} - {""} == set(found.schemas)


def test_no_text_of_the_suites_is_left_unused() -> None:
    text = "".join(workload.read(f"{kind}.json") for kind in KINDS)
    files = {path.name for path in workload.FOLDER.iterdir() if re.match(r"(edits|agent)-.*txt$", path.name)}
    assert files - {"edits-LICENSE.txt"} == {name for name in files if name in text}


def test_an_edit_quotes_the_file_that_is_its_prediction() -> None:
    task = by_name("edits")["types"]
    body = task.body("m", says_prediction=True)
    assert body["prediction"] == PREDICTION
    assert task.prediction.rstrip("\n") in body["messages"][-1]["content"]
    assert (body["temperature"], body["max_tokens"], body["model"]) == (0, 320, "m")


def test_who_does_not_know_predictions_is_not_told() -> None:
    assert "prediction" not in by_name("edits")["types"].body("m", says_prediction=False)
    assert "prediction" not in by_name("fresh")["word-wrap"].body("m", says_prediction=True)


def test_what_was_answered_before_is_fixed() -> None:
    first, second = (by_name("agent")[f"failing-tests {number}"] for number in (1, 2))
    assert [message["role"] for message in second.messages] == ["user", "assistant", "user"]
    assert second.messages[:1] == first.messages
    assert "raise ValueError" in second.messages[1]["content"]
    assert first.group == second.group == "failing-tests"


@pytest.mark.parametrize(("name", "keys"), [("person-1", 4), ("title-4", 1), ("record-2", 8)])
def test_answers_in_json_have_a_strict_schema_with_a_fixed_order(name: str, keys: int) -> None:
    task = by_name("json")[name]
    schema = task.body("m", says_prediction=True)["response_format"]["json_schema"]
    assert schema["strict"] is True
    found: dict[str, Any] = schema["schema"]
    assert list(found["properties"]) == found["required"]
    assert len(found["required"]) == keys
    assert found["additionalProperties"] is False
    assert all(key in task.messages[-1]["content"] for key in found["required"])


def test_opening_is_one_token_of_the_same_prompt_and_nothing_else() -> None:
    task = by_name("json")["record-1"]
    body = task.opening("m")
    assert set(body) == {"model", "messages", "max_tokens", "temperature"}
    assert (body["messages"], body["max_tokens"]) == (task.messages, 1)


def test_number_of_tokens_can_be_set() -> None:
    assert {task.max_tokens for kind in KINDS for task in suite.tasks(kind, 16)} == {16}


def test_every_suite_is_a_kind() -> None:
    from firesteel.bench.options import Kind

    assert set(KINDS) <= set(get_args(Kind))
