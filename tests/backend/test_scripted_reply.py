"""What the scripted model says: endless code, fills, tool calls, rules, and text that was already said."""

import ast
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.backend.scripted import Rule, Script, endless
from tests.backend.test_scripted_backend import CHAT, compute, encode, generate, make, say

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
TOOLS = f"<|tools|>{json.dumps([WEATHER])}<|end|>"
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "city"}}\n</tool_call>'
ASK = TOOLS + "<|user|>How is the weather?<|end|><|assistant|>"


def test_without_a_script_it_writes_code_that_parses_and_never_ends() -> None:
    backend = make()
    said = generate(backend, encode(backend, CHAT), 5000)
    assert len(said) == 5000
    whole_functions = backend.tokenizer.decode(said).rpartition("\n\n\n")[0]
    names = [node.name for node in ast.parse(whole_functions).body if isinstance(node, ast.FunctionDef)]
    assert len(names) > 30
    assert len(set(names)) == len(names)


@given(st.integers(0, 10**6))
def test_every_function_parses_and_begins_and_ends_where_no_token_crosses(index: int) -> None:
    text = endless.function(index)
    assert isinstance(ast.parse(text).body[0], ast.FunctionDef)
    assert text[0].isalpha()
    assert text.endswith("\n\n\n")


@pytest.mark.parametrize(
    "prefix",
    [
        "def f(values):\n    ",
        "def f(values):",
        "total = ",
        "",
        "class A:\n    def f(self, values):\n        ",
    ],
)
def test_a_fill_is_short_ends_and_fits(prefix: str) -> None:
    text = say(make(), f"<|fim_prefix|>{prefix}<|fim_suffix|>\n<|fim_middle|>")
    assert 0 < len(text) < 120
    assert ast.parse(prefix + text)


def test_a_fill_and_a_rule_end_with_the_end_token() -> None:
    backend = make(Script(rules=(Rule(match="hello", say="Hi!"),)))
    for prompt in (
        "<|fim_prefix|>x = <|fim_suffix|><|fim_middle|>",
        "<|user|>hello<|end|><|assistant|>",
        "hello",
    ):
        backend.trim(0, 0)
        assert generate(backend, encode(backend, prompt), 200)[-1] in backend.tokenizer.end_tokens


def test_an_offered_tool_is_called_by_purpose_and_by_choice() -> None:
    backend = make()
    assert say(backend, ASK) == CALL
    required = f"{TOOLS}<|tool_choice|>required<|end|><|user|>Hello<|end|><|assistant|>"
    assert say(backend, required) == CALL
    assert say(backend, required.replace("required", "none"), 20).startswith("def ")
    assert say(backend, required.replace("required", "auto"), 20).startswith("def ")


def test_after_the_result_of_a_tool_the_model_answers_in_words() -> None:
    said = say(make(), ASK + CALL + "<|end|><|tool|>22 degrees<|end|><|assistant|>")
    assert said == "The tool answered: 22 degrees"


def test_tools_that_are_no_json_offer_nothing() -> None:
    assert say(make(), "<|tools|>{weather<|end|><|user|>weather<|end|><|assistant|>", 20).startswith("def ")


@given(st.integers(0, len(CALL)))
def test_a_reply_goes_on_after_any_part_of_it_that_was_already_said(cut: int) -> None:
    assert CALL[:cut] + say(make(), ASK + CALL[:cut]) == CALL


@given(st.integers(12, 900))
def test_endless_code_goes_on_after_any_part_of_it(cut: int) -> None:
    code = "".join(map(endless.function, range(4)))
    backend = make()
    for prompt in (CHAT, ""):
        backend.trim(0, 0)
        if prompt or not code[:cut].isspace():
            assert (code[:cut] + say(backend, prompt + code[:cut], 60)).startswith(code[: cut + 60])


def test_the_plan_is_appended_to_other_text_that_was_said() -> None:
    assert say(make(), ASK + "Let me look. ") == CALL
    assert say(make(), "import os\n\n\n", 40).startswith("def load_items_0(")


def test_a_token_forced_in_mid_reply_takes_the_place_of_one() -> None:
    backend = make()
    prompt = encode(backend, ASK)
    said = generate(backend, prompt, 100)
    forced = [*said[:10], encode(backend, "#")[0]]
    backend.trim(0, 0)
    assert forced + generate(backend, prompt + forced, 100) == [*forced, *said[11:]]


def test_the_first_matching_rule_wins_and_sees_the_last_user_text_only() -> None:
    rules = (Rule(match=r"^sum\b", say="one"), Rule(match="sum", say="two"), Rule(match="old", say="three"))
    backend = make(Script(rules=rules))
    turn = "<|user|>{}<|end|><|assistant|>"
    assert say(backend, turn.format("sum it")) == "one"
    assert say(backend, turn.format("a sum")) == "two"
    assert say(backend, turn.format("old") + "three<|end|>" + turn.format("the sum")) == "two"
    assert say(backend, turn.format("other"), 20).startswith("def ")


def test_rules_see_the_text_before_a_hole_and_the_start_of_a_raw_prompt() -> None:
    backend = make(Script(rules=(Rule(match="needle", say="found"),)))
    assert say(backend, "<|fim_prefix|>needle<|fim_suffix|>b<|fim_middle|>") == "found"
    assert say(backend, "a needle: ") == "found"
    assert say(backend, "word " * 100 + "needle", 20) != "found"


def test_turns_without_an_opened_reply_are_a_raw_prompt() -> None:
    asked = ASK.removesuffix("<|assistant|>")
    assert say(make(), asked, 20).startswith("def ")
    assert say(make(), "result<|tool|>22 degrees", 20).startswith("def ")
    assert say(make(Script(rules=(Rule(match="weather", say="raw"),))), asked[-40:]) == "raw"


def test_say_may_hold_any_text() -> None:
    text = "é🙂 <|end|> naïve\n"
    backend = make(Script(rules=(Rule(say=text),)))
    assert say(backend, CHAT) == text


def test_hash_replies_hold_no_control_token() -> None:
    backend = make(Script(tokens_per_step=5, rules=(Rule(mode="hash"),)))
    said = generate(backend, encode(backend, CHAT), 2000)
    assert all(backend.tokenizer.piece(token) for token in said)
    assert len(set(said)) > 400


def test_a_new_turn_in_single_rows_opens_a_new_reply() -> None:
    backend = make(Script(rules=(Rule(match="one", say="1"), Rule(match="two", say="2"))))
    generate(backend, encode(backend, "<|user|>one<|end|><|assistant|>"), 9)
    for token in encode(backend, "<|end|><|user|>two<|end|><|assistant|>"):
        (said, *_) = compute(backend, 0, [token])
    assert backend.tokenizer.label(said) == "2"
