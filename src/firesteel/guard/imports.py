"""What names stand for in a Python file, by its imports: `from os import system as run` makes `run` `os.system`."""

import re

ROOTS = frozenset(
    [
        "os",
        "subprocess",
        "hashlib",
        "random",
        "pickle",
        "cPickle",
        "dill",
        "marshal",
        "yaml",
        "tempfile",
        "ssl",
        "shutil",
        "Crypto",
        "Cryptodome",
        "cryptography",
        "commands",
        "requests",
        "httpx",
        "shelve",
        "jsonpickle",
        "joblib",
        "pandas",
    ]
)
MAX_NAMES = 500
FROM = re.compile(r"\s*from\s+([\w.]+)\s+import\s+(.*)")
IMPORT = re.compile(r"\s*import\s+(.*)")
NAMED = re.compile(r"([\w.]+)(?:\s+as\s+(\w+))?")


class Imports:
    """The names that imports of the modules with sinks have bound so far."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def line(self, text: str) -> None:
        """Take a line that may be an import; lists that go over several lines are read as far as the first."""
        found = FROM.match(text)
        prefix = f"{found[1]}." if found else ""
        found = found or IMPORT.match(text)
        if found is None or len(self.names) >= MAX_NAMES:
            return
        for part in found[found.lastindex or 1].strip(" ()\n").split(","):
            named = NAMED.match(part.strip())
            if named is None or (prefix + named[1]).split(".")[0] not in ROOTS:
                continue
            bound = named[2] or (named[1] if prefix else named[1].split(".")[0])
            self.names[bound] = prefix + (named[1] if prefix or named[2] else bound)

    def qualified(self, name: str) -> str:
        """Return a dotted name as its module knows it."""
        first, dot, rest = name.partition(".")
        known = self.names.get(first)
        return name if known is None else known + dot + rest
