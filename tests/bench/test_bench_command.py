import typing

import pytest

from firesteel.bench import options as option_module
from firesteel.bench import runner
from firesteel.bench.options import Kind, Options, Span
from firesteel.cli import bench as command
from firesteel.errors import ConfigError
from firesteel.models.catalogue import DEFAULT


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Options]:
    """The options that reach the benchmarks, which do not run."""
    found: list[Options] = []
    monkeypatch.setattr(runner, "run", found.append)
    monkeypatch.setattr(command, "show", lambda *_, **__: None)
    return found


def test_every_kind_has_a_module_and_a_line_of_help() -> None:
    kinds = set(typing.get_args(option_module.Kind))
    assert kinds == set(command.KINDS) == set(runner.MODULES) | {"pipeline", "wire"}


@pytest.mark.parametrize(("kind", "pairs"), [("ttft", 5), ("churn", 2), ("restart", 1)])
def test_a_kind_has_its_own_number_of_pairs(asked: list[Options], kind: Kind, pairs: int) -> None:
    command.bench(kind)
    command.bench(kind, pairs=7, vs="llama-server")
    assert [(options.pairs, options.with_peer, options.model) for options in asked] == [
        (pairs, False, DEFAULT),
        (7, True, DEFAULT),
    ]


def test_options_reach_the_kind(asked: list[Options]) -> None:
    command.bench("context", tokens=[1024, 4096], kv_type="q8_0", quantize="q4_0")
    command.bench("churn", separate=True)
    assert (asked[0].tokens, asked[0].kv_type, asked[0].quantize) == ((1024, 4096), "q8_0", "q4_0")
    assert asked[1].separate


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        ("pipeline", {"model": "m", "quantize": "q4_0"}, "bench pipeline takes no --model or --quantize"),
        ("context", {"vs": "llama-server"}, "takes no --vs; it takes --end-to-end, --kv-type"),
        ("ttft", {"separate": True}, "takes no --separate"),
        ("decode", {"end_to_end": True, "kv_type": "f16"}, "takes no --kv-type or --end-to-end"),
        ("steer", {"tokens": [1, 2]}, "takes --tokens once"),
        ("ttft", {"model": "scripted", "vs": "llama-server"}, "has no file"),
        ("step", {"model": "scripted", "backend": "auto"}, "has no file"),
        ("step", {"backend": "scripted"}, "ask for --model scripted"),
        ("step", {"vs": "llama-server"}, "'llama-server': bench step is measured beside llamacpp and ik"),
        ("decode", {"vs": "llama-server,ik"}, "'ik': bench decode is measured beside llama-server"),
        ("decode", {"rows": ["1"]}, "takes no --rows"),
        ("step", {"tokens": [4]}, "takes no --tokens; it takes --backend, --history"),
        ("step", {"rows": ["1,x"]}, "--rows 'x' is no number"),
        ("step", {"rows": ["0"]}, "--rows '0' is no number of 1"),
        ("step", {"history": ["²"]}, "--history '²' is no number"),
        ("step", {"prefill": ["9-9"]}, "--prefill '9-9' is no number of tokens"),
        ("step", {"prefill": ["-5"]}, "--prefill '-5'"),
    ],
)
def test_what_does_not_apply_is_refused(
    asked: list[Options], kind: Kind, given: dict[str, typing.Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        command.bench(kind, **given)
    assert not asked


def test_steps_are_told_by_lists_in_any_order(asked: list[Options]) -> None:
    command.bench("step", vs="ik, llamacpp", rows=["4,1", "1"], history=["128"], prefill=["512,7700-8200"])
    (found,) = asked
    assert (found.kernels, found.with_peer, found.backend) == (("llamacpp", "ik"), False, "auto")
    assert (found.rows, found.histories, found.prefills) == ((1, 4), (128,), (Span(0, 512), Span(7_700, 8_200)))


def test_a_report_of_the_scripted_backend_is_complete() -> None:
    report = runner.run(Options(kind="context", model="scripted", pairs=1, tokens=(64,)))
    assert report.kind == "context"
    assert report.model_sha256 is None
    assert report.peer is None
    assert {"threads", "load_average_before", "by_history_ms"} <= set(report.details)
