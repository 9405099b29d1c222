"""Weak hashes and ciphers, short keys."""

import re

from firesteel.guard.finding import Action, Severity
from firesteel.guard.rules.base import SCRIPTS, Example, Match, Rule, Sink
from firesteel.guard.rules.purpose import purpose
from firesteel.guard.site import Site

SECRET = re.compile(
    r"(?i)passw|passphrase|\bpwd\b|secret|token|session_?id|api_?key|otp\b|nonce|csrf|salt|credential|reset_?code|verification|auth_?code|private_?key|\bpw\b|md5_pw|encrypt"
)

WEAK_CIPHER = re.compile(
    r"(?i)\b(?:des|desede|tripledes|des3|3des|rc4|arcfour|arc4|rc2|blowfish|idea)(?:CryptoServiceProvider)?\b|/ECB/|\bECB\b|MODE_ECB|-ecb\b|des-"
)

WEAK_HASH = re.compile(r"(?i)^\W*(?:md[245]|sha-?1|sha|ripemd\w*)\W*$")


def weak_hash(site: Site) -> Match | None:
    """Judge MD5 and SHA-1: taken back where they guard a password, else only observed."""
    if site.flag("usedforsecurity") == "false":
        return None
    value = site.argument(0)
    by_name = site.last in (
        "new",
        "getInstance",
        "createHash",
        "createHmac",
        "Create",
        "hash",
        "digest",
        "hash_hmac",
        "Digest",
    )
    is_owned = WEAK_HASH.match(site.owner.rsplit(".", 1)[-1]) is not None  # MD5.Create()
    if by_name and not is_owned and (value is None or not WEAK_HASH.match(value.skeleton)):
        return None
    if site.last == "createHmac" and not SECRET.search(purpose(site)):
        return None
    text = purpose(site) + " " + _uses(site)
    return Match(None, None if SECRET.search(text) else Action.observe, "this hash is broken")


def _uses(site: Site) -> str:
    """Return what the variable that holds the hash is fed with."""
    node = site.node.parent
    while node is not None and node.type not in ("assignment", "variable_declarator", "short_var_declaration"):
        node = node.parent
    if node is None or not node.named_children:
        return ""
    name = site.evaluator.text(node.named_children[0])
    source = site.evaluator.source.decode(errors="replace")
    return (
        " ".join(
            found[0] for found in re.finditer(rf"\b{re.escape(name)}\.(?:update|write|digest)\([^\n]{{0,80}}", source)
        )
        + " "
        + name
    )


def weak_cipher(site: Site) -> Match | None:
    """Judge a cipher or mode by its name."""
    first = site.argument(0)
    words = " ".join(
        (
            site.name.replace("_", " "),
            first.skeleton if first is not None and not first.is_built else "",
            " ".join(site.evaluator.text(part) for part in site.parts[:3])[:300],
        )
    )
    if site.last in ("getInstance", "createCipheriv", "createCipher", "createDecipheriv", "openssl_encrypt"):
        words = (
            (first.skeleton if first is not None else "")
            + " "
            + " ".join(value.skeleton for value in site.arguments()[1:2] if site.last == "openssl_encrypt")
        )
    if not WEAK_CIPHER.search(words):
        return None
    return Match(None, None, "this cipher or mode is broken")


def weak_key(site: Site) -> Match | None:
    """Judge the length of a key."""
    text = " ".join(site.evaluator.text(part) for part in site.parts)
    values = [value.skeleton for value in site.arguments()[:3]]
    lengths = [int(number) for number in re.findall(r"(?<![\w.])(\d{3,5})(?![\w.])", " ".join([text, *values]))]
    if (
        not lengths
        or not 256 <= max(lengths) < 2048
        or re.search(r"(?i)elliptic|\bEC\b|curve|AES|hmac|_dh|X25519", text + site.name)
    ):
        return None
    if not re.search(
        r"(?i)rsa|dsa|dh\b|key", site.name + " " + purpose(site) + site.evaluator.source.decode(errors="replace")[:4000]
    ):
        return None
    return Match(None, None, f"{max(lengths)} bits are too few")


HASH_NAMES = ("md5", "sha1", "new", "MD5", "SHA1")


RULES = (
    Rule(
        id="FS401",
        title="Weak hash",
        cwe=("CWE-327", "CWE-328", "CWE-916", "CWE-326"),
        severity=Severity.medium,
        action=Action.rewrite,
        hint="hash passwords with bcrypt, scrypt or argon2; use SHA-256 elsewhere (usedforsecurity=False says that it guards nothing)",
        sinks=(
            Sink(
                languages=("python",),
                check=weak_hash,
                names=HASH_NAMES,
                owner=r"hashlib|hashes|Crypto\.Hash\.\w+|md5|sha|MD5|SHA",
                arms=(r"\b(?:hashlib|hashes)\.", r"(?i)\b\w*(?:md5|sha1?)(?:\.new)?\s*\("),
            ),
            Sink(languages=SCRIPTS, check=weak_hash, names=("createHash", "createHmac")),
            Sink(languages=("java",), check=weak_hash, names=("getInstance",), owner="MessageDigest"),
            Sink(
                languages=("go",), check=weak_hash, names=("Sum", "New"), owner="md5|sha1", arms=(r"\b(?:md5|sha1)\.",)
            ),
            Sink(languages=("php",), check=weak_hash, names=("md5", "sha1"), owner=""),
            Sink(
                languages=("ruby",),
                check=weak_hash,
                names=("hexdigest", "digest", "new"),
                owner=r".*(?:MD5|SHA1)",
                arms=(r"\b(?:MD5|SHA1)\b",),
            ),
            Sink(languages=("csharp",), check=weak_hash, names=("Create",), owner="MD5|SHA1"),
            Sink(
                languages=("csharp",),
                check=weak_hash,
                names=("new MD5CryptoServiceProvider", "new SHA1CryptoServiceProvider", "new SHA1Managed"),
            ),
        ),
        examples=(
            Example(
                language="python",
                bad="def f(password):\n    return hashlib.md5(password.encode()).hexdigest()\n",
                good="def f(data):\n    return hashlib.md5(data, usedforsecurity=False).hexdigest()\n",
            ),
            Example(
                language="javascript",
                bad="function encryptPassword(password) { return crypto.createHash('sha1').update(password).digest('hex'); }\n",
                good="function encryptPassword(password) { return bcrypt.hashSync(password, 12); }\n",
            ),
            Example(
                language="php",
                bad="function f($password) { return md5($password); }\n",
                good="function f($password) { return password_hash($password, PASSWORD_DEFAULT); }\n",
            ),
        ),
    ),
    Rule(
        id="FS402",
        title="Weak cipher",
        cwe=("CWE-327", "CWE-326"),
        severity=Severity.high,
        action=Action.rewrite,
        hint="use AES in GCM mode (AESGCM, aes-256-gcm) with a random nonce",
        sinks=(
            Sink(
                languages=("python",),
                check=weak_cipher,
                names=("new", "Cipher"),
                owner=r"|.*(?:DES3?|ARC4|ARC2|Blowfish|AES|Cipher|ciphers)",
                arms=(
                    r"\.new\s*\(",
                    r"MODE_ECB",
                    r"modes\.ECB",
                    r"algorithms\.(?:ARC4|TripleDES|Blowfish|IDEA)",
                ),
            ),
            Sink(
                languages=("java",),
                check=weak_cipher,
                names=("getInstance",),
                owner="Cipher|KeyGenerator|SecretKeyFactory",
            ),
            Sink(languages=SCRIPTS, check=weak_cipher, names=("createCipheriv", "createCipher", "createDecipheriv")),
            Sink(languages=("go",), check=weak_cipher, names=("NewCipher", "NewTripleDESCipher"), owner="des|rc4"),
            Sink(languages=("php",), check=weak_cipher, names=("openssl_encrypt", "mcrypt_encrypt"), owner=""),
            Sink(
                languages=("csharp",),
                check=weak_cipher,
                names=(
                    "Create",
                    "new DESCryptoServiceProvider",
                    "new TripleDESCryptoServiceProvider",
                    "new RC2CryptoServiceProvider",
                ),
                owner="DES|TripleDES|RC2|",
            ),
        ),
        examples=(
            Example(
                language="python",
                bad="def f(key, data):\n    return DES.new(key, DES.MODE_CFB).encrypt(data)\n",
                good="def f(key, data, nonce):\n    return AESGCM(key).encrypt(nonce, data, None)\n",
            ),
            Example(
                language="java",
                bad='class A { void f() { Cipher c = Cipher.getInstance("DES/ECB/PKCS5Padding"); } }\n',
                good='class A { void f() { Cipher c = Cipher.getInstance("AES/GCM/NoPadding"); } }\n',
            ),
            Example(
                language="javascript",
                bad="const c = crypto.createCipheriv('des-cbc', key, iv);\n",
                good="const c = crypto.createCipheriv('aes-256-gcm', key, iv);\n",
            ),
        ),
    ),
    Rule(
        id="FS403",
        title="Key too short",
        cwe=("CWE-326", "CWE-327"),
        severity=Severity.medium,
        action=Action.rewrite,
        hint="use at least 2048 bits for RSA and DSA, better 3072 or an elliptic curve",
        sinks=(
            Sink(
                languages=("python",),
                check=weak_key,
                names=("generate", "generate_private_key", "generate_key", "generate_parameters"),
            ),
            Sink(languages=("java",), check=weak_key, names=("initialize",)),
            Sink(languages=("go",), check=weak_key, names=("GenerateKey",), owner="rsa|dsa"),
            Sink(languages=SCRIPTS, check=weak_key, names=("generateKeyPair", "generateKeyPairSync")),
            Sink(
                languages=("csharp",),
                check=weak_key,
                names=("Create", "new RSACryptoServiceProvider"),
                owner="RSA|DSA|",
            ),
        ),
        examples=(
            Example(
                language="python",
                bad="def f():\n    return RSA.generate(1024)\n",
                good="def f():\n    return RSA.generate(3072)\n",
            ),
            Example(
                language="java",
                bad='class A { void f() { KeyPairGenerator g = KeyPairGenerator.getInstance("RSA"); g.initialize(1024); } }\n',
                good='class A { void f() { KeyPairGenerator g = KeyPairGenerator.getInstance("RSA"); g.initialize(3072); } }\n',
            ),
        ),
    ),
)
