"""Secrets that can be guessed, because their generator can."""

import re

from firesteel.guard.finding import Action, Severity
from firesteel.guard.rules.base import SCRIPTS, Example, Match, Rule, Sink
from firesteel.guard.rules.purpose import purpose
from firesteel.guard.site import Site

SECRET = re.compile(
    r"(?i)passw|passphrase|\bpwd\b|secret|token|session_?id|api_?key|otp\b|nonce|csrf|salt|credential|reset_?code|verification|auth_?code|private_?key|\bpw\b|md5_pw|encrypt"
)


def predictable(site: Site) -> Match | None:
    """Judge a predictable generator: taken back where its name says that a secret is made."""
    around = purpose(site)
    if not SECRET.search(around) or re.search(
        r"(?i)SystemRandom|crypto|secrets\.|SecureRandom|secure_?random|max_tokens|token_?count|num_tokens|tokeni|sleep|jitter|backoff|delay",
        around,
    ):
        return None
    return Match(None, None, "its output can be predicted")


RULES = (
    Rule(
        id="FS421",
        title="Predictable secret",
        cwe=("CWE-338", "CWE-330", "CWE-340"),
        severity=Severity.high,
        action=Action.rewrite,
        hint="make secrets with the system's generator: secrets.token_urlsafe, crypto.randomBytes, SecureRandom, crypto/rand",
        sinks=(
            Sink(
                languages=("python",),
                check=predictable,
                names=(
                    "random",
                    "randint",
                    "choice",
                    "choices",
                    "randrange",
                    "sample",
                    "getrandbits",
                    "shuffle",
                    "uniform",
                ),
                owner="random",
            ),
            Sink(languages=SCRIPTS, check=predictable, names=("random",), owner="Math"),
            Sink(
                languages=("java",),
                check=predictable,
                names=("new Random", "nextInt", "random"),
                owner="|Math|random|rand|r|rnd",
            ),
            Sink(languages=("go",), check=predictable, names=("Int", "Intn", "Int63", "Read", "Int31n"), owner="rand"),
            Sink(languages=("php",), check=predictable, names=("rand", "mt_rand", "uniqid"), owner=""),
            Sink(languages=("csharp",), check=predictable, names=("new Random", "Next")),
            Sink(languages=("c", "cpp"), check=predictable, names=("rand", "random"), owner="|std"),
            Sink(languages=("ruby",), check=predictable, names=("rand",)),
        ),
        examples=(
            Example(
                language="python",
                bad='def f():\n    token = "".join(random.choice(LETTERS) for _ in range(20))\n    return token\n',
                good="def f():\n    token = secrets.token_urlsafe(20)\n    return token\n",
            ),
            Example(
                language="javascript",
                bad="this.sessionID = Math.floor(Math.random() * 1e9).toString();\n",
                good="this.sessionID = crypto.randomBytes(16).toString('hex');\n",
            ),
            Example(
                language="php",
                bad="function f() { $token = mt_rand(); }\n",
                good="function f() { $token = bin2hex(random_bytes(16)); }\n",
            ),
        ),
    ),
)
