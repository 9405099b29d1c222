"""Temporary files, permissions, debuggers."""

import re

from firesteel.guard.finding import Action, Severity
from firesteel.guard.rules.base import Example, Match, Rule, Sink
from firesteel.guard.site import Site


def racy_name(site: Site) -> Match | None:
    """Find a temporary name that another process can take first."""
    return Match(None, None, "another process can make the file first")


def world_writable(site: Site) -> Match | None:
    """Find a mode that lets everybody write."""
    values = [site.evaluator.text(part) for part in site.parts]
    mode = next((text for text in values if re.fullmatch(r"(?:0o?)?[0-7]{3,4}|0x[0-9a-fA-F]+|511|438", text)), None)
    words = " ".join(values)
    if re.search(r"S_IWOTH|S_IRWXO", words) or (
        site.evaluator.language == "bash" and re.search(r"(?:^|\s)(?:-R\s+)?(?:a\+rwx|o\+w|a\+w|ugo\+rwx)\b", words)
    ):
        return Match(None, None, "everybody may write")
    if mode is None:
        return None
    octal = mode.removeprefix("0o")
    is_octal = site.evaluator.language == "bash" or mode.startswith("0")
    number = int(octal, 8) if is_octal and not mode.startswith("0x") else int(mode, 0)
    return Match(None, None, "everybody may write") if number & 0o002 else None


def no_mask(site: Site) -> Match | None:
    """Find a mask that takes nothing away: what is made afterwards is open to everybody."""
    value = site.argument(0)
    is_zero = value is not None and value.skeleton in ("0", "0o0", "0o000", "0x0")
    return Match(None, Action.warn, "files made from now on are open to everybody") if is_zero else None


def debug_on(site: Site) -> Match | None:
    """Find Flask's debugger left on."""
    return (
        Match(None, Action.warn, "the debugger runs code for whoever reaches it")
        if site.flag("debug") == "true"
        else None
    )


RULES = (
    Rule(
        id="FS501",
        title="Racy temporary file",
        cwe=("CWE-377", "CWE-379"),
        severity=Severity.medium,
        action=Action.rewrite,
        hint="use tempfile.mkstemp, NamedTemporaryFile or mkstemp, which make the file while they name it",
        sinks=(
            Sink(languages=("python",), check=racy_name, names=("mktemp",), owner="|tempfile"),
            Sink(languages=("python",), check=racy_name, names=("tempnam", "tmpnam"), owner="os"),
            Sink(
                languages=("c", "cpp"), check=racy_name, names=("mktemp", "tmpnam", "tempnam", "_mktemp"), owner="|std"
            ),
            Sink(languages=("php",), check=racy_name, names=("tmpnam",), owner=""),
        ),
        examples=(
            Example(
                language="python",
                bad="def f():\n    path = tempfile.mktemp()\n    return open(path, 'w')\n",
                good="def f():\n    handle, path = tempfile.mkstemp()\n    return os.fdopen(handle, 'w')\n",
            ),
            Example(
                language="c",
                bad="void f(char *t) { char *p = mktemp(t); }\n",
                good="void f(char *t) { int h = mkstemp(t); }\n",
            ),
        ),
    ),
    Rule(
        id="FS502",
        title="Everybody may write",
        cwe=("CWE-732", "CWE-276"),
        severity=Severity.medium,
        action=Action.rewrite,
        hint="give the least: 0o600 for files, 0o700 for folders",
        sinks=(
            Sink(
                languages=("python",),
                check=world_writable,
                names=("chmod", "fchmod", "lchmod"),
                owner=r"os|.*path\w*|self\.\w+|Path\(\)",
            ),
            Sink(languages=("c", "cpp", "php"), check=world_writable, names=("chmod", "fchmod"), owner=""),
            Sink(
                languages=("go",),
                check=world_writable,
                names=("Chmod", "WriteFile", "MkdirAll", "Mkdir"),
                owner="os|ioutil",
            ),
            Sink(languages=("ruby",), check=world_writable, names=("chmod",)),
            Sink(
                languages=("javascript", "typescript"),
                check=world_writable,
                names=("chmod", "chmodSync"),
                owner=r"fs|fs\.promises",
            ),
            Sink(languages=("bash",), check=world_writable, names=("chmod",)),
            Sink(languages=("python",), check=no_mask, names=("umask",), owner="os"),
        ),
        examples=(
            Example(
                language="python",
                bad="def f(path):\n    os.chmod(path, 0o777)\n",
                good="def f(path):\n    os.chmod(path, 0o600)\n",
            ),
            Example(language="bash", bad="f() {\n  chmod 777 data\n}\n", good="f() {\n  chmod 700 data\n}\n"),
        ),
    ),
    Rule(
        id="FS511",
        title="Debugger left on",
        cwe=("CWE-489", "CWE-94", "CWE-215"),
        severity=Severity.medium,
        action=Action.rewrite,
        hint="read it from the environment, off by default",
        sinks=(Sink(languages=("python",), check=debug_on, names=("run",), owner=r"app|application|server|flask_app"),),
        examples=(
            Example(
                language="python",
                bad="def f():\n    app.run(debug=True)\n",
                good="def f():\n    app.run(debug=DEBUG)\n",
            ),
        ),
    ),
)
