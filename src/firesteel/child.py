"""The engine process as `serve` starts it: `python -m firesteel.child FD CONFIG`. Here engine and guard are joined."""

from firesteel.engine.child import main
from firesteel.guard.answer import open_guard
from firesteel.guard.canary import missed, warm


def try_guard() -> tuple[str, ...]:
    """Make the guard ready for every language; return the rules that do not find their own examples."""
    broken = missed()
    if not broken:
        warm()
    return broken


if __name__ == "__main__":
    main(open_guard, try_guard)
