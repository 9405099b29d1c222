"""Conversations about real code, of any length: the text is Python's own standard library, always the same."""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from firesteel.types import Tokenizer

PATH = "/v1/chat/completions"
MODULES = (
    "argparse",
    "inspect",
    "typing",
    "tarfile",
    "ast",
    "doctest",
    "pathlib",
    "zipfile",
    "dataclasses",
    "difflib",
    "enum",
    "shutil",
    "tempfile",
    "statistics",
    "threading",
    "subprocess",
    "socket",
    "ssl",
    "smtplib",
    "optparse",
    "pickletools",
    "pickle",
    "turtle",
)
MAX_TOKEN_BYTES = 8  # source code of so many bytes a token is always enough
SYSTEM = "You are a careful programming assistant. Answer briefly."


@cache
def source() -> str:
    """Return the source files of `MODULES`, one after the other: about 1.5 MB."""
    found = (importlib.util.find_spec(name) for name in MODULES)
    paths = [Path(spec.origin) for spec in found if spec is not None and spec.origin]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def text_of(tokenizer: Tokenizer, num_tokens: int, *, skip: int = 0) -> str:
    """Return source code of `num_tokens` tokens, after the first `skip`; one more or less when tokenised again."""
    text = source()[: (skip + num_tokens) * MAX_TOKEN_BYTES]
    tokens = tokenizer.encode(text, special=False)[skip : skip + num_tokens]
    assert len(tokens) == num_tokens, f"the standard library has no {skip + num_tokens} tokens"
    return b"".join(map(tokenizer.piece, tokens)).decode(errors="ignore")


class Conversation(msgspec.Struct):
    """The messages so far, as a client keeps them."""

    messages: list[dict[str, str]]

    @classmethod
    def about(cls, code: str, system: str = SYSTEM) -> "Conversation":
        """Return a conversation whose first user message shows `code`."""
        question = f"Here is code to work on:\n```python\n{code}\n```\nSummarise it."
        return cls([{"role": "system", "content": system}, {"role": "user", "content": question}])

    def user(self, text: str) -> None:
        """Append what the user says."""
        self.messages.append({"role": "user", "content": text})

    def assistant(self, text: str) -> None:
        """Append what was answered."""
        self.messages.append({"role": "assistant", "content": text})

    def body(self, model: str, max_tokens: int) -> dict[str, Any]:
        """Return the request, greedy."""
        return {"model": model, "messages": self.messages, "max_tokens": max_tokens, "temperature": 0}


def follow_up(number: int) -> str:
    """Return a short user message, about 20 tokens, another one for each number."""
    return f"{number}. Which of these functions would you change first? Write it out again in full."
