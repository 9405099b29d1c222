"""Secrets: found in their providers' formats, not in placeholders; made up at run time, so that none stands here."""

import random
import string

import pytest

from firesteel.guard import Action, Finding
from firesteel.guard.rules import credentials
from firesteel.guard.scan import scan
from firesteel.guard.secrets import FORMATS, PROVIDERS, entropy


def made_up(length: int, letters: str = string.ascii_letters + string.digits, seed: int = 1) -> str:
    return "".join(random.Random(seed).choices(letters, k=length))


HEX = "0123456789abcdef"
MADE_UP = {
    "AWS access key": "AK" + "IA" + made_up(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
    "GitHub token": "gh" + "p_" + made_up(36),
    "GitLab token": "gl" + "pat-" + made_up(20),
    "Slack token": "xo" + "xb-" + made_up(24),
    "Stripe key": "sk" + "_live_" + made_up(24),
    "Google API key": "AI" + "za" + made_up(35),
    "Anthropic key": "sk" + "-ant-" + "api03-" + made_up(90),
    "Hugging Face token": "h" + "f_" + made_up(34, string.ascii_letters),
    "npm token": "np" + "m_" + made_up(36),
    "SendGrid key": "S" + "G." + made_up(22) + "." + made_up(43),
    "DigitalOcean token": "do" + "p_v1_" + made_up(64, HEX),
    "Shopify token": "shp" + "at_" + made_up(32, HEX),
    "JSON web token": "ey" + "J" + made_up(20) + ".ey" + "J" + made_up(30) + "." + made_up(40),
    "Vault token": "hv" + "s." + made_up(30),
    "private key": "-----BEGIN " + "RSA PRIVATE KEY-----",
    "password in an address": "postgres://admin" + ":" + made_up(12) + "@db.internal/app",
}


def found(text: str, path: str | None = None, language: str | None = "python") -> list[Finding]:
    return [each for each in scan(text, language, path=path) if each.rule.startswith("FS1")]


@pytest.mark.parametrize("provider", MADE_UP)
def test_providers_formats_are_found(provider: str) -> None:
    value = MADE_UP[provider]
    line = f'value = "{value}"\n'
    (each,) = found(line)
    assert each.rule == "FS101"
    assert each.action == (Action.warn if "address" in provider else Action.rewrite)
    assert provider in each.reason
    assert line[each.start : each.end] in value or value in line[each.start : each.end]


@pytest.mark.parametrize("language", ["javascript", "go", None, "text"])
def test_secrets_are_found_in_any_text(language: str | None) -> None:
    assert found("the key is " + MADE_UP["GitHub token"] + "\n", language=language)


def test_tests_and_documentation_are_only_observed() -> None:
    line = f'value = "{MADE_UP["GitHub token"]}"\n'
    for path in ("tests/test_app.py", "docs/usage.md", "app/fixtures/a.py", "README.md"):
        assert [each.action for each in found(line, path)] == [Action.observe]
    assert [each.action for each in found(line, "src/contest.py")] == [Action.rewrite]


def test_a_random_string_given_to_a_secrets_name_is_found() -> None:
    assert [each.rule for each in found(credentials.bad_generic())] == ["FS102"]
    assert [each.action for each in found("db_pass" + 'word = "kx7!mQ2p"\n')] == [Action.warn]


@pytest.mark.parametrize(
    "line",
    [
        'api_key = "YOUR_API_KEY"',
        'password = "changeme"',
        'password = "<password>"',
        'token = "{token}"',
        'secret = "${SECRET}"',
        'password = os.environ["PASSWORD"]',
        'token_type = "bearer"',
        'password_field = "user_password_2"',
        'token_url = "https://example.com/oauth2/token"',
        'key = "aaaaaaaaaaaaaaaaaaaaaaaa1"',
        'secret_name = "projects/1/secrets/db"',
        'help = "password must have 8 characters"',
        '"integrity": "sha512-abc"',
        'url = "postgres://user:password@localhost/db"',
    ],
)
def test_placeholders_and_names_are_not_secrets(line: str) -> None:
    assert found(line + "\n") == []


def test_repetition_has_no_entropy() -> None:
    assert entropy("") == 0
    assert entropy("aaaa") == 0
    assert entropy("abcd") == 2
    assert found('value = "gh' + "p_" + "a" * 36 + '"\n') == []


def test_every_format_begins_with_what_the_automaton_looks_for() -> None:
    assert len(FORMATS) == len(PROVIDERS) == len({name for name, _, _ in PROVIDERS})
