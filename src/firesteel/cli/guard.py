"""`firesteel guard`: scan files, differences and evaluation sets for vulnerabilities; list the rules."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from firesteel.cli.common import JsonOption, print_json, reported
from firesteel.errors import ConfigError

if TYPE_CHECKING:
    from firesteel.guard.files import AddedLines
    from firesteel.guard.policy import Policy
    from firesteel.guard.report import Located

app = typer.Typer(help="Find vulnerabilities in code, as the guard does while a model writes.", rich_markup_mode=None)

PathsArgument = Annotated[
    list[str] | None, typer.Argument(help="Files and folders; - is standard input.", metavar="PATHS")
]
LanguageOption = Annotated[
    str | None, typer.Option("--language", "-l", help="The language, where no file name tells it.")
]
ActionOption = Annotated[
    list[str] | None,
    typer.Option("--action", help="RULE=ACTION, for a rule or all that begin so: FS251=observe, FS1=block."),
]
IgnoreOption = Annotated[
    list[str] | None, typer.Option("--ignore", help="A glob of paths in which nothing is reported.")
]
SarifOption = Annotated[bool, typer.Option("--sarif", help="Print a SARIF 2.1.0 log.")]
JsonlOption = Annotated[
    bool,
    typer.Option("--jsonl", help="Read lines {id, language, text} and write lines {id, findings}, as evaluations do."),
]
DiffOption = Annotated[
    bool,
    typer.Option(
        "--diff",
        help="Report added lines only: those since the last commit, or of a unified diff on standard input (-).",
    ),
]
FailOption = Annotated[
    Literal["observe", "warn", "rewrite", "block", "never"],
    typer.Option("--fail-on", help="Exit with status 1 when a finding has at least this action."),
]


@app.command()
@reported(2)
def scan(
    paths: PathsArgument = None,
    as_json: JsonOption = False,
    sarif: SarifOption = False,
    jsonl: JsonlOption = False,
    diff: DiffOption = False,
    language: LanguageOption = None,
    action: ActionOption = None,
    ignore: IgnoreOption = None,
    fail_on: FailOption = "warn",
) -> None:
    """Scan PATHS (or what changed, or standard input) and say what is vulnerable, where, and how to do it right.

    Exit status: 0 when nothing was found, 1 when something was (see --fail-on), 2 for an error. A comment
    `firesteel: ignore[FS201]` on the line or above it is obeyed.
    """
    from firesteel.guard.policy import Policy, parsed_actions
    from firesteel.guard.rules.catalogue import BY_ID

    if sum((as_json, sarif, jsonl)) > 1:
        raise ConfigError("`--json`, `--sarif` and `--jsonl` exclude one another", param="json")
    check_canaries()
    policy = Policy(
        actions=parsed_actions(action or (), BY_ID), ignored_paths=tuple(ignore or ()), honours_comments=True
    )
    if jsonl:
        evaluate(paths or ["-"], policy)
        return
    found, num_files = scanned(paths or (["."] if diff else []), diff, language, policy)
    show(found, num_files, as_json=as_json, sarif=sarif)
    if fail_on != "never":
        from firesteel.guard.finding import Action

        if any(each.finding.action.rank >= Action(fail_on).rank for each in found):
            raise typer.Exit(1)


@app.command()
@reported(2)
def rules(
    rule: Annotated[str | None, typer.Argument(help="A rule's id, for its examples and hint.", metavar="RULE")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the rules: id, CWE, severity, action, languages; or show one of them with its examples."""
    from firesteel.guard.rules.catalogue import BY_ID

    if rule is not None and rule not in BY_ID:
        raise ConfigError(f"there is no rule '{rule}'; `firesteel guard rules` lists them", param="rule")
    chosen = tuple(BY_ID.values()) if rule is None else (BY_ID[rule],)
    if as_json:
        print_json([described(each) for each in chosen])
    elif rule is None:
        for each in chosen:
            languages = ", ".join(each.languages) or ("any text" if each.examples else "all languages")
            typer.echo(f"{each.id}  {each.cwe[0]:<8} {each.severity:<8} {each.action:<7}  {each.title} ({languages})")
    else:
        show_rule(rule)


def described(rule: Any) -> dict[str, Any]:
    """Return a rule as `--json` prints it."""
    examples = [{"language": each.language, "bad": each.bad, "good": each.good} for each in rule.examples]
    return {
        "id": rule.id, "title": rule.title, "cwe": list(rule.cwe), "severity": rule.severity, "action": rule.action,
        "languages": list(rule.languages), "hint": rule.hint, "examples": examples,
    }  # fmt: skip


def show_rule(name: str) -> None:
    """Print one rule with its examples."""
    from firesteel.guard.rules.catalogue import BY_ID

    rule = BY_ID[name]
    typer.echo(f"{rule.id} {rule.title}\n{', '.join(rule.cwe)}, {rule.severity}, {rule.action}\n\n{rule.hint}")
    for each in rule.examples:
        for kind, code in (("bad", each.bad), ("good", each.good)):
            typer.echo(
                f"\n{kind} ({each.language}):\n" + "".join(f"    {line}\n" for line in code.splitlines()), nl=False
            )


def check_canaries() -> None:
    """Refuse to scan with a guard that does not find what it must. Raises ConfigError."""
    from firesteel.guard.canary import missed

    broken = missed()
    if broken:
        raise ConfigError(f"the guard is broken: it misses its own examples ({', '.join(broken)}); reinstall firesteel")


def scanned(paths: list[str], diff: bool, language: str | None, policy: "Policy") -> "tuple[list[Located], int]":
    """Return what was found, and in how many files it was looked for. Raises ConfigError."""
    from firesteel.guard import files, languages

    if not paths:
        raise ConfigError("nothing to scan: name files or folders, - for standard input, or --diff", param="paths")
    added: AddedLines | None = None
    if diff:
        added = files.added_lines(sys.stdin.read()) if paths == ["-"] else files.git_diff(paths)
        paths = [path for path in sorted(added) if added[path]]
    elif paths == ["-"]:
        return scan_text("<stdin>", sys.stdin.read(), languages.named(language), policy), 1
    found: list[Located] = []
    count = 0
    for path in files.files_in(paths):
        text = None if policy.ignores(str(path)) else files.read(path)
        if text is None:
            continue
        count += 1
        each = scan_text(str(path), text, languages.named(language) or languages.of_file(str(path)), policy)
        found += [
            one for one in each if added is None or not added[str(path)].isdisjoint(range(one.line, one.end_line + 1))
        ]
    return found, count


def scan_text(path: str, text: str, language: str | None, policy: "Policy") -> "list[Located]":
    """Return the findings of one text with their places."""
    from firesteel.guard.report import located
    from firesteel.guard.scan import scan

    return located(path, text, scan(text, language, policy=policy, path=path))


def show(found: "list[Located]", num_files: int, *, as_json: bool, sarif: bool) -> None:
    """Print the findings for people, or for machines."""
    from firesteel import __version__
    from firesteel.guard import report
    from firesteel.guard.rules.catalogue import BY_ID

    if sarif:
        print_json(report.sarif(found, tuple(BY_ID.values()), __version__))
    elif as_json:
        print_json({"version": __version__, "files": num_files, "findings": [each.as_json() for each in found]})
    else:
        for each in found:
            typer.echo(report.human(each) + "\n")
        plural = "" if len(found) == 1 else "s"
        typer.echo(f"{len(found)} finding{plural} in {num_files} file{'' if num_files == 1 else 's'}", err=True)


def evaluate(paths: list[str], policy: "Policy") -> None:
    """Answer lines of an evaluation set, one by one. Raises ConfigError that names the line."""
    import msgspec

    from firesteel.guard import languages
    from firesteel.guard.scan import scan

    for where, line in lines_of(paths):
        try:
            case = msgspec.json.decode(line)
            text, language = case["text"], case.get("language")
            if not isinstance(text, str) or not isinstance(language, str | None):
                raise TypeError
        except (msgspec.DecodeError, TypeError, KeyError, AttributeError):
            raise ConfigError(f'{where}: expected {{"id", "language", "text"}}', param="jsonl") from None
        found = scan(text, languages.named(language), policy=policy, by_token=True)
        answer = {"id": case.get("id"), "findings": [contracted(each) for each in found]}
        typer.echo(msgspec.json.encode(answer).decode())


def contracted(finding: Any) -> dict[str, Any]:
    """Return a finding as evaluations read it: these fields are a contract, neither more nor fewer."""
    names = ("rule", "cwe", "severity", "action", "start", "end", "decided_at")
    return {name: getattr(finding, name) for name in names}


def lines_of(paths: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the lines of files or of standard input, each with its place. Raises ConfigError."""
    for path in paths:
        try:
            lines = sys.stdin if path == "-" else open(path, encoding="utf-8")  # noqa: SIM115 (closed below)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}", param="paths") from None
        with lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield f"{path}:{number}", line
