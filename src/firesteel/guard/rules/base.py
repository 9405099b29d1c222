"""What a rule is made of.

A rule names a weakness; its sinks say where it shows. A sink's check looks at one place and answers with a `Match`, or
with None. `arms` are Hyperscan patterns: no statement is parsed in which none of them was seen.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from firesteel.guard.finding import Action, Severity
from firesteel.guard.site import Kind, Site

ALL_LANGUAGES = frozenset(
    ("python", "javascript", "typescript", "java", "go", "ruby", "php", "c", "cpp", "csharp", "rust", "bash")
)
SCRIPTS = ("javascript", "typescript")
WITHOUT_PARENTHESES = frozenset(("ruby", "bash", "php"))  # where a call may do without
COMMON = frozenset(  # too common to look for without the name of the module
    [
        "get",
        "post",
        "put",
        "delete",
        "head",
        "patch",
        "request",
        "open",
        "join",
        "new",
        "load",
        "remove",
        "unlink",
        "move",
        "copy",
        "rename",
        "file",
        "run",
        "call",
        "sample",
        "shuffle",
        "random",
        "uniform",
        "choice",
        "listdir",
        "isfile",
        "isdir",
        "mkdir",
        "makedirs",
        "rmdir",
        "chmod",
        "write",
        "decode",
        "generate",
        "umask",
        "format",
    ]
)
PLAIN_OWNER = re.compile(r"\w[\w.\\]*(?:\|\w[\w.\\]*)*")  # nothing but names: the automaton can look for them


class Match(msgspec.Struct, frozen=True, gc=False):
    """A place that is vulnerable. `action` overrides the rule's when the evidence is weaker; `cause` is a byte offset."""

    cause: int | None = None
    action: Action | None = None
    reason: str = ""


Check = Callable[[Site], Match | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sink:
    """Where a rule looks. `names` are last parts of names (None: any), `owner` a pattern of what stands before them."""

    languages: tuple[str, ...]
    check: Check
    names: tuple[str, ...] | None = None
    owner: str | None = None
    kind: Kind = "call"
    arms: tuple[str, ...] = ()
    at_end: bool = False  # only the whole function can tell

    def fits(self, site: Site) -> bool:
        """Whether the name of the place is one of this sink's; `site.last` is known to be."""
        if self.owner is None or re.fullmatch(self.owner, site.owner) is not None:
            return True
        return "." in site.owner and re.fullmatch(self.owner, site.owner.rpartition(".")[2]) is not None

    def patterns(self, language: str) -> tuple[str, ...]:
        """Return the Hyperscan patterns that make a statement of `language` worth parsing."""
        if self.arms:
            return self.arms
        left = rf"\b(?:{self.owner})\s*(?:\.|::|->)\s*" if self.owner and PLAIN_OWNER.fullmatch(self.owner) else ""
        is_bound = language == "python"  # by an import, to any name
        return tuple(
            self._pattern(name, "" if is_bound and name not in COMMON else left, language) for name in self.names or ()
        )

    def _pattern(self, name: str, left: str, language: str) -> str:
        bare = re.escape(name.removeprefix("new ").removesuffix("!"))
        left = "" if bare.startswith("`") else left or r"\b"
        if self.kind == "pair":
            return rf"{left}{bare}\b"
        if self.kind in ("assign", "declare"):
            return rf"\.{bare}\s*\+?="
        follows = r"(?:!?\s*[({<]|\s+[\"'$`\w:%@-])" if language in WITHOUT_PARENTHESES else r"!?\s*[({<]"
        return rf"{left}{bare}{follows}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """Code that the rule must find, and the right way that it must not."""

    language: str
    bad: str
    good: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A weakness. `hint` is one line that tells a model how to do it right."""

    id: str
    title: str
    cwe: tuple[str, ...]  # the first one is reported
    severity: Severity
    action: Action
    hint: str
    sinks: tuple[Sink, ...]
    examples: tuple[Example, ...]

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that the rule knows, in alphabetical order."""
        return tuple(sorted({language for sink in self.sinks for language in sink.languages}))
