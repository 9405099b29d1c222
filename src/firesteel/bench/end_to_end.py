"""One very long prompt, over HTTP and for real: every token of it is computed, then some are decoded."""

from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from typing import Any

from firesteel.bench import client, roofline, sides
from firesteel.bench.client import Connection, Exchange
from firesteel.bench.conversation import PATH, Conversation, text_of
from firesteel.bench.options import Options
from firesteel.bench.progress import Step, steps
from firesteel.bench.report import Measurement
from firesteel.bench.roofline import Ceiling
from firesteel.bench.subject import Subject

PROMPT_TOKENS = 32_512  # with the template's own tokens and the answer, just below 32,768
ANSWER_TOKENS = 32
SEGMENT = 4_096
SPARE_TOKENS = 128  # of the context: template, answer, and a text that is a little longer when tokenised again

Times = Sequence[tuple[float, int]]  # seconds since the request, prompt tokens computed by then


def measure(options: Options, subject: Subject) -> Measurement:
    """Compute `options.tokens` prompt tokens, decode a few. Raises `EngineFailure`."""
    num_tokens = options.num_tokens(PROMPT_TOKENS)
    context = min(sides.context_for(num_tokens), max(subject.trained_context, num_tokens + SPARE_TOKENS))
    arguments = ["--context", str(context), *subject.yarn_arguments(context)]
    top = roofline.prefill_ceiling(subject.header) if subject.header is not None else None
    conversation = Conversation.about(text_of(subject.tokenizer, num_tokens))
    with (
        steps(-(-num_tokens // SEGMENT) + 1) as step,
        sides.ours(subject, arguments) as side,
        closing(Connection(side.server.port)) as connection,
    ):
        exchange = followed(connection, conversation.body(side.model_id, ANSWER_TOKENS), step)
        answer, peak = exchange.answer(), side.server.peak_bytes()
    times = [(seconds - exchange.sent, done) for seconds, done in client.timed_progress(exchange.pieces)]
    computed = answer.num_prompt_tokens - answer.num_cached_tokens
    speed = computed / answer.first
    return Measurement(
        workload=f"{answer.num_prompt_tokens} prompt tokens end to end",
        unit="tokens/s",
        ours=[speed],
        theirs=[],
        ceiling=top or Ceiling(speed, "no weights: our own code alone"),
        details={
            "seconds": answer.end,
            "ttft_seconds": answer.first,
            "decode_tokens_per_second": answer.tokens_per_second,
            "peak_resident_mb": peak / 1e6,
            "segments": segments([*times, (answer.first, answer.num_prompt_tokens)]),
        },
    )


def followed(connection: Connection, body: dict[str, Any], step: Step) -> Exchange:
    """Send `body`, announce each segment of the prompt as the server reports it, and return the whole answer."""
    exchange = connection.send(PATH, body)
    step("waiting")
    announced = 0
    while not exchange.complete:
        connection.receive()
        done = max((done for _, done in client.timed_progress(exchange.pieces[-1:])), default=0)
        while announced < done // SEGMENT:
            announced += 1
            step(f"{announced * SEGMENT:,} prompt tokens after {exchange.now - exchange.sent:.0f} s")
    return exchange


def segments(times: Times) -> list[dict[str, Any]]:
    """Return the speed of each segment of the prompt; times between two reports are interpolated."""
    last = times[-1][1]
    ends = [*range(SEGMENT, last, SEGMENT), last]
    moments = [moment(times, end) for end in ends]
    return [
        {"from": start, "to": end, "tokens_per_second": (end - start) / (later - earlier)}
        for (start, end), (earlier, later) in zip(pairwise([0, *ends]), pairwise([0.0, *moments]), strict=True)
        if later > earlier
    ]


def moment(times: Times, tokens: int) -> float:
    """Return when `tokens` prompt tokens were computed, by a straight line between two reports."""
    for (earlier, fewer), (later, more) in pairwise([(0.0, 0), *times]):
        if fewer < tokens <= more:
            return earlier + (later - earlier) * (tokens - fewer) / (more - fewer)
    return times[-1][0]
