"""Archives whose entries say where they are written."""

import re

from firesteel.guard.finding import Action, Severity
from firesteel.guard.rules.base import Example, Match, Rule, Sink
from firesteel.guard.site import Site

ARCHIVE = re.compile(
    r"(?i)(?:entry|zip|tar|jar|member|header|hdr|\be\b|\bje\b|\bze\b|\bf\b|file|next)\w*(?:\(\))?\.(?:getName|name|filename|Name|FullName)\b"
)


def extracted(site: Site) -> Match | None:
    """Find an archive's entry whose name becomes a path, in a function that never compares it with the target folder."""
    text = site.text()
    values = site.arguments()
    names = [hole.name for value in values for hole in value.holes]
    if not (ARCHIVE.search(text) or any(ARCHIVE.search(name) for name in names)):
        return None
    source = site.evaluator.source.decode(errors="replace")
    if not re.search(r"(?i)\b(?:zip|jar|tar|archive)\w*(?:entry|file|input|member|\b)", source):
        return None
    if re.search(r"startsWith|is_relative_to|HasPrefix|StartsWith|normalize\(\)\.starts|contains\(\s*\"\.\.", source):
        return None
    return Match(None, None, "an archive's entry may be named ../../outside")


def extract_all(site: Site) -> Match | None:
    """Find `extractall` of a tar archive without a filter."""
    if site.flag("filter", "members") or not re.search(
        r"tar", site.name + site.evaluator.source.decode(errors="replace")
    ):
        return None
    return Match(None, None, "members may be named ../../outside")


RULES = (
    Rule(
        id="FS232",
        title="Archive entry as a path",
        cwe=("CWE-22", "CWE-23", "CWE-73"),
        severity=Severity.high,
        action=Action.rewrite,
        hint="resolve the entry's path and check that it lies inside the target folder before it is written",
        sinks=(
            Sink(languages=("python",), check=extract_all, names=("extractall",)),
            Sink(
                languages=("java",),
                check=extracted,
                names=("new File", "resolve"),
                at_end=True,
                arms=(r"\bgetName\s*\(",),
            ),
            Sink(
                languages=("go",),
                check=extracted,
                names=("Join",),
                owner=r"filepath|path",
                at_end=True,
                arms=(r"\b(?:zip|tar)\.",),
            ),
            Sink(
                languages=("csharp",),
                check=extracted,
                names=("Combine",),
                owner="Path",
                at_end=True,
                arms=(r"\.FullName\b",),
            ),
        ),
        examples=(
            Example(
                language="java",
                bad="class A { void f(ZipFile zip, ZipEntry entry, File dir) { File t = new File(dir, entry.getName()); copy(t); } }\n",
                good="class A { void f(ZipFile zip, ZipEntry entry, File dir) { File t = new File(dir, entry.getName()); if (!t.toPath().normalize().startsWith(dir.toPath())) throw bad(); copy(t); } }\n",
            ),
        ),
    ),
)
