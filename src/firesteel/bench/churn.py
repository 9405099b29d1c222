"""Ten conversations in turn, more than fit into the KV memory at once: how many tokens are computed twice?

All begin with the same system prompt, as the conversations of a coding agent do. Both servers have the same
memory: one conversation's context, and a host cache that holds the prefix and half of the private parts. A
value is what one round of the ten computes: prompt tokens that were not cached. Floor: the tokens that are
new in the round, and those that the memory cannot hold.
"""

from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from firesteel.bench import sides
from firesteel.bench.client import Answer
from firesteel.bench.conversation import SYSTEM, Conversation, follow_up, text_of
from firesteel.bench.options import Options
from firesteel.bench.progress import Step, steps
from firesteel.bench.report import Measurement
from firesteel.bench.roofline import Ceiling
from firesteel.bench.sides import Side
from firesteel.bench.subject import Subject
from firesteel.bench.ttft import known_tokens

NUM_CONVERSATIONS = 10
SHARED_TOKENS = 512  # less than the private part: the peer keeps no conversation whose larger half the next one shares
PRIVATE_TOKENS = 640
ROUND_TOKENS = 40  # at most what a round adds: a question, an answer, the template's own
ANSWER_TOKENS = 8
DISK_MB = 4_000
MIB = 1 << 20
TARGET = "≤ 0.5 × the peer's"


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """The memory that both sides get."""

    context_tokens: int  # KV cells
    cache_mib: int  # host memory

    @property
    def cache_mb(self) -> int:
        """The host memory in the unit of our option, rounded down."""
        return self.cache_mib * MIB // 1_000_000

    def num_tokens(self, bytes_per_token: float) -> int:
        """Return how many tokens' KV fit into both together."""
        return self.context_tokens + int(self.cache_mib * MIB / bytes_per_token)


class Turn(msgspec.Struct, frozen=True):
    """One answer of a round; `num_known` tokens of its prompt had been computed in an earlier one."""

    answer: Answer
    num_known: int

    @property
    def num_computed(self) -> int:
        """Prompt tokens that were computed for it."""
        return self.answer.num_prompt_tokens - self.answer.num_cached_tokens

    @property
    def num_new(self) -> int:
        """Prompt tokens that nobody can have computed before."""
        return self.answer.num_prompt_tokens - self.num_known


class Talks:
    """The conversations of one side."""

    def __init__(self, side: Side, conversations: list[Conversation]) -> None:
        self.side = side
        self.rounds: list[list[Turn]] = []
        self._conversations = conversations
        self._last: dict[int, Answer] = {}

    def say(self, index: int, number: int) -> None:
        """Ask conversation `index` for its answer of round `number`; a new round begins with the first."""
        if index == 0:
            self.rounds.append([])
        conversation = self._conversations[index]
        if number:
            conversation.user(follow_up(number))
        answer = self.side.ask(conversation, ANSWER_TOKENS)
        conversation.assistant(answer.text)
        known = known_tokens(self._last[index]) if number else 0
        self.rounds[-1].append(Turn(answer, known))
        self._last[index] = answer


def measure(options: Options, subject: Subject) -> Measurement:
    """Run `options.pairs` rounds after the first, on both sides, and on ours with a disk cache."""
    private = options.num_tokens(PRIVATE_TOKENS)
    shared = 0 if options.separate else SHARED_TOKENS
    sizes = sizes_for(shared, private, options.pairs, subject.kv_bytes_per_token)
    texts = openings(subject, shared, private)
    with steps((2 + options.with_peer) * (1 + options.pairs)) as step:
        found = in_memory(options, subject, sizes, texts, step)
        on_disk = with_disk(options, subject, sizes, texts, step)
    name = "no shared prefix" if options.separate else f"{shared} of them shared"
    return Measurement(
        workload=f"{NUM_CONVERSATIONS} conversations of {shared + private} tokens in turn, {name}",
        unit="tokens computed a round",
        ours=computed(found["ours"]),
        theirs=computed(found["peer"]) if "peer" in found else [],
        ceiling=floor(found["ours"], sizes, shared, subject.kv_bytes_per_token),
        details={"target": TARGET, "memory": msgspec.to_builtins(sizes)}
        | {"sides": [row(name, talks) for name, talks in [*found.items(), ("ours, disk", on_disk)]]},
    )


def sizes_for(shared: int, private: int, rounds: int, bytes_per_token: float) -> Sizes:
    """Return the memory in which one conversation can run, and the prefix and half of the private parts rest."""
    longest = private + rounds * ROUND_TOKENS
    context = -(-(shared + longest + 2 * ROUND_TOKENS) // 256) * 256
    resting = shared + NUM_CONVERSATIONS // 2 * longest
    return Sizes(context_tokens=context, cache_mib=max(1, round(resting * bytes_per_token / MIB)))


def openings(subject: Subject, shared: int, private: int) -> list[Conversation]:
    """Return the conversations as they begin; without a shared part, their very first words differ."""
    common = f"{SYSTEM}\n{text_of(subject.tokenizer, shared)}"
    texts = [text_of(subject.tokenizer, private, skip=shared + n * private) for n in range(NUM_CONVERSATIONS)]
    return [Conversation.about(text, common if shared else f"{n}. {SYSTEM}") for n, text in enumerate(texts)]


def in_memory(
    options: Options, subject: Subject, sizes: Sizes, texts: list[Conversation], step: Step
) -> dict[str, Talks]:
    """Run the rounds on both sides in turns, each conversation of a round in order."""
    arguments = ["--context", str(sizes.context_tokens), "--cache-mb", str(sizes.cache_mb)]
    settings = {"n_ctx": sizes.context_tokens, "cache_ram_mib": sizes.cache_mib}
    with sides.both(options, subject, arguments, settings) as servers:
        found: dict[str, Talks] = {side.name: Talks(side, copies(texts)) for side in servers}
        for number, side in sides.in_turns(1 + options.pairs, servers):
            step(f"{side.name}: round {number - 1}")
            for index in range(len(texts)):
                found[side.name].say(index, number - 1)
    return found


def with_disk(options: Options, subject: Subject, sizes: Sizes, texts: list[Conversation], step: Step) -> Talks:
    """Run the rounds on our server with a disk cache beside the same memory."""
    arguments = [
        "--context",
        str(sizes.context_tokens),
        "--cache-mb",
        str(sizes.cache_mb),
        "--disk-cache",
        str(DISK_MB),
    ]
    with ExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory()))
        talks = Talks(stack.enter_context(sides.ours(subject, arguments, {"FIRESTEEL_HOME": str(home)})), copies(texts))
        for number in range(1 + options.pairs):
            step(f"ours, with a disk cache: round {number}")
            for index in range(len(texts)):
                talks.say(index, number)
    return talks


def copies(texts: list[Conversation]) -> list[Conversation]:
    """Return conversations that can go on independently."""
    return [Conversation([*conversation.messages]) for conversation in texts]


def computed(talks: Talks) -> list[float]:
    """Return the prompt tokens computed in each round after the first."""
    return [float(sum(turn.num_computed for turn in turns)) for turns in talks.rounds[1:]]


def floor(talks: Talks, sizes: Sizes, shared: int, bytes_per_token: float) -> Ceiling:
    """Return the least that a round must compute: what is new, and what the memory cannot hold."""
    new = median(sum(turn.num_new for turn in turns) for turns in talks.rounds[1:])
    last = talks.rounds[-1]
    distinct = shared + sum(turn.num_known - shared for turn in last)
    beyond = max(0, distinct - sizes.num_tokens(bytes_per_token))
    return Ceiling(new + beyond, f"{new:.0f} new tokens a round and {beyond} that the memory cannot hold")


def row(name: str, talks: Talks) -> dict[str, Any]:
    """Return what one side did."""
    later = [turn for turns in talks.rounds[1:] for turn in turns]
    return {
        "server": name,
        "first_round_computed": sum(turn.num_computed for turn in talks.rounds[0]),
        "computed_a_round": median(computed(talks)),
        "new_a_round": sum(turn.num_new for turn in later) / len(talks.rounds[1:]),
        "ttft_ms": median(turn.answer.first for turn in later) * 1e3,
    }
