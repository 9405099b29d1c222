"""HTML that a script puts into a page: cross-site scripting in the browser."""

import re

from firesteel.guard.finding import Action, Severity
from firesteel.guard.rules.base import SCRIPTS, Example, Match, Rule, Sink
from firesteel.guard.rules.html import judged, written
from firesteel.guard.site import Site


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
