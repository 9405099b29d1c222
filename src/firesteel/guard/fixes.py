"""Fixes that need no model: a vulnerable statement is rewritten by its rule, and taken when the guard finds it good.

A row is a rule, a pattern, what stands in its place, and a module that Python must have imported for it.
"""

import re
from collections.abc import Callable, Iterable

from firesteel.guard.finding import Action
from firesteel.guard.scan import scan

Put = str | Callable[[re.Match[str]], str]
MAX_STATEMENT = 2_000  # code points
HOLE = re.compile(r"\{([^{}:!]+)\}")


def _bound(found: re.Match[str]) -> str:
    """Return a query with its values bound: `execute(f"... '{x}'")` → `execute("... ?", (x,))`."""
    values = HOLE.findall(found["sql"])
    text = re.sub(r"(['\"]?)%?\{[^{}]+\}%?\1", "?", found["sql"])
    return f"{found['call']}({found['quote']}{text}{found['quote']}, ({', '.join(values)},))"


def _listed(found: re.Match[str]) -> str:
    """Return a command as a list of arguments: `f"ping -c 1 {host}"` → `["ping", "-c", "1", host]`."""
    parts = []
    for word in found["command"].split():
        whole = HOLE.fullmatch(word.strip("'\""))
        parts.append(whole[1] if whole else ("f" if HOLE.search(word) else "") + '"' + word.strip("'\"") + '"')
    if value := found.groupdict().get("value"):
        parts.append(value)
    return f"subprocess.run([{', '.join(parts)}], check=True{found.groupdict().get('rest') or ''})"


def _escaped(found: re.Match[str]) -> str:
    return HOLE.sub(r"{html.escape(str(\1))}", found[0])


def _named(value: str) -> str:
    """Return a name for what an expression holds."""
    return re.sub(r"\W+", "_", value).strip("_")


def _template(found: re.Match[str]) -> str:
    """Return a constant template that is given its values: `f"Hello {x}"` → `"Hello {{ x }}", x=x`."""
    text = HOLE.sub(lambda hole: "{{ " + _named(hole[1]) + " }}", found["text"])
    given = "".join([f", {_named(value)}={value}" for value in HOLE.findall(found["text"])])
    return f"render_template_string({found['quote']}{text}{found['quote']}{given})"


def _from_environment(found: re.Match[str]) -> str:
    return f'{found["name"]}{found["sign"]}os.environ["{found["name"].upper()}"]'


FIXES: tuple[tuple[str, str, Put, str], ...] = (
    ("FS101", r"\b(?P<name>[A-Za-z_]\w*)(?P<sign>\s*=\s*)['\"][^'\"\n]{6,}['\"]", _from_environment, "os"),
    ("FS102", r"\b(?P<name>[A-Za-z_]\w*)(?P<sign>\s*=\s*)['\"][^'\"\n]{6,}['\"]", _from_environment, "os"),
    ("FS201", r"(?P<call>\w[\w.]*\.execute)\(\s*f(?P<quote>\"\"\"|'''|\"|')(?P<sql>.*?)(?P=quote)\s*\)", _bound, ""),
    ("FS211", r"os\.(?:system|popen)\(\s*f(?P<q>[\"'])(?P<command>.*?)(?P=q)\s*\)", _listed, "subprocess"),
    (
        "FS211",
        r"os\.(?:system|popen)\(\s*(?P<q>[\"'])(?P<command>.*?)(?P=q)\s*\+\s*(?P<value>[\w.]+)\s*\)",
        _listed,
        "subprocess",
    ),
    (
        "FS211",
        r"subprocess\.(?:run|call|check_call|Popen)\(\s*f(?P<q>[\"'])(?P<command>.*?)(?P=q)\s*,\s*shell=True(?P<rest>[^()]*)\)",
        _listed,
        "subprocess",
    ),
    (
        "FS211",
        r"\b(child_?[pP]rocess\.)exec\(\s*`(\S+) \$\{([^{}]+)\}`",
        r"\1execFile('\2', [\3]",
        "",
    ),
    (
        "FS211",
        r"\b(child_?[pP]rocess\.)exec\(\s*(['\"])(\S+) \2\s*\+\s*([\w.]+)",
        r"\1execFile('\3', [\4]",
        "",
    ),
    ("FS211", r"exec\.Command\(\"(?:sh|bash)\", \"-c\", \"(\S+) \"\s*\+\s*([\w.]+)\)", r'exec.Command("\1", \2)', ""),
    ("FS211", r"(?<=\.\s)(\$\w+(?:\[[^\]]+\])?)(?=\s*[.)])", r"escapeshellarg(\1)", ""),
    ("FS211", r"\bsystem\(?\s*\"(\S+) #\{([^{}]+)\}\"\)?", r'system("\1", \2)', ""),
    ("FS221", r"(?<![\w.])eval\(", "ast.literal_eval(", "ast"),
    ("FS221", r"(?<![\w.])eval\(", "JSON.parse(", ""),
    ("FS222", r"render_template_string\(\s*f(?P<quote>\"\"\"|\"|')(?P<text>.*?)(?P=quote)\s*\)", _template, ""),
    ("FS251", r"\bf(\"\"\"|'''|\"|').*?\1", _escaped, "html"),
    ("FS251", r"(?<=\.\s)(\$\w+(?:\[[^\]]+\])?)|(?<=echo )(\$\w+\[[^\]]+\])", r"htmlspecialchars(\1\2)", ""),
    ("FS252", r"\.(?:inner|outer)HTML(\s*\+?=)", r".textContent\1", ""),
    ("FS301", r"\b(?:c?[pP]ickle|marshal|dill)\.load(s?)\(", r"json.load\1(", "json"),
    ("FS301", r"yaml\.(?:unsafe_)?load\(([^,()]+(?:\([^()]*\))?)(?:,[^()]*)?\)", r"yaml.safe_load(\1)", ""),
    ("FS401", r"\b(?:hashlib\.)(?:md5|sha1)\(", "hashlib.sha256(", ""),
    ("FS401", r"createHash\((['\"`])(?:md5|sha1)\1", r"createHash(\1sha256\1", ""),
    ("FS401", r"\"(?:MD5|SHA-?1)\"", '"SHA-256"', ""),
    ("FS402", r"\"(?:DES|DESede|RC4|Blowfish|AES/ECB)[\w/]*\"", '"AES/GCM/NoPadding"', ""),
    ("FS402", r"(['\"])(?:des|rc4|bf|aes-\d+-ecb)[\w-]*\1", r"\1aes-256-gcm\1", ""),
    ("FS403", r"\b(?:512|768|1024)\b", "3072", ""),
    ("FS411", r"verify\s*=\s*False", "verify=True", ""),
    ("FS411", r"rejectUnauthorized(['\"]?): *false", r"rejectUnauthorized\1: true", ""),
    ("FS411", r"InsecureSkipVerify: *true", "InsecureSkipVerify: false", ""),
    ("FS411", r"ssl\._create_unverified_context\(", "ssl.create_default_context(", ""),
    ("FS412", r"ssl\.PROTOCOL_(?:SSLv\d+|TLSv1(?:_1)?)\b", "ssl.PROTOCOL_TLS_CLIENT", ""),
    ("FS421", r"\brandom\.(choice|randint|randrange|sample|choices)\(", r"secrets.SystemRandom().\1(", "secrets"),
    ("FS421", r"Math\.random\(\)(?:\.\w+\([^()]*\))*", "require('crypto').randomBytes(24).toString('hex')", ""),
    ("FS501", r"tempfile\.mktemp\(([^()]*)\)", r"tempfile.mkstemp(\1)[1]", ""),
    ("FS502", r"\b0o?777\b", "0o700", ""),
    ("FS502", r"chmod (-R )?777\b", r"chmod \g<1>700", ""),
    ("FS511", r"debug\s*=\s*True", "debug=False", ""),
    ("FS601", r"\bgets\((\w+)\)", r"fgets(\1, sizeof \1, stdin)", ""),
    ("FS601", r"\bstrcpy\((\w+),\s*([^;]+?)\)(?=;)", r'snprintf(\1, sizeof \1, "%s", \2)', ""),
    ("FS601", r"(?<!n)\bsprintf\((\w+),", r"snprintf(\1, sizeof \1,", ""),
    ("FS602", r"\bprintf\((\w+)\)", r'printf("%s", \1)', ""),
)


def fixed(begun: str, rest: str, before: str, language: str, rules: Iterable[str]) -> str | None:
    """Return `rest`, which goes on from `begun`, without the flaws of `rules`; None where no fix holds.

    A fix holds when the guard finds nothing any more in what it has written. What must be imported for it is imported
    in a line of its own, or where it is used when a part of the line is out already.
    """
    if len(rest) > MAX_STATEMENT:
        return None
    wanted, text, lines = set(rules), begun + rest, ""
    indent = text[: len(text) - len(text.lstrip(" \t"))]
    for rule, pattern, put, module in FIXES:
        if rule not in wanted or bool(module) > (language == "python"):
            continue
        changed = re.sub(pattern, put, text, flags=re.DOTALL)
        if changed != text and module and not re.search(rf"^\s*import {module}\b", before, re.MULTILINE):
            if begun.strip():
                quote = "'" if 'f"' in changed else '"'  # those of an f-string around it cannot be used in it
                changed = re.sub(rf"(?<![\w.]){module}\.", f"__import__({quote}{module}{quote}).", changed)
            else:
                lines += f"{indent}import {module}\n"
        text = changed
    if text == begun + rest or not (lines + text).startswith(begun):
        return None
    found = scan(before + lines + text, language)
    if any(each.end > len(before) and each.action.rank >= Action.rewrite.rank for each in found):
        return None
    return (lines + text)[len(begun) :]
