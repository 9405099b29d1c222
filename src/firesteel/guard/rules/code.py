"""Text that the program runs as code or as a template."""

from firesteel.guard.finding import Action, Severity
from firesteel.guard.rules.base import SCRIPTS, Example, Match, Rule, Sink
from firesteel.guard.site import Site
from firesteel.guard.value import Level


def code(site: Site) -> Match | None:
    """Judge text that is compiled and run."""
    value = site.argument(0)
    if value is None or value.is_sequence or not value.holes:
        return None
    risky = value.risky("code")
    if site.positional()[0].type == "block_argument" or (site.last == "constantize" and value.level < Level.outside):
        return None
    if site.last in ("setTimeout", "setInterval") and not (value.is_built or value.level is Level.outside):
        return None  # a function, as it should be
    if site.evaluator.language in ("python", "ruby") and len(site.positional()) > 1 and value.level < Level.outside:
        return None
    if not risky or site.flag("mode") or "compile()" in {hole.name + "()" for hole in risky}:
        return None
    if value.level >= Level.parameter:
        return Match(value.cause, None, f"`{risky[0].name or 'data'}` is run as code")
    if value.is_built:
        return Match(value.cause, Action.warn, f"`{risky[0].name or 'data'}` is run as code")
    return None


def template(site: Site) -> Match | None:
    """Judge a template whose text is not constant."""
    value = site.argument(0)
    if value is None or not value.risky("template", Level.parameter) or value.is_sequence:
        return None
    if value.level is Level.outside or value.is_built:
        return Match(value.cause, None, "data becomes part of the template itself")
    return Match(value.cause, Action.observe, "the template's text is a parameter")


RULES = (
    Rule(
        id="FS221",
        title="Code run from data",
        cwe=("CWE-94", "CWE-95"),
        severity=Severity.critical,
        action=Action.rewrite,
        hint="do not run text as code: parse it (ast.literal_eval, JSON.parse) or look the action up in a table of functions",
        sinks=(
            Sink(
                languages=("python",), check=code, names=("eval", "exec", "execfile"), owner=r"|builtins|__builtins__"
            ),
            Sink(
                languages=SCRIPTS,
                check=code,
                names=("eval", "new Function", "runInThisContext", "runInNewContext", "setTimeout", "setInterval"),
                owner=r"|window|vm|global|globalThis",
            ),
            Sink(
                languages=("ruby",),
                check=code,
                names=("eval", "instance_eval", "class_eval", "module_eval", "constantize"),
            ),
            Sink(languages=("php",), check=code, names=("eval", "assert", "create_function"), owner=""),
            Sink(languages=("java",), check=code, names=("eval",), owner=r".*(?:engine|Engine)\w*"),
        ),
        examples=(
            Example(
                language="python",
                bad='def f(request):\n    return eval(request.args["sum"])\n',
                good='def f(request):\n    return ast.literal_eval(request.args["sum"])\n',
            ),
            Example(
                language="javascript",
                bad="app.get('/', (req, res) => { eval(req.query.code); });\n",
                good="app.get('/', (req, res) => { JSON.parse(req.query.code); });\n",
            ),
            Example(
                language="ruby",
                bad="def f\n  eval(params[:code])\nend\n",
                good="def f\n  ACTIONS.fetch(params[:code]).call\nend\n",
            ),
            Example(
                language="php",
                bad='function f() { eval($_POST["code"]); }\n',
                good='function f() { json_decode($_POST["code"]); }\n',
            ),
        ),
    ),
    Rule(
        id="FS222",
        title="Template built from data",
        cwe=("CWE-1336", "CWE-94"),
        severity=Severity.high,
        action=Action.rewrite,
        hint="keep the template constant and give the data to it as variables",
        sinks=(
            Sink(
                languages=("python",),
                check=template,
                names=("render_template_string", "from_string", "Template"),
                owner=r"|flask|.*[eE]nv\w*|jinja2|.*environment|mako\.template",
            ),
            Sink(
                languages=SCRIPTS,
                check=template,
                names=("compile", "render"),
                owner=r"ejs|pug|jade|[hH]andlebars|nunjucks|_|swig|mustache",
            ),
        ),
        examples=(
            Example(
                language="python",
                bad='@app.route("/")\ndef f():\n    return render_template_string("<p>" + request.args["n"])\n',
                good='@app.route("/")\ndef f():\n    return render_template_string("<p>{{ n }}", n=request.args["n"])\n',
            ),
        ),
    ),
)
