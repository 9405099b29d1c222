"""Escaping that is switched off or gone round."""

import re

from firesteel.guard import syntax
from firesteel.guard.finding import Action, Severity
from firesteel.guard.rules.base import Example, Match, Rule, Sink
from firesteel.guard.site import Site
from firesteel.guard.value import Level


def marked_safe(site: Site) -> Match | None:
    """Judge what is declared to be safe HTML."""
    value = site.argument(0)
    owner = syntax.receiver(site.node) if site.last == "html_safe" else None
    if owner is not None:  # Ruby: text.html_safe
        value = site.evaluator.value(owner)
    if value is None or not value.risky("html"):
        return None
    strong = (value.level >= Level.parameter and value.is_built) or value.level is Level.outside
    return (
        Match(
            value.cause,
            None
            if value.level is Level.outside or (value.is_built and value.level is Level.parameter)
            else Action.warn,
            "it is declared safe, but holds data",
        )
        if strong or value.risky("html")
        else None
    )


def autoescape_off(site: Site) -> Match | None:
    """Find a Jinja environment that does not escape."""
    written_flag = site.flag("autoescape")
    if written_flag not in ("", "false"):
        return None
    if any(part.type == "dictionary_splat" for part in site.parts):
        return None
    return Match(None, Action.warn, "Jinja escapes nothing unless it is told to")


def json_in_page(site: Site) -> Match | None:
    """Find JSON that is put into a page by `json.dumps`, which leaves `</script>` as it is."""
    text = site.text()
    if len(text) > 6000:
        return None
    if re.search(
        r"[\"']\w*json\w*[\"']\s*:\s*(?:json\.dumps\((?![^\n]*(?:(?:cls|escape)\s*=| is None| or |==|\bnot ))|\w+\.json\b(?!\())",
        text,
    ) and re.search(r"\.mako|\.html|\.jinja|\.tmpl", text):
        return Match(None, None, "`</script>` inside the JSON ends the script; json.dumps does not escape it")
    return None


def markdown(site: Site) -> Match | None:
    """Find Markdown of somebody's made HTML without a sanitiser: it lets HTML through."""
    value = site.argument(0)
    parent = site.node.parent
    around = site.evaluator.source[max(0, site.node.start_byte - 40) : site.node.start_byte].decode(errors="replace")
    if (
        value is None
        or not value.risky("html")
        or parent is None
        or re.search(r"(?i)clean|sanit|escape|bleach", around + site.text()[-200:])
    ):
        return None
    return Match(value.cause, None, "Markdown lets HTML through")


def form_errors(site: Site) -> Match | None:
    """Find Django's form errors sent as JSON text in a page's content type."""
    if site.last == "as_json" and not site.flag("escape_html") and re.search(r"errors\.as_json", site.name):
        return Match(None, None, "form errors repeat what was sent; the answer is HTML")
    return None


RULES = (
    Rule(
        id="FS253",
        title="Escaping switched off",
        cwe=("CWE-79", "CWE-80", "CWE-116"),
        severity=Severity.high,
        action=Action.rewrite,
        hint="leave autoescaping on, and escape what is declared safe (format_html, Markup.escape, a sanitiser after Markdown)",
        sinks=(
            Sink(
                languages=("python",),
                check=marked_safe,
                names=("mark_safe", "Markup", "SafeString", "SafeText"),
                owner=r"|django\.utils\.safestring|flask|markupsafe|jinja2|safestring",
            ),
            Sink(languages=("python",), check=autoescape_off, names=("Environment",), owner=r"|jinja2"),
            Sink(
                languages=("python",),
                check=json_in_page,
                names=("render", "render_to_response", "render_template", "render_to_string"),
                owner="",
            ),
            Sink(
                languages=("python",),
                check=markdown,
                names=("markdown", "markdown2", "mistune"),
                owner=r"|markdown2?|mistune",
            ),
            Sink(languages=("python",), check=form_errors, names=("as_json",)),
            Sink(
                languages=("ruby",),
                check=marked_safe,
                names=("raw", "html_safe"),
                arms=(r"\.html_safe\b", r"\braw\b"),
                owner=None,
            ),
        ),
        examples=(
            Example(
                language="python",
                bad="def f(user):\n    return mark_safe('<b>%s</b>' % user)\n",
                good="def f(user):\n    return format_html('<b>{}</b>', user)\n",
            ),
        ),
    ),
)
