"""HTML that a script puts into a page: cross-site scripting in the browser."""

import re

from firesteel.guard.finding import Action, Severity
from firesteel.guard.rules.base import SCRIPTS, Example, Match, Rule, Sink
from firesteel.guard.site import Site
from firesteel.guard.value import Level, Value

HTML = re.compile(
    r"(?is)<(?:!doctype|/?(?:html|body|div|span|p|a|b|i|h[1-6]|img|script|table|t[rdh]|ul|ol|li|pre|code|br|form|input|button|strong|em|option|label|iframe|svg|style|font|center|title|select|textarea|small|section|article|nav)\b)[^<]*"
)

SAFE_TEXT = re.compile(
    r"(?i)(?:width|height|size|count|num|index|len|idx|_id|^id$|date|time|color|style|class|css|humanFileSize|nonce|token|lang|csrf)"
)


def judged(value: Value | None, needs_tags: bool = True, level: Level = Level.unknown) -> Match | None:
    """Judge text that a browser takes as HTML; from outside it is taken back, else told of."""
    if value is None or not value.holes:
        return None
    risky = [hole for hole in value.risky("html", level) if not SAFE_TEXT.search(hole.name)]
    if not risky or (needs_tags and not HTML.search(value.skeleton)):
        return None
    outside = next((hole for hole in risky if hole.level is Level.outside), None)
    name = (outside or risky[0]).name or "data"
    return Match(
        value.cause,
        None if outside is not None or max(hole.level for hole in risky) is Level.parameter else Action.warn,
        f"`{name}` becomes part of the page unescaped",
    )


def written(site: Site) -> Match | None:
    """Judge what is written into a response."""
    for value in site.arguments()[:1]:
        found = judged(value)
        if found is not None:
            return found
        if value.level is Level.outside and value.risky("html", Level.outside) and not is_json(site):
            return judged(value, needs_tags=False, level=Level.outside)
        if site.owner == "self" and value.risky("html") and re.search(r"text/html|<pre>|<html", site.before()):
            return judged(value, needs_tags=False)
    return None


def is_json(site: Site) -> bool:
    """Whether the response says that it is no HTML."""
    return (
        re.search(
            r"(?i)application/|text/plain|mime_?type|content_?type|octet|csv|jsonify|JsonResponse", site.text()[-300:]
        )
        is not None
    )


def element_html(site: Site) -> Match | None:
    """Judge what is assigned to the HTML of an element."""
    return judged(site.argument(0), needs_tags=False)


def jquery_html(site: Site) -> Match | None:
    """Judge what jQuery takes as HTML."""
    value = site.argument(0)
    if value is None or not value.holes:
        return None
    if site.last == "html":
        is_element = re.match(
            r"(?i)\$|jQuery|.*(?:\$|el|element|node|div|msg|panel|item|label|title|message|results|box|content|button|row|modal)\w*(?:\(\))?",
            site.owner,
        )
        return judged(value, needs_tags=False) if is_element or "()" in site.owner else None
    return judged(value)


def jquery_element(site: Site) -> Match | None:
    """Judge `$("<b>" + data)`."""
    value = site.argument(0)
    return judged(value) if value is not None and value.skeleton.lstrip().startswith("<") else None


def adjacent(site: Site) -> Match | None:
    """Judge `insertAdjacentHTML(position, html)`."""
    return judged(site.argument(1), needs_tags=False)


HINT = "escape data for HTML (html.escape, textContent, the template's autoescaping); never paste it into markup"


RULES = (
    Rule(
        id="FS252",
        title="Element filled from data",
        cwe=("CWE-79", "CWE-80", "CWE-116"),
        severity=Severity.high,
        action=Action.rewrite,
        hint=HINT,
        sinks=(
            Sink(languages=SCRIPTS, check=element_html, kind="assign", names=("innerHTML", "outerHTML")),
            Sink(languages=SCRIPTS, check=element_html, kind="pair", names=("__html",)),
            Sink(
                languages=SCRIPTS,
                check=jquery_html,
                names=("html", "append", "prepend", "after", "before", "replaceWith"),
                arms=(r"\.(?:html|append|prepend|after|before|replaceWith)\s*\(",),
            ),
            Sink(
                languages=SCRIPTS,
                check=jquery_element,
                names=("$", "jQuery"),
                arms=(r"(?:\$|jQuery)\s*\(\s*[\"'`]\s*<",),
            ),
            Sink(languages=SCRIPTS, check=adjacent, names=("insertAdjacentHTML",)),
            Sink(languages=SCRIPTS, check=element_html, names=("trustAsHtml", "bypassSecurityTrustHtml")),
            Sink(languages=SCRIPTS, check=written, names=("write", "writeln"), owner="document"),
        ),
        examples=(
            Example(
                language="javascript",
                bad='box.innerHTML = "<b>" + location.hash;\n',
                good="box.textContent = location.hash;\n",
            ),
            Example(language="javascript", bad='$("#name").html(data.name);\n', good='$("#name").text(data.name);\n'),
        ),
    ),
)
