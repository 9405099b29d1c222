"""What a shell should not be told."""

import re

from firesteel.guard.finding import Action, Severity
from firesteel.guard.rules.base import Example, Match, Rule, Sink
from firesteel.guard.site import Site


def piped_to_shell(site: Site) -> Match | None:
    """Find a download that is run as it comes."""
    if site.last not in ("sh", "bash", "zsh", "python", "python3", "sudo"):
        return None
    parent = site.node.parent
    if parent is None or parent.type != "pipeline":
        return None
    before = site.evaluator.source[parent.start_byte : site.node.start_byte].decode(errors="replace")
    return (
        Match(None, None, "what the server sends is run unread")
        if re.search(r"\b(?:curl|wget|fetch)\b", before)
        else None
    )


def removed(site: Site) -> Match | None:
    """Find `rm -rf` of a variable that may be empty."""
    words = [site.evaluator.text(part) for part in site.parts]
    if not any(re.fullmatch(r"-[a-zA-Z]*[rR][a-zA-Z]*|--recursive", word) for word in words):
        return None
    for word in words:
        if re.match(r"\"?\$\{?\w+\}?\"?/", word) and not re.match(r"\"?\$\{\w+:[?-]", word):
            return Match(None, Action.warn, "an empty variable leaves the root folder")
    return None


RULES = (
    Rule(
        id="FS701",
        title="Download run unread",
        cwe=("CWE-494", "CWE-829"),
        severity=Severity.high,
        action=Action.rewrite,
        hint="save the file, check its checksum or signature, then run it",
        sinks=(
            Sink(
                languages=("bash",),
                check=piped_to_shell,
                names=None,
                arms=(r"\|\s*(?:sudo\s+)?(?:ba|z)?sh\b", r"\|\s*(?:sudo\s+)?python3?\b"),
            ),
        ),
        examples=(
            Example(
                language="bash",
                bad="f() {\n  curl https://example.com/install | sh\n}\n",
                good="f() {\n  curl -o install https://example.com/install\n  sha256sum -c install.sha256 && sh install\n}\n",
            ),
        ),
    ),
    Rule(
        id="FS702",
        title="Recursive delete of a variable",
        cwe=("CWE-73",),
        severity=Severity.medium,
        action=Action.warn,
        hint='make an empty variable an error: rm -rf "${folder:?}/"',
        sinks=(Sink(languages=("bash",), check=removed, names=("rm",)),),
        examples=(
            Example(language="bash", bad="f() {\n  rm -rf $folder/\n}\n", good='f() {\n  rm -rf "${folder:?}/"\n}\n'),
        ),
    ),
)
