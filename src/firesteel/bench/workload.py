"""What is asked of the servers. The files ship inside the package: an installed copy can measure too."""

from importlib import resources
from typing import Any

import msgspec

FOLDER = resources.files("firesteel.bench") / "workloads"


class Workload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A prompt to be continued greedily: the beginning of `text_file`, which lies beside the workload."""

    name: str
    text_file: str
    characters_per_token: float
    prompt_tokens: int
    max_tokens: int

    def body(self, model: str, run: int) -> dict[str, Any]:
        """Return the request of run number `run` to the model that is served as `model`.

        The number stands first, so that no two runs share a prefix that a cache could serve.
        """
        text = read(self.text_file)[: int(self.prompt_tokens * self.characters_per_token)]
        prompt = f"{run}# is the run\n{text}"
        return {"model": model, "prompt": prompt, "max_tokens": self.max_tokens, "temperature": 0}


def read(name: str) -> str:
    """Return a text file of the workloads."""
    return (FOLDER / name).read_text(encoding="utf-8")


def load(kind: str) -> Workload:
    """Return the workload of a benchmark kind."""
    return msgspec.json.decode(read(f"{kind}.json"), type=Workload)
