"""Credentials written into code: providers' own formats, and strings that are given to names like `password`.

A prefix found by the automaton makes the line worth a look; the line decides, when it ends. Filters, in this order:
placeholders, words, references to variables, entropy; in tests, fixtures and documentation a secret is only observed.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from firesteel.guard.finding import Action, Finding, Severity

PROVIDERS: tuple[tuple[str, str, str], ...] = (  # provider, prefix for the automaton, the whole format
    ("AWS access key", r"\b(?:AKIA|ASIA)", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
    ("GitHub token", r"\bgh[pousr]_", r"\bgh[pousr]_[A-Za-z0-9]{36,255}\b"),
    ("GitHub fine-grained token", r"\bgithub_pat_", r"\bgithub_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}\b"),
    ("GitLab token", r"\bgl(?:pat|dt|rt|ft|soat|cbt)-", r"\bgl(?:pat|dt|rt|ft|soat|cbt)-[\w-]{20,}"),
    ("Slack token", r"\bxox[abeoprs]-", r"\bxox[abeoprs]-(?:\d+-)?[\w-]{20,}"),
    (
        "Slack webhook",
        r"hooks\.slack\.com",
        r"hooks\.slack\.com/(?:services|workflows)/[A-Z0-9]{8,}/[A-Z0-9]{8,}/\w{18,}",
    ),
    ("Stripe key", r"\b(?:sk|rk)_live_", r"\b(?:sk|rk)_live_[A-Za-z0-9]{20,}"),
    ("Google API key", r"\bAIza", r"\bAIza[\w-]{35}\b"),
    ("Google OAuth secret", r"\bGOCSPX-", r"\bGOCSPX-[\w-]{28}\b"),
    ("OpenAI key", r"\bsk-", r"\bsk-(?:proj-|svcacct-|admin-)?[\w-]{16,}T3BlbkFJ[\w-]{16,}|\bsk-proj-[\w-]{60,}"),
    ("Anthropic key", r"\bsk-ant-", r"\bsk-ant-(?:api|admin)\d\d-[\w-]{80,}"),
    ("Hugging Face token", r"\b(?:hf|api_org)_", r"\bhf_[A-Za-z]{34}\b"),
    ("npm token", r"\bnpm_", r"\bnpm_[A-Za-z0-9]{36}\b"),
    ("PyPI token", r"\bpypi-AgE", r"\bpypi-AgE[\w-]{50,}"),
    ("Twilio key", r"\bSK[0-9a-f]{8}", r"\bSK[0-9a-f]{32}\b"),
    ("SendGrid key", r"\bSG\.", r"\bSG\.[\w-]{20,24}\.[\w-]{39,50}\b"),
    ("Mailgun key", r"\bkey-[0-9a-f]{8}", r"\bkey-[0-9a-f]{32}\b"),
    ("DigitalOcean token", r"\bdo[opr]_v1_", r"\bdo[opr]_v1_[0-9a-f]{64}\b"),
    ("Shopify token", r"\bshp(?:at|ca|pa|ss)_", r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b"),
    ("Square token", r"\bsq0(?:atp|csp|idp)-", r"\bsq0(?:atp|csp)-[\w-]{22,43}"),
    ("Telegram bot token", r":AA[A-Za-z0-9_-]", r"\b\d{8,10}:AA[\w-]{33}\b"),
    ("JSON web token", r"\beyJ", r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}"),
    ("private key", r"-----BEGIN ", r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY(?: BLOCK)?-----"),
    ("Azure storage key", r"AccountKey=", r"AccountKey=[A-Za-z0-9+/]{86}=="),
    ("Databricks token", r"\bdapi[0-9a-f]", r"\bdapi[0-9a-f]{32}(?:-\d)?\b"),
    ("Linear key", r"\blin_api_", r"\blin_api_[A-Za-z0-9]{40}\b"),
    ("Notion token", r"\bntn_", r"\bntn_[A-Za-z0-9]{40,}"),
    ("Postman key", r"\bPMAK-", r"\bPMAK-[0-9a-f]{24}-[0-9a-f]{34}\b"),
    ("New Relic key", r"\bNRAK-", r"\bNRAK-[A-Z0-9]{27}\b"),
    ("Grafana token", r"\bgl(?:sa|c)_", r"\bglsa_[A-Za-z0-9]{32}_[0-9a-f]{8}\b"),
    ("Vault token", r"\bhv[sbr]\.", r"\bhv[sbr]\.[\w-]{24,}"),
    ("Doppler token", r"\bdp\.(?:pt|st|ct|sa)\.", r"\bdp\.(?:pt|st|ct|sa)\.[\w.]{40,}"),
    ("age key", r"AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[A-Z0-9]{58}"),
    ("PlanetScale token", r"\bpscale_", r"\bpscale_(?:tkn|pw|oauth)_[\w.=-]{32,}"),
    ("Atlassian token", r"\bATATT3", r"\bATATT3[\w=-]{180,}"),
    ("Airtable token", r"\bpat[A-Za-z0-9]{14}\.", r"\bpat[A-Za-z0-9]{14}\.[0-9a-f]{64}\b"),
    ("Terraform token", r"\.atlasv1\.", r"\b[A-Za-z0-9]{14}\.atlasv1\.[\w-]{60,}"),
    ("Discord token", r"\b[MNO][A-Za-z\d_-]{23,27}\.", r"\b[MNO][A-Za-z\d_-]{23,27}\.[\w-]{6}\.[\w-]{27,38}\b"),
    (
        "password in an address",
        r"[a-z]://",
        r"\b[a-z][a-z0-9+.-]{2,20}://[^\s:/@\"'<>{}$%]{1,60}:(?P<value>[^\s:/@\"'<>{}$%]{3,80})@[\w.-]+",
    ),
)
ARMS = tuple(prefix for _, prefix, _ in PROVIDERS)
FORMATS = tuple(re.compile(whole) for _, _, whole in PROVIDERS)
KEYWORDS = (
    r"(?:pass(?:word|wd|phrase)?|pwd|secret|token|api_?key|access_?key|auth_?key|private_?key|encryption_?key|"
    r"credential)s?"
)
KEYWORD_ARMS = (rf"(?i){KEYWORDS}\w{{0,20}}[\"']?\]?\s*(?::\s*\w{{1,20}}\s*)?(?:=|:|=>|,)\s*",)
GIVEN = re.compile(
    rf"(?i)(?P<name>[\w.\-\[\]\"'$]{{0,60}}{KEYWORDS}[\w\-]{{0,20}})[\"']?\]?\s*"
    r"(?::\s*[\w.\[\] |&]{1,30}?)?\s*(?:=>|:=|=(?!=)|:)\s*"
    rf"(?:[bBfFrRuU]{{0,2}})(?P<quote>[\"'`])(?P<value>[^\"'`\n]{{6,200}})(?P=quote)"
)
PLACEHOLDER = re.compile(
    r"(?i)example|changeme|change_me|your[_\-\s]|yours?\b|xxx|placeholder|dummy|sample|fake|\bmock|todo|fixme|redacted|insert|replace|"
    r"\*{3}|\.{3}|<[^>]*>|\$\{|\{\{|\{\w*\}|%\(|%s|\bnone\b|\bnull\b|undefined|foobar|foo|lorem|abcdef|12345|qwerty|secret$|^secret|"
    r"^pass(?:word|wd)?\w?$|token$|hunter2|test|my[_-]|^key|key$|enter|prompt|missing|invalid|"
    r"required|must |should |getenv|environ|process\.env"
)
WORDS = re.compile(
    r"^[A-Za-z]+(?:[ _\-./:][A-Za-z]+)*[:.!?]?$|^[a-z]+(?:[A-Z][a-z]+)+$|^[A-Z_]+$|"
    r"^[\w.-]+\.[\w.-]+\.[a-z]{2,}$|^https?:|^/|^\.{1,2}/|^#|^[\w.]+\("
)
NOT_A_SECRET = re.compile(
    r"(?i)token_?(?:type|url|uri|endpoint|name|path|file|class|count|id$)|_(?:field|name|url|uri|path|file|header|label|prefix|type|hint|help|text|msg|message|error|regex|pattern|re|column|param|env|var|placeholder|format|title|policy|salt_len)\"?'?\]?$|public_?key|max_token|key_?(?:type|error|name|board)|tokeniz"
)
QUIET_PATHS = re.compile(
    r"(?i)(?:^|[/_.-])(?:tests?|specs?|fixtures?|mocks?|examples?|samples?|docs?|testdata|conftest)(?:[/_.-]|$)|\.(?:md|rst|txt)$"
)
MIN_ENTROPY = 3.0  # bits a character, of a provider's token behind its prefix; natural identifiers lie below
RANDOM_ENTROPY = 3.6  # what a long string of a generic name must have to be taken back

HINT = "read the secret from the environment or a secret store; keep only its name in the code"
RULE_PROVIDER, RULE_GENERIC = "FS101", "FS102"


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret in a line, at code points `start` to `end` of it."""

    rule: str
    cwe: str
    severity: Severity
    action: Action
    start: int
    end: int
    reason: str

    def finding(self, line: int, action: Action, decided_at: int) -> Finding:
        """Return the finding, for a line that begins at code point `line`."""
        return Finding(
            rule=self.rule,
            cwe=self.cwe,
            severity=self.severity,
            action=action,
            start=line + self.start,
            end=line + self.end,
            cause=line,
            decided_at=decided_at,
            reason=self.reason,
            hint=HINT,
        )


def entropy(text: str) -> float:
    """Return the Shannon entropy of the characters of `text`, in bits a character."""
    counts = Counter(text)
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts.values()) if text else 0.0


def secrets_in(line: str, candidates: frozenset[int], has_keyword: bool, path: str | None) -> Iterator[Secret]:
    """Yield the secrets of a line in which the automaton saw the prefixes `candidates`, and perhaps a keyword."""
    is_quiet = path is not None and QUIET_PATHS.search(path) is not None
    found = False
    for index in sorted(candidates):
        for match in FORMATS[index].finditer(line):
            if _is_real(match):
                found = True
                told = Action.warn if "value" in match.groupdict() else Action.rewrite
                action = Action.observe if is_quiet else told
                yield Secret(
                    RULE_PROVIDER,
                    "CWE-798",
                    Severity.critical,
                    action,
                    match.start(),
                    match.end(),
                    f"a {PROVIDERS[index][0]} stands in the code",
                )
    if has_keyword and not found:
        for match in GIVEN.finditer(line):
            judged = _judge_given(match["name"], match["value"])
            if judged is not None:
                action = Action.observe if is_quiet else judged
                yield Secret(
                    RULE_GENERIC,
                    "CWE-798",
                    Severity.high,
                    action,
                    match.start("value"),
                    match.end("value"),
                    f"`{match['name'].strip()}` is given a constant",
                )


def _is_real(match: re.Match[str]) -> bool:
    value = match.groupdict().get("value") or match[0]
    if PLACEHOLDER.search(value):
        return False
    if "value" in match.groupdict():
        return (
            not re.fullmatch(
                r"(?i)pass(?:word|wd)?|pw|secret|user|guest|root|admin|postgres|x+|port|tiger.*|pass.{0,4}", value
            )
            and "localhost" not in match[0]
            and "127.0.0.1" not in match[0]
        )
    return value.startswith("-----BEGIN") or entropy(value) >= MIN_ENTROPY


def _judge_given(name: str, value: str) -> Action | None:
    if NOT_A_SECRET.search(name) or PLACEHOLDER.search(value) or WORDS.match(value) or " " in value:
        return None
    if len(value) < 6 or len(set(value)) < 5:
        return None
    bits = entropy(value)
    is_mixed = bool(re.search(r"\d", value)) and bool(re.search(r"[A-Za-z]", value))
    if len(value) >= 16 and bits >= RANDOM_ENTROPY and is_mixed:
        return Action.rewrite
    is_password = re.search(r"(?i)pass|pwd", name) is not None
    if is_password and is_mixed and bits >= 2.2:
        return Action.warn
    return Action.warn if is_mixed and bits >= 3.0 and len(value) >= 12 else None
