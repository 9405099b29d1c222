"""The tokens of earlier conversations, read from the blocks on disk, are those that the next prompt begins with."""

from pathlib import Path

import numpy as np

from firesteel.engine.kv.histories import histories
from firesteel.engine.kv.store import BlockStore
from firesteel.session.recall import TokenRecall
from tests.session.toy_tokenizer import ToyTokenizer


def keep(store: BlockStore, scope: str, tokens: list[int], size: int = 8) -> None:
    parent: str | None = ""
    for start in range(0, len(tokens), size):
        assert parent is not None
        parent = store.write(scope, parent, start, np.array(tokens[start : start + size], dtype=np.int32), b"KV")


def store_in(folder: Path, fingerprint: str = "model") -> BlockStore:
    return BlockStore(folder, fingerprint, max_bytes=1_000_000, max_seconds=1_000)


def test_answers_keep_their_tokens_over_a_restart(tmp_path: Path) -> None:
    plain = ToyTokenizer()
    end = plain.encode("<|end|>", special=True)
    first = [*plain.encode("<s><|user|>\nabc<|end|>\n<|assistant|>\n", special=True), *b"abcabc", *end]
    second = [*first, *plain.encode("\n<|user|>\nmore<|end|>\n<|assistant|>\n", special=True), *b"bcabca", *end]
    keep(store_in(tmp_path), "mine", second)
    recall = TokenRecall(plain)
    for scope, tokens in histories(tmp_path, "model", 1_000):
        recall.restore(tokens, scope)
    text = (
        "<s><|user|>\nabc<|end|>\n<|assistant|>\nabcabc<|end|>\n<|user|>\nmore<|end|>\n<|assistant|>\nbcabca<|end|>"
        "\n<|user|>\nlast<|end|>"
    )
    assert recall.tokenizer("mine").encode(text, special=True)[: len(second)] == second
    assert plain.encode(text, special=True)[: len(second)] != second
    assert recall.tokenizer("theirs").encode(text, special=True) == plain.encode(text, special=True)


def test_histories_are_whole_the_latest_last_and_bounded(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    keep(store, "a", [*range(20)])
    keep(store, "a", [*range(16), 7, 7])
    keep(store, "b", [*range(50, 59)])
    assert sorted(len(tokens) for _, tokens in histories(tmp_path, "model", 1_000)) == [9, 18, 20]
    assert {scope for scope, _ in histories(tmp_path, "model", 1_000)} == {"a", "b"}
    assert sum(len(tokens) for _, tokens in histories(tmp_path, "model", 30)) <= 30
    assert histories(tmp_path, "another model", 1_000) == []
    for path in tmp_path.rglob("*.kv"):
        path.write_bytes(path.read_bytes()[:40])
    assert histories(tmp_path, "model", 1_000) == []


def test_a_history_with_a_missing_block_is_not_one(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    keep(store, "a", [*range(20)])
    first = next(block for block in store.scan() if block.position == 0)
    (store.path / f"{first.id}.kv").unlink()
    assert histories(tmp_path, "model", 1_000) == []
