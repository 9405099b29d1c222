"""`firesteel bench`: how fast this is, beside a stock llama.cpp server and beside what the machine allows."""

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_args

import typer

from firesteel.bench.options import KernelName, Kind, Span
from firesteel.config import BackendName
from firesteel.errors import ConfigError
from firesteel.models.catalogue import DEFAULT

if TYPE_CHECKING:
    from firesteel.bench.report import Report

SERVER = "llama-server"
KERNELS: tuple[KernelName, ...] = get_args(KernelName)
Quantization = Literal["q4_0", "q8_0"]
KVType = Literal["f16", "q8_0"]


class About(NamedTuple):
    """What a kind measures, the options that it takes, and how many pairs it runs by default."""

    what: str
    takes: frozenset[str]
    pairs: int = 5


SERVERS = frozenset({"--model", "--vs", "--pairs", "--tokens", "--quantize"})
KINDS: dict[Kind, About] = {
    "decode": About("tokens a second of a greedy answer", SERVERS | {"--history"}),
    "prefill": About("prompt tokens a second up to the first token", SERVERS),
    "pipeline": About("everything but the model, on the scripted backend", frozenset({"--pairs", "--tokens"})),
    "wire": About("turns, loops and crowds on /v1/responses, on the scripted backend", frozenset({"--pairs"}), 9),
    "edits": About("rewriting real files, with drafts and without", SERVERS, 3),
    "fresh": About("the same of new functions, where drafts help least", SERVERS, 3),
    "agent": About("the same of agents' turns, which quote what tools said", SERVERS, 3),
    "json": About("the same of answers that follow a JSON schema", SERVERS, 3),
    "ttft": About("time to the first token of a follow-up on warm history", SERVERS),
    "steer": About("time from new words in mid-answer to the first token that knows them", SERVERS),
    "share": About("prompt tokens computed by two live conversations that begin alike", SERVERS, 2),
    "cancel": About("time until the engine is free after a client left in mid-prefill", SERVERS),
    "restart": About("the same conversation after a restart of the server", SERVERS, 1),
    "load": About("from the start of the process to the first token, files in the page cache", SERVERS - {"--tokens"}),
    "churn": About("tokens computed twice by ten conversations in turn", SERVERS | {"--separate"}, 2),
    "context": About(
        "memory and step time by length of history",
        frozenset({"--model", "--tokens", "--quantize", "--kv-type", "--end-to-end"}),
        1,
    ),
    "step": About(
        "milliseconds of a step of few rows, and prefill, of the kernels alone",
        frozenset({"--model", "--vs", "--pairs", "--quantize", "--backend", "--rows", "--history", "--prefill"}),
    ),
}
SEVERAL = ("ttft", "context")  # kinds that take --tokens more than once


KindArgument = Annotated[
    Kind, typer.Argument(help=". ".join(f"{name}: {about.what}" for name, about in KINDS.items()) + ".")
]
SubjectOption = Annotated[
    str | None,
    typer.Option(help="A model's name or path; scripted tries a kind out.", show_default="the default model"),
]
PeerOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[,NAME]",
        help=f"Measure this too, on the same file, in alternation: {SERVER}; step: {', '.join(KERNELS)} or both, the "
        "kernels of llama.cpp in our own backend, and of ik_llama.cpp, which pip installs into the cache folder.",
    ),
]
PairsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="How often each server is asked; churn: rounds.",
        show_default="5, wire 9, edits, fresh, agent and json 3, share and churn 2, restart 1",
    ),
]
TokensOption = Annotated[
    list[int] | None,
    typer.Option(
        min=2,
        help="Tokens to decode (at most), of the prompt, or of history; ttft and context take several.",
        show_default="the kind's",
    ),
]
QuantizeBothOption = Annotated[
    Quantization | None, typer.Option(help="Requantise the model first; both servers get the result.")
]
CacheTypeOption = Annotated[
    KVType | None, typer.Option(help="context: how keys and values are stored.", show_default="f16")
]
BackendOption = Annotated[BackendName | None, typer.Option(help="step: whose kernels are ours.", show_default="auto")]
RowsOption = Annotated[
    list[str] | None,
    typer.Option(metavar="N[,N]", help="step: rows of one step, all of them wanted.", show_default="1,2,4,8,16,32"),
]
HistoryOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="N[,N]",
        help="step: tokens of history before them. decode: of the prompt.",
        show_default="128,4096,8192; decode 128",
    ),
]
PrefillOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="N[,FROM-TO]", help="step: tokens of a prompt to compute.", show_default="512,7700-8200 where they fit"
    ),
]
SeparateOption = Annotated[bool, typer.Option("--separate", help="churn: the conversations share no prefix.")]
EndToEndOption = Annotated[
    bool, typer.Option("--end-to-end", help="context: one long prompt over HTTP, every token of it computed.")
]
LastLineOption = Annotated[bool, typer.Option("--json", help="Print one JSON document as the last line.")]
SaveOption = Annotated[bool, typer.Option("--save", help="Keep the document in benchmarks/results.")]


def bench(
    kind: KindArgument,
    model: SubjectOption = None,
    vs: PeerOption = None,
    pairs: PairsOption = None,
    tokens: TokensOption = None,
    quantize: QuantizeBothOption = None,
    kv_type: CacheTypeOption = None,
    separate: SeparateOption = False,
    end_to_end: EndToEndOption = False,
    backend: BackendOption = None,
    rows: RowsOption = None,
    history: HistoryOption = None,
    prefill: PrefillOption = None,
    json: LastLineOption = False,
    save: SaveOption = False,
) -> None:
    """Measure speed and memory, beside the limit that the machine sets."""
    given = {"--model": model, "--vs": vs, "--pairs": pairs, "--tokens": tokens, "--quantize": quantize}
    given |= {"--kv-type": kv_type, "--separate": separate, "--end-to-end": end_to_end}
    refuse_others(kind, given | {"--backend": backend, "--rows": rows, "--history": history, "--prefill": prefill})
    peers = peers_of(kind, vs)
    refuse_mixtures(kind, model, tokens, backend, has_file_option=bool(vs or quantize or backend))
    end_cleanly()
    from firesteel.bench import runner
    from firesteel.bench.options import Options

    options = Options(
        kind=kind,
        model=model or DEFAULT,
        pairs=pairs or KINDS[kind].pairs,
        tokens=tuple(tokens or ()),
        with_peer=SERVER in peers,
        quantize=quantize,
        kv_type=kv_type or "f16",
        separate=separate,
        end_to_end=end_to_end,
        **of_steps(peers, backend, rows, history, prefill),
    )
    show(runner.run(options), json=json, save=save)


def peers_of(kind: Kind, text: str | None) -> tuple[str, ...]:
    """Return the peers that `--vs` names. Raises `ConfigError` for one that `kind` is not measured beside."""
    names = KERNELS if kind == "step" else (SERVER,)
    found = listed([text] if text is not None else None)
    if others := [name for name in found if name not in names]:
        raise ConfigError(f"--vs {others[0]!r}: bench {kind} is measured beside {' and '.join(names)}")
    return found


def of_steps(
    peers: tuple[str, ...],
    backend: BackendName | None,
    rows: list[str] | None,
    history: list[str] | None,
    prefill: list[str] | None,
) -> dict[str, Any]:
    """Return the fields of `Options` that only `bench step` has. Raises `ConfigError` for what is no list."""
    return {
        "backend": backend or "auto",
        "kernels": tuple(name for name in KERNELS if name in peers),
        "rows": numbers("--rows", rows),
        "histories": numbers("--history", history),
        "prefills": spans(prefill),
    }


def listed(texts: list[str] | None) -> tuple[str, ...]:
    """Return what an option names that takes lists with commas and may be given again."""
    return tuple(part.strip() for text in texts or () for part in text.split(",") if part.strip())


def numbers(option: str, texts: list[str] | None) -> tuple[int, ...]:
    """Return the numbers that an option names, ascending. Raises `ConfigError` for what is none."""
    found = listed(texts)
    if wrong := [text for text in found if not text.isascii() or not text.isdecimal() or not int(text)]:
        raise ConfigError(f"{option} {wrong[0]!r} is no number of 1 or more; {option} takes such as 1,2,4")
    return tuple(sorted({int(text) for text in found}))


def spans(texts: list[str] | None) -> tuple[Span, ...]:
    """Return the prefills that `--prefill` names. Raises `ConfigError` for what is none."""
    found = []
    for text in listed(texts):
        match = re.fullmatch(r"(?:([0-9]+)-)?([0-9]+)", text)
        if match is None or int(match[1] or 0) >= int(match[2]):
            raise ConfigError(f"--prefill {text!r} is no number of tokens, such as 512, and no span, such as 7700-8200")
        found.append(Span(int(match[1] or 0), int(match[2])))
    return tuple(found)


def end_cleanly() -> None:
    """Let SIGTERM unwind like Ctrl-C: the servers that were started must not outlive the benchmark."""
    import signal
    import sys

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def refuse_others(kind: Kind, given: dict[str, Any]) -> None:
    """Raise `ConfigError` for the options that were given and that `kind` does not take."""
    takes = KINDS[kind].takes
    if others := [name for name, value in given.items() if value and name not in takes]:
        raise ConfigError(f"bench {kind} takes no {' or '.join(others)}; it takes {', '.join(sorted(takes))}")


def refuse_mixtures(
    kind: Kind, model: str | None, tokens: list[int] | None, backend: BackendName | None, *, has_file_option: bool
) -> None:
    """Raise `ConfigError` for options that do not go together."""
    if len(tokens or ()) > 1 and kind not in SEVERAL:
        raise ConfigError(f"bench {kind} takes --tokens once; {' and '.join(SEVERAL)} take it several times")
    if model == "scripted" and has_file_option:
        raise ConfigError("--model scripted has no file: leave --vs, --quantize and --backend out")
    if backend == "scripted":
        raise ConfigError("--backend scripted has no weights: ask for --model scripted")


def show(report: "Report", *, json: bool, save: bool) -> None:
    """Print the tables, say where the file went, and end with the JSON document where it was asked for."""
    from rich.console import Console

    from firesteel.bench import report as reports

    console = Console()
    console.print(reports.table(report))
    if save:
        console.print(f"saved to {reports.save(report)}", highlight=False)
    if json:
        typer.echo(reports.encode(report))
