from firesteel.stream.logprobs import CompletionLogprobsWriter, chat_logprobs
from firesteel.types import TokenLogprob
from tests.stream.stream_cases import TOKENIZER

A, B = TOKENIZER.encode("a", special=False), TOKENIZER.encode("b", special=False)
E_ACUTE = TOKENIZER.encode("é", special=False)


def test_chat_shape() -> None:
    written = chat_logprobs([TokenLogprob(A[0], -0.5, [(B[0], -0.25)])], TOKENIZER)
    (entry,) = written.content
    assert (entry.token, entry.logprob, entry.bytes) == ("a", -0.5, [97])
    (top,) = entry.top_logprobs
    assert (top.token, top.logprob, top.bytes) == ("b", -0.25, [98])


def test_impossible_is_a_number_that_json_has() -> None:
    impossible = [TokenLogprob(A[0], float("-inf"), [(B[0], float("-inf"))])]
    assert chat_logprobs(impossible, TOKENIZER).content[0].logprob == -9999
    written = CompletionLogprobsWriter(TOKENIZER, with_top=True).write(impossible)
    assert written.token_logprobs == [-9999]
    assert written.top_logprobs == [{"b": -9999, "a": -9999}]


def test_offsets_are_code_points_of_the_text() -> None:
    tokens = [*A, *E_ACUTE, *B]
    assert len(E_ACUTE) == 2
    writer = CompletionLogprobsWriter(TOKENIZER, start=10, with_top=False)
    offsets = [offset for token in tokens for offset in writer.write([TokenLogprob(token, -1.0, [])]).text_offset]
    assert offsets == [10, 11, 11, 12]


def test_chosen_token_is_always_among_the_likely_ones() -> None:
    written = CompletionLogprobsWriter(TOKENIZER, with_top=True).write([TokenLogprob(A[0], -3, [(B[0], -1)])])
    assert written.tokens == ["a"]
    assert written.top_logprobs == [{"b": -1, "a": -3}]
