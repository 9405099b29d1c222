"""Write docs/reference/sentinel.md from the weights in the package; with --check, only say whether it is up to date."""

import sys
from pathlib import Path

from firesteel.guard.sentinel import shipped
from firesteel.train.card import card

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "sentinel.md"


def main(arguments: list[str]) -> int:
    """Write or check the page; the exit status is 1 when it is out of date."""
    page = card(shipped().head)
    if "--check" in arguments:
        if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page:
            return 0
        print(f"{PAGE} is out of date: run `make docs`", file=sys.stderr)
        return 1
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
