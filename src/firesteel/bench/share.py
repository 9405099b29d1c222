"""Two conversations that begin alike, both live: is what they share computed once?

Both are sent at the same moment, each with a question of its own after the same code. A value is the prompt
tokens that the two computed together. Floor: one prompt, and the other's own words.
"""

from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

from firesteel.bench import sides
from firesteel.bench.client import Answer
from firesteel.bench.conversation import Conversation, follow_up, text_of
from firesteel.bench.options import Options
from firesteel.bench.progress import steps
from firesteel.bench.report import Measurement
from firesteel.bench.roofline import Ceiling
from firesteel.bench.sides import Side
from firesteel.bench.subject import Subject

SHARED_TOKENS = 4_096
ANSWER_TOKENS = 16
TARGET = "the shared tokens once"


def measure(options: Options, subject: Subject) -> Measurement:
    """Send both at once, on both sides in turns; each pair shows other code."""
    shared = options.num_tokens(SHARED_TOKENS)
    found: dict[str, list[tuple[Answer, Answer]]] = {"ours": [], "peer": []}
    with sides.both(options, subject) as servers, steps(options.pairs * len(servers)) as step:
        for number, side in sides.in_turns(options.pairs, servers):
            step(f"{side.name}: pair {number}")
            found[side.name].append(ask_both(side, two_about(subject, shared, number)))
    ours, theirs = found["ours"], found["peer"]
    return Measurement(
        workload=f"two live conversations that share {shared} tokens",
        unit="prompt tokens computed",
        ours=[computed(pair) for pair in ours],
        theirs=[computed(pair) for pair in theirs],
        ceiling=floor(ours, len(subject.tokenizer.encode(follow_up(1), special=False))),
        details={"target": TARGET, "sides": [row(name, pairs) for name, pairs in found.items() if pairs]},
    )


def two_about(subject: Subject, shared: int, number: int) -> tuple[Conversation, Conversation]:
    """Return two conversations about the same code that ask different things."""
    text = text_of(subject.tokenizer, shared, skip=number * shared)
    both = Conversation.about(text), Conversation.about(text)
    for index, conversation in enumerate(both):
        conversation.user(follow_up(index))
    return both


def ask_both(side: Side, conversations: tuple[Conversation, Conversation]) -> tuple[Answer, Answer]:
    """Return the answers to two requests that are sent at the same moment."""
    with ThreadPoolExecutor(2) as threads:
        first, second = (threads.submit(side.ask, conversation, ANSWER_TOKENS) for conversation in conversations)
        return first.result(), second.result()


def computed(pair: tuple[Answer, Answer]) -> float:
    """Return the prompt tokens that were computed for both answers."""
    return float(sum(answer.num_prompt_tokens - answer.num_cached_tokens for answer in pair))


def floor(pairs: list[tuple[Answer, Answer]], num_words: int) -> Ceiling:
    """Return the least that two prompts can compute, when `num_words` tokens of the second are its own."""
    prompt = median(answer.num_prompt_tokens for pair in pairs for answer in pair)
    return Ceiling(prompt + num_words, f"one prompt of {prompt:.0f} tokens, and the other's own {num_words}")


def row(name: str, pairs: list[tuple[Answer, Answer]]) -> dict[str, Any]:
    """Return how long each of the two waited for its first token, medians."""
    firsts = [sorted(answer.first for answer in pair) for pair in pairs]
    return {
        "server": name,
        "sooner_ms": median(first for first, _ in firsts) * 1e3,
        "later_ms": median(second for _, second in firsts) * 1e3,
    }
