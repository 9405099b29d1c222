"""Addresses that somebody else chooses: request forgery, open redirects."""

import re

from firesteel.guard.finding import Action, Severity
from firesteel.guard.rules.base import SCRIPTS, Example, Match, Rule, Sink
from firesteel.guard.site import Site
from firesteel.guard.value import HOLE, Level


def fetched(site: Site) -> Match | None:
    """Judge addresses that are fetched on somebody's behalf."""
    value = site.first("url")
    if value is None or (site.last in ("request",) and len(site.positional()) > 1):
        value = site.argument(1) if value is not None else None
    if value is None or value.level is not Level.outside:
        return None
    start = value.skeleton.find(HOLE)
    risky = site.unchecked(value.risky("url", Level.outside))
    is_host_fixed = re.match(r"(?i)https?://[^/\0]+/", value.skeleton[:start] if start >= 0 else "")
    return (
        Match(value.cause, None, f"`{risky[0].name}` decides where the request goes")
        if risky and not is_host_fixed
        else None
    )


SAME_SITE = re.compile(r"request\.(?:path|full_path|path_info|get_full_path)\b")


def redirected(site: Site) -> Match | None:
    """Judge where a client is sent to."""
    for value in site.arguments()[:2]:
        risky = site.unchecked(value.risky("url", Level.outside))
        if risky and value.skeleton.startswith(HOLE) and not SAME_SITE.search(risky[0].name):
            return Match(value.cause, None, f"`{risky[0].name}` decides where the client goes")
    return None


def location_header(site: Site) -> Match | None:
    """Judge PHP's `header("Location: ...")`."""
    value = site.argument(0)
    if value is None or not re.match(rf"(?i)location:\s*{HOLE}", value.skeleton):
        return None
    risky = site.unchecked(value.risky("url", Level.outside))
    return Match(value.cause, None, f"`{risky[0].name}` decides where the client goes") if risky else None


def assigned_location(site: Site) -> Match | None:
    """Judge what is assigned to `location`."""
    value = site.argument(0)
    if value is None or not re.search(r"(?:^|\.)location(?:\.href)?$", site.name):
        return None
    risky = site.unchecked(value.risky("url", Level.outside))
    return (
        Match(value.cause, Action.warn, "outside data decides where the client goes")
        if risky and value.skeleton.startswith(HOLE)
        else None
    )


NET = r"(?i)requests|session|httpx|client|urllib|urllib2|urllib\.request|urlopen|axios|http|https|got|fetch|.*client|.*session|request|needle|superagent|aiohttp|curl|self\.session"


def redirected_go(site: Site) -> Match | None:
    """Judge Go's `http.Redirect(w, r, url, code)`."""
    for value in site.arguments()[1:3]:
        if (
            value.level is Level.outside
            and value.skeleton.startswith(HOLE)
            and site.unchecked(value.risky("url", Level.outside))
        ):
            return Match(value.cause, None, "outside data decides where the client goes")
    return None


RULES = (
    Rule(
        id="FS241",
        title="Address from data (request forgery)",
        cwe=("CWE-918",),
        severity=Severity.high,
        action=Action.rewrite,
        hint="choose the host yourself (a table of allowed ones) and take at most an identifier from the request",
        sinks=(
            Sink(
                languages=("python",),
                check=fetched,
                names=("get", "post", "put", "delete", "head", "patch", "request", "urlopen", "urlretrieve"),
                owner=NET + "|",
                arms=(r"(?i)\b(?:requests|httpx|session|client|urllib\w*|aiohttp)\.", r"\burlopen\b"),
            ),
            Sink(
                languages=SCRIPTS,
                check=fetched,
                names=("get", "post", "fetch", "axios", "request", "got"),
                owner=NET + "|",
                arms=(r"\b(?:axios|fetch|got|needle|superagent|https?\.(?:get|request))\b",),
            ),
            Sink(languages=("go",), check=fetched, names=("Get", "Post", "Head"), owner="http"),
            Sink(languages=("java",), check=fetched, names=("new URL", "getForObject", "getForEntity")),
            Sink(languages=("php",), check=fetched, names=("curl_init", "file_get_contents"), owner=""),
        ),
        examples=(
            Example(
                language="python",
                bad='@app.route("/p")\ndef f():\n    return requests.get(request.args["url"]).text\n',
                good='@app.route("/p")\ndef f():\n    return requests.get("https://api.example.com/item/" + request.args["id"]).text\n',
            ),
            Example(
                language="javascript",
                bad="app.get('/', async (req, res) => { await axios.get(req.query.url); });\n",
                good="app.get('/', async (req, res) => { await axios.get(HOSTS[req.query.host]); });\n",
            ),
        ),
    ),
    Rule(
        id="FS242",
        title="Open redirect",
        cwe=("CWE-601",),
        severity=Severity.medium,
        action=Action.rewrite,
        hint="redirect to paths of your own (url_for), or compare the host with those you allow first",
        sinks=(
            Sink(
                languages=("python",),
                check=redirected,
                names=("redirect", "HttpResponseRedirect", "RedirectResponse", "HTTPFound", "HTTPSeeOther"),
            ),
            Sink(languages=SCRIPTS, check=redirected, names=("redirect",), owner=r"res|response|ctx|reply"),
            Sink(languages=SCRIPTS, check=assigned_location, kind="assign", arms=(r"\blocation(?:\.href)?\s*=",)),
            Sink(languages=("java",), check=redirected, names=("sendRedirect",)),
            Sink(languages=("go",), check=lambda site: redirected_go(site), names=("Redirect",), owner=r"http|c|ctx"),
            Sink(languages=("ruby",), check=redirected, names=("redirect_to",)),
            Sink(languages=("csharp",), check=redirected, names=("Redirect",)),
            Sink(languages=("php",), check=location_header, names=("header",), owner=""),
        ),
        examples=(
            Example(
                language="python",
                bad='@app.route("/l")\ndef f():\n    return redirect(request.args.get("next"))\n',
                good='@app.route("/l")\ndef f():\n    return redirect(url_for("index"))\n',
            ),
            Example(
                language="ruby",
                bad="def f\n  redirect_to params[:to]\nend\n",
                good="def f\n  redirect_to root_path\nend\n",
            ),
        ),
    ),
)
