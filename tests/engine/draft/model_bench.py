"""A scripted target with a scripted draft model beside it, on its real thread."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from firesteel.engine.draft.model import ModelDrafting
from firesteel.engine.draft.modes import Mode
from tests.engine.helpers import Bench

HASH: dict[str, Any] = {"rules": [{"mode": "hash"}]}


def says(text: str, **rule: Any) -> dict[str, Any]:
    """Return a script that says `text`."""
    return {"rules": [{"say": text, **rule}]}


@contextmanager
def drafted(target: dict[str, Any], draft: dict[str, Any], mode: Mode | None, **config: Any) -> Iterator[Bench]:
    """Yield a bench whose only drafter is a model that follows the script `draft`; close its engine.

    `mode` is forced; None leaves the choice to measurement.
    """
    with TemporaryDirectory() as folder:
        script = Path(folder) / "draft.json"
        script.write_text(json.dumps(draft))
        bench = Bench(json.dumps(target), draft_model=str(script), drafters=("model",), **config)
        model_of(bench).fixed = mode
        try:
            yield bench
        finally:
            bench.engine.close()
            assert not draft_threads()


def model_of(bench: Bench) -> ModelDrafting:
    model = bench.engine.drafting.model
    assert model is not None
    return model


def settle(bench: Bench) -> None:
    """Wait until the draft model has prepared all that it may."""
    assert model_of(bench).thread.settle(20)


def run_settled(bench: Bench) -> None:
    """Step to the end, the draft model having all the time it wants while each step verifies."""
    while bench.engine.step():
        bench.check_accounts()
        settle(bench)


def draft_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "draft"]
