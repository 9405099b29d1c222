"""The rules of `firesteel.guard.secrets`, for people who read about them. Examples are made up when they are needed,
so that nothing that looks like a secret stands in this repository."""

from firesteel.guard.finding import Action, Severity
from firesteel.guard.rules.base import ALL_LANGUAGES, Example, Rule
from firesteel.guard.secrets import HINT, RULE_GENERIC, RULE_PROVIDER

_CALM = 'key = os.environ["SERVICE_KEY"]\n'


def _made_up(length: int, letters: str = "a7Kq2Zx9Vb4Nm1Rt8Wp5Yc3Ld6") -> str:
    return "".join(letters[(index * 7 + index // 5) % len(letters)] for index in range(length))


def bad_provider() -> str:
    """Return a line with a made-up token of a provider's format."""
    return 'key = "gh' + f'p_{_made_up(36)}"\n'


def bad_generic() -> str:
    """Return a line with a made-up secret that is given to a name."""
    return "api_" + f'key = "{_made_up(32)}"\n'


RULES = (
    Rule(
        id=RULE_PROVIDER,
        title="Credential of a provider",
        cwe=("CWE-798",),
        severity=Severity.critical,
        action=Action.rewrite,
        hint=HINT,
        sinks=(),
        examples=(Example(language="python", bad=bad_provider(), good=_CALM),),
    ),
    Rule(
        id=RULE_GENERIC,
        title="Hard-coded secret",
        cwe=("CWE-798", "CWE-259"),
        severity=Severity.high,
        action=Action.rewrite,
        hint=HINT,
        sinks=(),
        examples=(Example(language="python", bad=bad_generic(), good=_CALM),),
    ),
)
LANGUAGES = ALL_LANGUAGES
