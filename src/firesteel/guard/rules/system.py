"""Temporary files, permissions, buffers of C, and what a shell should not be told."""

import re

from firesteel.guard import syntax
from firesteel.guard.finding import Action, Severity
from firesteel.guard.rules.base import Example, Match, Rule, Sink
from firesteel.guard.site import Site
from firesteel.guard.value import HOLE, Level


def racy_name(site: Site) -> Match | None:
    """Find a temporary name that another process can take first."""
    return Match(None, None, "another process can make the file first")


def world_writable(site: Site) -> Match | None:
    """Find a mode that lets everybody write."""
    values = [site.evaluator.text(part) for part in site.parts]
    mode = next((text for text in values if re.fullmatch(r"(?:0o?)?[0-7]{3,4}|0x[0-9a-fA-F]+|511|438", text)), None)
    words = " ".join(values)
    if re.search(r"S_IWOTH|S_IRWXO", words) or (site.evaluator.language == "bash" and re.search(r"(?:^|\s)(?:-R\s+)?(?:a\+rwx|o\+w|a\+w|ugo\+rwx)\b", words)):
        return Match(None, None, "everybody may write")
    if mode is None:
        return None
    octal = mode.removeprefix("0o")
    is_octal = site.evaluator.language == "bash" or mode.startswith("0")
    number = int(octal, 8) if is_octal and not mode.startswith("0x") else int(mode, 0)
    return Match(None, None, "everybody may write") if number & 0o002 else None


def unbounded(site: Site) -> Match | None:
    """Find a C call that cannot know how large its target is, unless its source is a constant."""
    name = site.last
    if name == "gets":
        return Match(None, None, "gets reads without bound")
    values = site.arguments()
    if name in ("strcpy", "strcat", "wcscpy", "lstrcpy", "StrCpy", "_tcscpy"):
        if len(values) < 2 or values[1].is_constant:
            return None
        return Match(None, None if values[1].level >= Level.parameter else Action.warn, "the source may be longer than the target")
    texts = [value.skeleton for value in values]
    index = 1 if name in ("sprintf", "vsprintf", "sscanf", "fscanf") else 0
    template = texts[index] if len(texts) > index else ""
    if re.search(r"%-?\d*\[|%s" if name.endswith("scanf") else r"%-?\d*s", template):
        named = [value for value in values[index + 1 :] if value.holes]
        return Match(None, None, "%s writes without bound") if named or name.endswith("scanf") else None
    return None


def own_size(site: Site) -> Match | None:
    """Find a bound that is not the size of the target: a larger number, another object's size, or the size as an index."""
    text = site.text()
    parts = [site.evaluator.text(part).replace(" ", "") for part in site.positional()]
    source = site.evaluator.source.decode(errors="replace")
    if len(parts) < 3 and site.last not in ("snprintf",):
        return None
    bound = parts[1] if site.last in ("snprintf", "vsnprintf", "fgets") else parts[2]
    target = parts[0].lstrip("&(")
    declared = re.search(rf"\b{re.escape(target)}\s*\[\s*(\d+)\s*\]", source[: site.node.start_byte])
    if declared and bound.isdigit() and int(bound) > int(declared[1]):
        return Match(None, None, f"the target holds {declared[1]}, the bound says {bound}")
    sized = re.fullmatch(r"sizeof\(?\(?([\w.>\[\]-]+?)\)?\)?(?:-1)?", bound)
    if sized and sized[1] != target and (target.startswith(sized[1] + ".") or target.startswith(sized[1] + "->")):
        return Match(None, None, f"the bound is the size of `{sized[1]}`, of which the target is a part")
    if site.last in ("strncat",) and re.fullmatch(rf"sizeof\(?{re.escape(target)}\)?", bound):
        return Match(None, None, "strncat's bound is what is left, not the whole size")
    return None if text else None


def past_end(site: Site) -> Match | None:
    """Find a terminator that is written just behind the end: `b[sizeof(b)] = 0`."""
    name = site.name
    found = re.fullmatch(r"(.+)\[sizeof\(?(.+?)\)?\]", name)
    if found and found[1] == found[2].strip("()"):
        return Match(None, None, "the index is one behind the last element")
    sized = re.fullmatch(r"(\w+)\[(\d+)\]", name)
    if sized:
        source = site.evaluator.source[: site.node.start_byte].decode(errors="replace")
        declared = re.search(rf"\b(?:char|wchar_t|int|uint8_t|unsigned char)\s+{sized[1]}\s*\[\s*(\d+)\s*\]", source)
        if declared and int(sized[2]) >= int(declared[1]):
            return Match(None, None, "the index is behind the last element")
    return None


def format_string(site: Site) -> Match | None:
    """Find a format that is not constant."""
    index = {"fprintf": 1, "sprintf": 1, "snprintf": 2, "syslog": 1, "vfprintf": 1, "dprintf": 1}.get(site.last, 0)
    given = site.positional()
    if len(given) != index + 1:
        return None
    value = site.argument(index)
    if value is None or not value.holes or value.skeleton != HOLE or given[index].type not in (*syntax.IDENTIFIERS, *syntax.MEMBERS, *syntax.SUBSCRIPTS, "pointer_expression", "call_expression"):
        return None
    return Match(None, None if value.level >= Level.parameter else Action.warn, "the data may hold % directives")


def piped_to_shell(site: Site) -> Match | None:
    """Find a download that is run as it comes."""
    if site.last not in ("sh", "bash", "zsh", "python", "python3", "sudo"):
        return None
    parent = site.node.parent
    if parent is None or parent.type != "pipeline":
        return None
    before = site.evaluator.source[parent.start_byte : site.node.start_byte].decode(errors="replace")
    return Match(None, None, "what the server sends is run unread") if re.search(r"\b(?:curl|wget|fetch)\b", before) else None


def removed(site: Site) -> Match | None:
    """Find `rm -rf` of a variable that may be empty."""
    words = [site.evaluator.text(part) for part in site.parts]
    if not any(re.fullmatch(r"-[a-zA-Z]*[rR][a-zA-Z]*|--recursive", word) for word in words):
        return None
    for word in words:
        if re.match(r"\"?\$\{?\w+\}?\"?/", word) and not re.match(r"\"?\$\{\w+:[?-]", word):
            return Match(None, Action.warn, "an empty variable leaves the root folder")
    return None


def debug_on(site: Site) -> Match | None:
    """Find Flask's debugger left on."""
    return Match(None, Action.warn, "the debugger runs code for whoever reaches it") if site.flag("debug") == "true" else None


RULES = (
    Rule(
        id="FS501", title="Racy temporary file", cwe=("CWE-377", "CWE-379"), severity=Severity.medium, action=Action.rewrite, hint="use tempfile.mkstemp, NamedTemporaryFile or mkstemp, which make the file while they name it",
        sinks=(
            Sink(languages=("python",), check=racy_name, names=("mktemp",), owner="|tempfile"),
            Sink(languages=("python",), check=racy_name, names=("tempnam", "tmpnam"), owner="os"),
            Sink(languages=("c", "cpp"), check=racy_name, names=("mktemp", "tmpnam", "tempnam", "_mktemp"), owner="|std"),
            Sink(languages=("php",), check=racy_name, names=("tmpnam",), owner=""),
        ),
        examples=(
            Example(language="python", bad="def f():\n    path = tempfile.mktemp()\n    return open(path, 'w')\n", good="def f():\n    handle, path = tempfile.mkstemp()\n    return os.fdopen(handle, 'w')\n"),
            Example(language="c", bad="void f(char *t) { char *p = mktemp(t); }\n", good="void f(char *t) { int h = mkstemp(t); }\n"),
        ),
    ),
    Rule(
        id="FS502", title="Everybody may write", cwe=("CWE-732", "CWE-276"), severity=Severity.medium, action=Action.rewrite, hint="give the least: 0o600 for files, 0o700 for folders",
        sinks=(
            Sink(languages=("python",), check=world_writable, names=("chmod", "fchmod", "lchmod"), owner=r"os|.*path\w*|self\.\w+|Path\(\)"),
            Sink(languages=("c", "cpp", "php"), check=world_writable, names=("chmod", "fchmod"), owner=""),
            Sink(languages=("go",), check=world_writable, names=("Chmod", "WriteFile", "MkdirAll", "Mkdir"), owner="os|ioutil"),
            Sink(languages=("ruby",), check=world_writable, names=("chmod",)),
            Sink(languages=("javascript", "typescript"), check=world_writable, names=("chmod", "chmodSync"), owner=r"fs|fs\.promises"),
            Sink(languages=("bash",), check=world_writable, names=("chmod",)),
        ),
        examples=(
            Example(language="python", bad="def f(path):\n    os.chmod(path, 0o777)\n", good="def f(path):\n    os.chmod(path, 0o600)\n"),
            Example(language="bash", bad="f() {\n  chmod 777 data\n}\n", good="f() {\n  chmod 700 data\n}\n"),
        ),
    ),
    Rule(
        id="FS511", title="Debugger left on", cwe=("CWE-489", "CWE-94", "CWE-215"), severity=Severity.medium, action=Action.rewrite, hint="read it from the environment, off by default",
        sinks=(Sink(languages=("python",), check=debug_on, names=("run",), owner=r"app|application|server|flask_app"),),
        examples=(Example(language="python", bad="def f():\n    app.run(debug=True)\n", good="def f():\n    app.run(debug=DEBUG)\n"),),
    ),
    Rule(
        id="FS601", title="Copy without bound", cwe=("CWE-120", "CWE-787", "CWE-119", "CWE-676", "CWE-242", "CWE-121", "CWE-122"), severity=Severity.high, action=Action.rewrite,
        hint="say how large the target is: fgets, snprintf(target, sizeof target, ...), strlcpy",
        sinks=(
            Sink(languages=("c", "cpp"), check=unbounded, names=("gets", "strcpy", "strcat", "sprintf", "vsprintf", "scanf", "sscanf", "fscanf", "wcscpy", "lstrcpy"), owner="|std"),
            Sink(languages=("c", "cpp"), check=own_size, names=("strncpy", "snprintf", "strncat", "memcpy", "fgets", "vsnprintf", "strlcpy"), owner="|std"),
            Sink(languages=("c", "cpp"), check=past_end, kind="assign", arms=(r"\[\s*(?:sizeof|\d+)[^\]\n]{0,60}\]\s*=",)),
        ),
        examples=(
            Example(language="c", bad="void f(char *name) { char b[16]; strcpy(b, name); }\n", good="void f(char *name) { char b[16]; snprintf(b, sizeof b, \"%s\", name); }\n"),
            Example(language="c", bad="void f(void) { char b[16]; gets(b); }\n", good="void f(void) { char b[16]; fgets(b, sizeof b, stdin); }\n"),
            Example(language="cpp", bad="void f(const char *n) { char b[8]; snprintf(b, 64, \"%s\", n); }\n", good="void f(const char *n) { char b[64]; snprintf(b, 64, \"%s\", n); }\n"),
        ),
    ),
    Rule(
        id="FS602", title="Format from data", cwe=("CWE-134",), severity=Severity.high, action=Action.rewrite, hint="give a constant format: printf(\"%s\", text)",
        sinks=(Sink(languages=("c", "cpp"), check=format_string, names=("printf", "fprintf", "sprintf", "snprintf", "syslog", "dprintf", "vprintf", "warn", "err"), owner="|std"),),
        examples=(Example(language="c", bad="void f(char *t) { printf(t); }\n", good="void f(char *t) { printf(\"%s\", t); }\n"),),
    ),
    Rule(
        id="FS701", title="Download run unread", cwe=("CWE-494", "CWE-829"), severity=Severity.high, action=Action.rewrite, hint="save the file, check its checksum or signature, then run it",
        sinks=(Sink(languages=("bash",), check=piped_to_shell, names=None, arms=(r"\|\s*(?:sudo\s+)?(?:ba|z)?sh\b", r"\|\s*(?:sudo\s+)?python3?\b")),),
        examples=(Example(language="bash", bad="f() {\n  curl https://example.com/install | sh\n}\n", good="f() {\n  curl -o install https://example.com/install\n  sha256sum -c install.sha256 && sh install\n}\n"),),
    ),
    Rule(
        id="FS702", title="Recursive delete of a variable", cwe=("CWE-73",), severity=Severity.medium, action=Action.warn, hint="make an empty variable an error: rm -rf \"${folder:?}/\"",
        sinks=(Sink(languages=("bash",), check=removed, names=("rm",)),),
        examples=(Example(language="bash", bad="f() {\n  rm -rf $folder/\n}\n", good="f() {\n  rm -rf \"${folder:?}/\"\n}\n"),),
    ),
)
