import pytest

from firesteel.bench import client, compare, roofline, workload
from firesteel.bench.client import Answer, Json
from firesteel.bench.compare import Measured
from firesteel.bench.options import Kind, Options
from firesteel.errors import ConfigError
from firesteel.models.gguf import Header, Tensor

OURS, THEIRS = 1, 2


def answer(**changes: object) -> Answer:
    values: dict[str, object] = {
        "first": 0.5, "last": 1.5, "end": 1.6, "longest_gap": 0.1, "num_events": 11, "num_tokens": 11,
        "num_prompt_tokens": 100, "num_cached_tokens": 0, "text": "x", "final": {},
    }  # fmt: skip
    return Answer(**(values | changes))  # type: ignore[arg-type]


def test_servers_are_asked_in_turns_with_the_same_request(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, Json]] = []

    def ask(port: int, path: str, body: Json) -> Answer:
        asked.append((port, body))
        return answer(text=str(port))

    monkeypatch.setattr(client, "ask", ask)
    ours, theirs = compare.alternate([OURS, THEIRS], "m", workload.load("decode"), pairs=4)
    assert [port for port, _ in asked] == [
        1,
        2,
        1,
        2,
        2,
        1,
        1,
        2,
        2,
        1,
    ]  # a warm-up each, then A B B A A B B A
    assert [body for _, body in asked[2::2]] == [body for _, body in asked[3::2]]
    assert len({body["prompt"] for _, body in asked}) == 5
    assert [[run.text for run in runs] for runs in (ours, theirs)] == [["1"] * 4, ["2"] * 4]


def test_rates() -> None:
    assert compare.decode_rate(answer()) == 10.0
    assert compare.prefill_rate(answer(num_cached_tokens=20)) == 160.0


@pytest.mark.parametrize("kind", ["decode", "prefill"])
def test_workloads_ship_with_the_package(kind: str) -> None:
    body = workload.load(kind).body("m", 7)
    assert body["prompt"].startswith("7# is the run\n")
    assert body["temperature"] == 0


def test_number_of_tokens_goes_where_the_kind_needs_it() -> None:
    kinds: tuple[Kind, ...] = ("decode", "prefill")
    decode, prefill = (
        compare.adapted(workload.load(kind), Options(kind=kind, model="m", pairs=1, tokens=(2048,))) for kind in kinds
    )
    assert decode.max_tokens == 2048
    assert prefill.prompt_tokens == 2048
    assert len(prefill.body("m", 1)["prompt"]) > 3 * 2048


def test_decode_may_begin_behind_a_history_but_only_one() -> None:
    options = Options(kind="decode", model="m", pairs=1, histories=(900,))
    decode = compare.adapted(workload.load("decode"), options)
    assert decode.prompt_tokens == 900
    assert decode.max_tokens == workload.load("decode").max_tokens
    several = Options(kind="decode", model="m", pairs=1, histories=(900, 1800))
    with pytest.raises(ConfigError, match="takes one --history"):
        compare.adapted(workload.load("decode"), several)


def test_details_tell_whether_both_said_the_same() -> None:
    found = compare.details(
        Measured([answer(), answer()], [answer(), answer(text="y", final={"timings": {"n": 1}})], 0.02)
    )
    assert found["identical_texts"] == 1
    assert found["peer"]["says"] == {"n": 1}
    assert "peer" not in compare.details(Measured([answer()], [], 0.02))


def header(*tensors: tuple[str, tuple[int, ...], int]) -> Header:
    found = tuple(Tensor(name, shape, 0, 0, size) for name, shape, size in tensors)
    return Header(metadata={}, tensors=found, file_bytes=0)


EMBEDDING = ("token_embd.weight", (8, 100), 3200)
LAYER = (("blk.0.attn_q.weight", (8, 8), 64), ("blk.0.attn_norm.weight", (8,), 32))


def test_embedding_counts_only_where_it_is_the_head() -> None:
    assert roofline.bytes_per_token(header(EMBEDDING, *LAYER)) == 3296
    assert roofline.bytes_per_token(header(EMBEDDING, *LAYER, ("output.weight", (8, 100), 800))) == 896


def test_prefill_multiplies_by_the_matrices_of_the_layers() -> None:
    assert roofline.multiply_adds_per_token(header(EMBEDDING, *LAYER)) == 64


def test_rates_need_a_model_with_weights() -> None:
    with pytest.raises(ConfigError, match="needs a real model"):
        compare.ceiling("decode", None, 1)
