import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.errors import RequestError
from firesteel.wire.decode import decode
from firesteel.wire.openai_chat import ChatBody
from firesteel.wire.openai_completions import CompletionBody

USER = '"model": "m", "messages": [{"role": "user", "content": "hi"}]'


def error_of(body: bytes | str) -> RequestError:
    with pytest.raises(RequestError) as caught:
        decode(body.encode() if isinstance(body, str) else body, ChatBody)
    return caught.value


@pytest.mark.parametrize(
    ("fields", "param", "near"),
    [
        ('"max_token": 1', "max_token", "`max_tokens`"),
        ('"temprature": 1', "temprature", "`temperature`"),
        ('"stream_options": {"include_usages": true}', "stream_options.include_usages", "include_usage"),
        ('"tools": [{"type": "function", "function": {"nam": "f"}}]', "tools[0].function.nam", "name"),
    ],
)
def test_unknown_field_is_named_with_the_nearest_known_one(fields: str, param: str, near: str) -> None:
    error = error_of(f"{{{USER}, {fields}}}")
    assert error.param == param
    assert error.code == "unknown_parameter"
    assert "did you mean" in error.message
    assert near in error.message


def test_unknown_field_like_no_other() -> None:
    assert error_of(f'{{{USER}, "zzzzqq": 1}}').message == "`zzzzqq` is not a known field; remove it"


def test_unknown_field_with_a_hostile_name() -> None:
    error = error_of(f'{{{USER}, "a`b - at `$.x` {"y" * 1000}": 1}}')
    assert error.code == "unknown_parameter"
    assert len(error.message) < 200


def test_unknown_field_deep_in_a_message() -> None:
    error = error_of('{"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "txt": ""}]}]}')
    assert error.param == "messages[0].content[0].txt"
    assert "`messages[0].content[0].text`" in error.message


def test_missing_field() -> None:
    error = error_of('{"messages": [{"role": "user"}]}')
    assert (error.param, error.code) == ("model", "missing_required_parameter")
    assert error_of('{"model": "m", "messages": [{}]}').param == "messages[0].role"


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ('"temperature": 2.5', "temperature", "<= 2.0"),
        ('"temperature": "hot"', "temperature", "got `str`"),
        ('"temperature": true', "temperature", "got `bool`"),
        ('"top_p": 0', "top_p", "> 0"),
        ('"n": 17', "n", "<= 16"),
        ('"seed": 9223372036854775808', "seed", "<= 9223372036854775807"),
        ('"logit_bias": {"the": 1}', "logit_bias", "Expected `int`"),
        ('"logit_bias": {"1": 101}', "logit_bias[...]", "<= 100"),
        ('"stop": ["a", ""]', "stop[1]", "length >= 1"),
        ('"stop": ""', "stop", "length >= 1"),
        ('"tool_choice": "any"', "tool_choice", "'required'"),
        ('"top_logprobs": 21', "top_logprobs", "<= 20"),
    ],
)
def test_wrong_type_or_range(fields: str, param: str, says: str) -> None:
    error = error_of(f"{{{USER}, {fields}}}")
    assert error.param == param
    assert error.code == "invalid_value"
    assert says in error.message


def test_role_outside_the_list_names_the_list() -> None:
    error = error_of('{"model": "m", "messages": [{"role": "function", "content": "x"}]}')
    assert error.param == "messages[0].role"
    assert "send one of 'system', 'developer', 'user', 'assistant', 'tool'" in error.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"{} x",
        b'{"model": NaN}',
        b'{"model": "\xff"}',
        b'{"mo\xffdel": 1}',
        b'{"model": "\\ud800"}',
        b"\xef\xbb\xbf{}",
        b'{"model": "m", "messages": [], "metadata": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
        b"[" * 100_000,
    ],
)
def test_body_that_is_no_json_object(body: bytes) -> None:
    error = error_of(body)
    assert error.status == 400
    assert len(error.message) < 300


@given(st.binary(max_size=200) | st.builds(msgspec.json.encode, st.dictionaries(st.text(), st.integers())))
def test_any_bytes_decode_or_are_a_request_error(body: bytes) -> None:
    with pytest.raises(RequestError):
        decode(body, CompletionBody)
