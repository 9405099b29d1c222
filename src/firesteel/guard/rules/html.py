"""HTML that is put together from data on a server: cross-site scripting."""

import re

from firesteel.guard.finding import Action, Severity
from firesteel.guard.rules.base import SCRIPTS, Example, Match, Rule, Sink
from firesteel.guard.site import Site
from firesteel.guard.value import HOLE, Hole, Level, Value, formatted

HTML = re.compile(
    r"(?is)<(?:!doctype|/?(?:html|body|div|span|p|a|b|i|h[1-6]|img|script|table|t[rdh]|ul|ol|li|pre|code|br|form|input|button|strong|em|option|label|iframe|svg|style|font|center|title|select|textarea|small|section|article|nav)\b)[^<]*"
)

MARKUP_OR_HANDLER = re.compile(rb"<[a-zA-Z!/]|@[\w.]+\(")

HTML_ALREADY = re.compile(r"(?i)html|markup|escaped|safe|snippet|fragment|rendered")
WHOLE = re.compile(r"(?:body|query|params|headers|cookies)$")
SAFE_TEXT = re.compile(
    r"(?i)(?:width|height|size|count|num|index|len|idx|_id|^id$|date|time|color|style|class|css|humanFileSize|nonce|token|lang|csrf)"
)


def judged(value: Value | None, needs_tags: bool = True, level: Level = Level.unknown) -> Match | None:
    """Judge text that a browser takes as HTML."""
    if value is None or not value.holes:
        return None
    risky = [hole for hole in value.risky("html", level) if not SAFE_TEXT.search(hole.name)]
    if not risky or (needs_tags and not HTML.search(value.skeleton)):
        return None
    return unescaped(value, risky)


def unescaped(value: Value, risky: list[Hole]) -> Match:
    """Return the match for data in a page; only told of where it may be HTML that was made elsewhere."""
    worst = max(risky, key=lambda hole: hole.level)
    is_made = not value.is_built or all(HTML_ALREADY.search(hole.name) for hole in risky)
    return Match(
        value.cause,
        Action.warn if worst.level is Level.unknown and is_made else None,
        f"`{worst.name or 'data'}` becomes part of the page unescaped",
    )


def written(site: Site) -> Match | None:
    """Judge what is written into a response."""
    for value in site.arguments()[:1]:
        is_script = site.evaluator.language in SCRIPTS
        if is_script and (value.is_sequence or (value.skeleton == HOLE and WHOLE.search(value.holes[0].name))):
            continue  # an object, which becomes JSON
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


def returned(site: Site) -> Match | None:
    """Judge a returned page; without tags only what comes from outside, in a handler of requests."""
    if not site.evaluator.mentions(MARKUP_OR_HANDLER):
        return None
    value = site.argument(0)
    if value is None or (value.is_sequence and not value.is_built):
        return None
    found = judged(value)
    if (found is not None and re.match(r"\s*(?:\(?[\"'rfuRFU]|\s)*<", value.skeleton)) or (
        found and found.action is None
    ):
        return found
    source = site.before()
    is_handler = re.search(r"@(?:\w+\.)*(?:route|get|post|expose|api_route|put)\(", source) is not None
    if (
        is_handler
        and value.is_built
        and value.risky("html", Level.outside)
        and not is_json(site)
        and re.search(r"(?i)[a-z]{3,}.*\0", value.skeleton)
    ):
        return Match(value.cause, None, "outside data becomes part of the answer unescaped")
    return None


TEXT_FIELD = re.compile(
    r"(?i)(?:^|\.|\[[\"'])(?:\w*(?:notes?|text|comment|description|title|headline|display_?name|bio|content|body|message|caption|summary|about))[\"'\]]*$"
)


def stored(site: Site) -> Match | None:
    """Observe text of a request that is stored as it came: whoever shows it must escape it."""
    value = site.argument(0)
    if (
        value is None
        or not TEXT_FIELD.search(site.name)
        or value.skeleton != HOLE
        or not value.risky("html", Level.outside)
    ):
        return None
    return Match(value.cause, Action.observe, "text of a request is stored as it came")


def go_write(site: Site) -> Match | None:
    """Judge what Go writes into a response."""
    if not re.search(
        r"http\.ResponseWriter|http\.Request|gin\.Context", site.evaluator.source.decode(errors="replace")
    ):
        return None
    if re.search(
        r"Content-Type\"?,\s*\"(?:application/json|text/plain)", site.evaluator.source.decode(errors="replace")
    ):
        return None
    values = site.arguments()
    if site.last == "Fprintf" and len(values) > 1:
        values = [formatted(values[1], values[2:])]
    elif site.last in ("Fprint", "Fprintln", "Error"):
        values = values[1:]
    for value in values:
        for hole in value.risky("html"):
            if value.is_built and (hole.level >= Level.parameter or HTML.search(value.skeleton)):
                return Match(
                    value.cause,
                    None if hole.level >= Level.parameter else Action.warn,
                    f"`{hole.name or 'data'}` becomes part of the answer unescaped",
                )
    return None


def echoed(site: Site) -> Match | None:
    """Judge what PHP prints."""
    for value in site.arguments():
        risky = value.risky("html", Level.outside)
        if risky:
            return Match(value.cause, None, f"`{risky[0].name}` becomes part of the page unescaped")
    return None


HINT = "escape data for HTML (html.escape, textContent, the template's autoescaping); never paste it into markup"


RULES = (
    Rule(
        id="FS251",
        title="Page built from data",
        cwe=("CWE-79", "CWE-80", "CWE-116"),
        severity=Severity.high,
        action=Action.rewrite,
        hint=HINT,
        sinks=(
            Sink(
                languages=("python",),
                check=written,
                names=(
                    "HttpResponse",
                    "make_response",
                    "Response",
                    "HTMLResponse",
                    "write",
                    "writeln",
                    "HttpResponseBadRequest",
                    "HttpResponseNotFound",
                ),
                owner=r"|self|self\.response|self\.response\.out|response|flask|django\.http|resp|self\.wfile|web",
            ),
            Sink(
                languages=("python",),
                check=returned,
                kind="return",
                arms=(
                    r"\breturn\b[^\n]{0,60}\brequest\b",
                    r"\breturn\s*\(?\s*[rfbu]{0,2}[\"'](?:\s*<|[^\n]{0,200}(?:[\"']\s*[%+]|\.format\(|\{))",
                    r"[\"']\s*<[a-zA-Z!]",
                    r"\breturn\s+\w*(?:html|page|body|markup)\w*",
                ),
            ),
            Sink(
                languages=("python",),
                check=stored,
                kind="assign",
                arms=(r"(?i)\brequest\.(?:POST|GET|form|args|values)\b",),
            ),
            Sink(
                languages=SCRIPTS,
                check=written,
                names=("send", "end", "write"),
                owner=r"(?:res|response|reply)(?:\.status\(\))?(?:\.type\(\))?",
            ),
            Sink(
                languages=("java",),
                check=written,
                names=("println", "print", "write", "append"),
                owner=r".*(?:[wW]riter|out|getWriter\(\)|html)",
            ),
            Sink(
                languages=("go",),
                check=go_write,
                names=("Write", "Fprintf", "Fprint", "WriteString", "Error", "Fprintln"),
            ),
            Sink(languages=("php",), check=echoed, names=("echo", "print", "printf"), owner=""),
            Sink(languages=("csharp",), check=written, names=("Raw", "Write", "Content"), owner=r"Html|Response|"),
        ),
        examples=(
            Example(
                language="python",
                bad='@app.route("/h")\ndef f():\n    return "<h1>" + request.args["name"] + "</h1>"\n',
                good='@app.route("/h")\ndef f():\n    return "<h1>" + escape(request.args["name"]) + "</h1>"\n',
            ),
            Example(
                language="go",
                bad='func f(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "<p>%s", r.FormValue("n")) }\n',
                good='func f(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "<p>%s", html.EscapeString(r.FormValue("n"))) }\n',
            ),
            Example(
                language="php",
                bad='function f() { echo "<p>" . $_GET["n"]; }\n',
                good='function f() { echo "<p>" . htmlspecialchars($_GET["n"]); }\n',
            ),
            Example(
                language="java",
                bad='class A { void f(HttpServletRequest q, PrintWriter out) { out.println("<p>" + q.getParameter("n")); } }\n',
                good='class A { void f(HttpServletRequest q, PrintWriter out) { out.println("<p>" + escapeHtml4(q.getParameter("n"))); } }\n',
            ),
        ),
    ),
)
