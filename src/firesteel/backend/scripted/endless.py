"""Endless plausible Python: function after function, each decided by its index alone."""

_VERBS = ("load", "parse", "build", "find", "merge", "update", "read", "create", "format", "count", "filter")
_NOUNS = ("items", "values", "tokens", "lines", "orders", "users", "events", "records", "fields", "options")
_KINDS = ("int", "str", "float", "bytes", "object")
_BODIES = (
    """\
    result = []
    for index, item in enumerate(NOUN):
        if item is None:
            continue
        result.append(item)
        if len(result) > LIMIT:
            break
    return result
""",
    """\
    total = 0
    for value in NOUN:
        total += len(str(value))
    return total + LIMIT
""",
    """\
    if not NOUN:
        raise ValueError("NOUN must not be empty")
    ordered = sorted(NOUN, key=str, reverse=True)
    return ordered[:LIMIT]
""",
    """\
    counts = {}
    for key in NOUN:
        counts[key] = counts.get(key, 0) + 1
    return {key: count for key, count in counts.items() if count < LIMIT}
""",
    """\
    first, rest = NOUN[0], NOUN[1:]
    while rest and len(rest) > LIMIT:
        first, rest = rest[0], rest[1:]
    return first
""",
    """\
    try:
        return next(value for value in NOUN if value)
    except StopIteration:
        return default_KIND
""",
    """\
    names = [f"{index}: {value}" for index, value in enumerate(NOUN, start=LIMIT)]
    return ", ".join(names)
""",
)
_HEAD = """\
def VERB_NOUN_INDEX(NOUN: list[KIND], default_KIND: KIND | None = None) -> object:
    \"\"\"Return the NOUN that the VERB step needs.\"\"\"
"""
_TEMPLATES = tuple(f"{_HEAD}{body}\n\n" for body in _BODIES)

_STATEMENTS = (
    "result = [item for item in items if item is not None]",
    "total = sum(len(str(value)) for value in values)",
    "return sorted(items, key=str)",
    "for value in values:\n    result.append(value)",
    'raise ValueError("not a valid value")',
)
_EXPRESSIONS = ("len(values)", "sorted(items, key=str)", "value + 1", "str(value)", "None")


def function(index: int) -> str:
    """Return the source of function number `index`. It begins with a letter and ends with two empty lines."""
    return (
        _TEMPLATES[index % len(_TEMPLATES)]
        .replace("VERB", _VERBS[index % len(_VERBS)])
        .replace("NOUN", _NOUNS[index * 7 % len(_NOUNS)])
        .replace("KIND", _KINDS[index // 3 % len(_KINDS)])
        .replace("INDEX", str(index))
        .replace("LIMIT", str(2 + index * index % 97))
    )


def fill(prefix: str, choice: int) -> str:
    """Return a short fill for the hole after `prefix`, in the indentation of its last line."""
    line = prefix.rpartition("\n")[2]
    if line.strip() and not line.rstrip().endswith(":"):
        return _EXPRESSIONS[choice % len(_EXPRESSIONS)]
    margin = line[: len(line) - len(line.lstrip())]
    statement = _STATEMENTS[choice % len(_STATEMENTS)]
    if line.strip():
        margin += "    "
        statement = "\n" + statement
    return statement.replace("\n", "\n" + margin)
