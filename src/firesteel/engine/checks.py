"""What the engine refuses before any work."""

from firesteel.types import Failure, Tokenizer, Work


def why_not_add(work: Work, *, num_cells: int, is_known: bool, has_guard: bool) -> Failure | None:
    """Return what is wrong with adding `work` to a context of `num_cells`; `is_known`: its id is taken."""
    num_needed = len(work.tokens) + work.max_tokens
    if is_known:
        return Failure(work.id, "invalid_value", f"id {work.id!r} is already running")
    if not work.tokens or work.max_tokens < 0:
        return Failure(work.id, "invalid_value", "the prompt must not be empty, nor max_tokens negative")
    if work.guard is not None and not has_guard:
        return Failure(work.id, "invalid_value", "this engine was started without a guard")
    if num_needed > num_cells:
        return Failure(work.id, "context_length_exceeded", f"{num_needed} tokens do not fit")
    return None


def may_rewind_to(ban: tuple[int, ...], hint: tuple[int, ...], tokenizer: Tokenizer) -> bool:
    """Return whether the model has all tokens of `ban` and can say those of `hint`."""
    size, ends = tokenizer.vocabulary_size, tokenizer.end_tokens
    return all(0 <= token < size for token in ban + hint) and not ends.intersection(hint)
