"""Buffers and formats of C."""

import re

from firesteel.guard import kinds
from firesteel.guard.finding import Action, Severity
from firesteel.guard.rules.base import Example, Match, Rule, Sink
from firesteel.guard.site import Site
from firesteel.guard.value import HOLE, Level


def unbounded(site: Site) -> Match | None:
    """Find a C call that cannot know how large its target is, unless its source is a constant."""
    name = site.last
    if name == "gets":
        return Match(None, None, "gets reads without bound")
    values = site.arguments()
    if name in ("strcpy", "strcat", "wcscpy", "lstrcpy", "StrCpy", "_tcscpy"):
        if len(values) < 2 or values[1].is_constant:
            return None
        return Match(
            None,
            None if values[1].level >= Level.parameter else Action.warn,
            "the source may be longer than the target",
        )
    texts = [value.skeleton for value in values]
    index = 1 if name in ("sprintf", "vsprintf", "sscanf", "fscanf") else 0
    template = texts[index] if len(texts) > index else ""
    if re.search(r"%-?\d*\[|%s" if name.endswith("scanf") else r"%-?\d*s", template):
        named = [value for value in values[index + 1 :] if value.holes]
        return Match(None, None, "%s writes without bound") if named or name.endswith("scanf") else None
    return None


def own_size(site: Site) -> Match | None:
    """Find a bound that is not the size of the target: a larger number, another object's size, or the size as an index."""
    parts = [site.evaluator.text(part).replace(" ", "") for part in site.positional()]
    source = site.evaluator.source.decode(errors="replace")
    if len(parts) < 3 and site.last not in ("snprintf",):
        return None
    bound = parts[1] if site.last in ("snprintf", "vsnprintf", "fgets") else parts[2]
    target = parts[0].lstrip("&(")
    declared = re.search(rf"\b{re.escape(target)}\s*\[\s*(\d+)\s*\]", source[: site.node.start_byte])
    if declared and bound.isdigit() and int(bound) > int(declared[1]):
        return Match(None, None, f"the target holds {declared[1]}, the bound says {bound}")
    sized = re.fullmatch(r"sizeof\(?\(?([\w.>\[\]-]+?)\)?\)?(?:-1)?", bound)
    if sized and sized[1] != target and target.startswith((sized[1] + ".", sized[1] + "->")):
        return Match(None, None, f"the bound is the size of `{sized[1]}`, of which the target is a part")
    if site.last in ("strncat",) and re.fullmatch(rf"sizeof\(?{re.escape(target)}\)?", bound):
        return Match(None, None, "strncat's bound is what is left, not the whole size")
    return None


def past_end(site: Site) -> Match | None:
    """Find a terminator that is written just behind the end: `b[sizeof(b)] = 0`."""
    name = site.name
    found = re.fullmatch(r"(.+)\[sizeof\(?(.+?)\)?\]", name)
    if found and found[1] == found[2].strip("()"):
        return Match(None, None, "the index is one behind the last element")
    sized = re.fullmatch(r"(\w+)\[(\d+)\]", name)
    if sized:
        source = site.evaluator.source[: site.node.start_byte].decode(errors="replace")
        declared = re.search(rf"\b(?:char|wchar_t|int|uint8_t|unsigned char)\s+{sized[1]}\s*\[\s*(\d+)\s*\]", source)
        if declared and int(sized[2]) >= int(declared[1]):
            return Match(None, None, "the index is behind the last element")
    return None


def format_string(site: Site) -> Match | None:
    """Find a format that is not constant."""
    index = {"fprintf": 1, "sprintf": 1, "snprintf": 2, "syslog": 1, "vfprintf": 1, "dprintf": 1}.get(site.last, 0)
    given = site.positional()
    if len(given) != index + 1:
        return None
    value = site.argument(index)
    if (
        value is None
        or not value.holes
        or value.skeleton != HOLE
        or given[index].type
        not in (*kinds.IDENTIFIERS, *kinds.MEMBERS, *kinds.SUBSCRIPTS, "pointer_expression", "call_expression")
    ):
        return None
    return Match(None, None if value.level >= Level.parameter else Action.warn, "the data may hold % directives")


RULES = (
    Rule(
        id="FS601",
        title="Copy without bound",
        cwe=("CWE-120", "CWE-787", "CWE-119", "CWE-676", "CWE-242", "CWE-121", "CWE-122"),
        severity=Severity.high,
        action=Action.rewrite,
        hint="say how large the target is: fgets, snprintf(target, sizeof target, ...), strlcpy",
        sinks=(
            Sink(
                languages=("c", "cpp"),
                check=unbounded,
                names=(
                    "gets",
                    "strcpy",
                    "strcat",
                    "sprintf",
                    "vsprintf",
                    "scanf",
                    "sscanf",
                    "fscanf",
                    "wcscpy",
                    "lstrcpy",
                ),
                owner="|std",
            ),
            Sink(
                languages=("c", "cpp"),
                check=own_size,
                names=("strncpy", "snprintf", "strncat", "memcpy", "fgets", "vsnprintf", "strlcpy"),
                owner="|std",
            ),
            Sink(
                languages=("c", "cpp"), check=past_end, kind="assign", arms=(r"\[\s*(?:sizeof|\d+)[^\]\n]{0,60}\]\s*=",)
            ),
        ),
        examples=(
            Example(
                language="c",
                bad="void f(char *name) { char b[16]; strcpy(b, name); }\n",
                good='void f(char *name) { char b[16]; snprintf(b, sizeof b, "%s", name); }\n',
            ),
            Example(
                language="c",
                bad="void f(void) { char b[16]; gets(b); }\n",
                good="void f(void) { char b[16]; fgets(b, sizeof b, stdin); }\n",
            ),
            Example(
                language="cpp",
                bad='void f(const char *n) { char b[8]; snprintf(b, 64, "%s", n); }\n',
                good='void f(const char *n) { char b[64]; snprintf(b, 64, "%s", n); }\n',
            ),
        ),
    ),
    Rule(
        id="FS602",
        title="Format from data",
        cwe=("CWE-134",),
        severity=Severity.high,
        action=Action.rewrite,
        hint='give a constant format: printf("%s", text)',
        sinks=(
            Sink(
                languages=("c", "cpp"),
                check=format_string,
                names=("printf", "fprintf", "sprintf", "snprintf", "syslog", "dprintf", "vprintf", "warn", "err"),
                owner="|std",
            ),
        ),
        examples=(
            Example(
                language="c", bad="void f(char *t) { printf(t); }\n", good='void f(char *t) { printf("%s", t); }\n'
            ),
        ),
    ),
)
