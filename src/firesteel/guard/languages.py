"""Which language a file, a fence or a request names."""

import re
from pathlib import PurePath

from firesteel.guard.syntax import MODULES

PARSED = frozenset(MODULES)
SUFFIXES = {
    f".{suffix}": language
    for language, suffixes in (
        ("python", "py pyi pyw"),
        ("javascript", "js jsx mjs cjs"),
        ("typescript", "ts tsx mts cts"),
        ("java", "java"),
        ("go", "go"),
        ("ruby", "rb rake"),
        ("php", "php"),
        ("c", "c h"),
        ("cpp", "cc cpp cxx hpp hh"),
        ("csharp", "cs"),
        ("rust", "rs"),
        ("bash", "sh bash zsh"),
        ("markdown", "md markdown"),
    )
    for suffix in suffixes.split()
}
ALIASES = {
    alias: language
    for language, aliases in (
        ("python", "py python3"),
        ("javascript", "js jsx node"),
        ("typescript", "ts tsx"),
        ("go", "golang"),
        ("ruby", "rb"),
        ("cpp", "c++ cxx cc"),
        ("csharp", "cs c# c-sharp c_sharp"),
        ("rust", "rs"),
        ("bash", "sh shell zsh console"),
        ("markdown", "md"),
    )
    for alias in aliases.split()
}
PLAIN = "text"  # anything else: secrets only
FENCE = re.compile(r"^[ \t>]{0,12}(`{3,}|~{3,})[ \t]*([\w+#.-]*)")


def named(name: str | None) -> str | None:
    """Return the guard's name of a language as people write it, "text" for one without rules, None for none."""
    if not name:
        return None
    lowered = name.strip().lower()
    lowered = ALIASES.get(lowered, lowered)
    return lowered if lowered in PARSED or lowered == "markdown" else PLAIN


def of_file(path: str) -> str:
    """Return the language of a file by its name."""
    return SUFFIXES.get(PurePath(path).suffix.lower(), PLAIN)


class Fences:
    """Follows the fenced blocks of Markdown, line by line."""

    def __init__(self) -> None:
        self._fence = ""

    def line(self, text: str) -> tuple[bool, str | None]:
        """Take one line; say whether a block began or ended with it, and which language begins, None for none."""
        found = FENCE.match(text)
        if found is None:
            return False, None
        if not self._fence:
            self._fence = found[1]
            language = named(found[2])
            return True, language if language in PARSED else None
        if found[1][0] == self._fence[0] and len(found[1]) >= len(self._fence) and not found[2]:
            self._fence = ""
            return True, None
        return False, None
