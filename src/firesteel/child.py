"""The engine process as `serve` starts it: `python -m firesteel.child FD CONFIG`. Here engine and guard are joined."""

from firesteel.engine.child import main
from firesteel.guard.answer import open_guard

if __name__ == "__main__":
    main(open_guard)
