"""Why a token is proposed, in a few coarse kinds, and what each kind is believed to be worth before it was seen."""

from firesteel.engine.draft.base import Evidence

_BUCKETS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)  # tokens in a row that were right, at least
EDITED, SUBSTITUTED = 100, 101  # kinds of the followers, beside the buckets
NUM_SHARES = 4
_LONGEST = _BUCKETS[-1]
_BUCKET_OF = [sum(1 for start in _BUCKETS if start <= count) - 1 for count in range(_LONGEST + 1)]


def run_bucket(num_tokens: int) -> int:
    """Return which bucket a run of `num_tokens` right tokens falls into."""
    return _BUCKET_OF[num_tokens] if num_tokens < _LONGEST else len(_BUCKETS) - 1


def run_buckets(num_tokens: int, count: int) -> list[Evidence]:
    """Return the buckets of runs of `num_tokens`, `num_tokens + 1`, …, `count` of them."""
    start = min(num_tokens, _LONGEST)
    found: list[Evidence] = [*_BUCKET_OF[start : start + count]]
    return found + [len(_BUCKETS) - 1] * (count - len(found))


def share_bucket(votes: int, num_votes: int) -> int:
    """Return in which quarter the share of a continuation lies, with one voice against it: few votes prove little."""
    return NUM_SHARES * votes // (num_votes + 1)


def believed(source: str, evidence: Evidence) -> float:
    """Return the chance of a token before any of this kind was seen: on the careful side."""
    if source == "model":
        assert isinstance(evidence, int)
        return (evidence + 0.5) / 10
    kind, more = evidence if isinstance(evidence, tuple) else (evidence, 0)
    if kind in (EDITED, SUBSTITUTED):
        return 0.6 if kind == EDITED else 0.35
    if source == "prediction":
        return 1 - 0.5 / (1 + 0.5 * kind)
    steady = 1 - 0.75 / (1 + 0.5 * kind)
    return steady * (0.1 + 0.85 * more / NUM_SHARES) if source == "suffix" else 0.9 * steady
