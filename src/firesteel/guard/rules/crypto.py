"""Weak hashes and ciphers, predictable secrets, connections that are not verified."""

import re

from firesteel.guard.finding import Action, Severity
from firesteel.guard.rules.base import SCRIPTS, Example, Match, Rule, Sink
from firesteel.guard.site import Site

SECRET = re.compile(r"(?i)passw|passphrase|\bpwd\b|secret|token|session_?id|api_?key|otp\b|nonce|csrf|salt|credential|reset_?code|verification|auth_?code|private_?key|\bpw\b|md5_pw|encrypt")
WEAK_CIPHER = re.compile(r"(?i)\b(?:des|desede|tripledes|des3|3des|rc4|arcfour|arc4|rc2|blowfish|idea)\b|/ECB/|\bECB\b|MODE_ECB|-ecb\b|des-")
WEAK_HASH = re.compile(r"(?i)^\W*(?:md[245]|sha-?1|sha|ripemd\w*)\W*$")


def context(site: Site) -> str:
    """Return the statement around a place and the name of its function: what the value is for."""
    source = site.evaluator.source
    node = site.node
    while node.parent is not None and not node.type.endswith(("statement", "declaration", "assignment", "declarator", "pair")):
        node = node.parent
    around = source[max(0, node.start_byte - 60) : min(node.end_byte, node.start_byte + 600)].decode(errors="replace")
    parent = site.node.parent
    while parent is not None and not re.match(r"function|method|lambda", parent.type):
        parent = parent.parent
    named = parent.child_by_field_name("name") if parent is not None else None
    return around + " " + (site.evaluator.text(named) if named is not None else "")


def weak_hash(site: Site) -> Match | None:
    """Judge MD5 and SHA-1: taken back where they guard a password, else only observed."""
    if site.flag("usedforsecurity") == "false":
        return None
    value = site.argument(0)
    by_name = site.last in ("new", "getInstance", "createHash", "createHmac", "Create", "hash", "digest", "hash_hmac", "Digest")
    if by_name and (value is None or not WEAK_HASH.match(value.skeleton)):
        return None
    if site.last == "createHmac" and not SECRET.search(context(site)):
        return None
    text = context(site) + " " + _uses(site)
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
    return " ".join(found[0] for found in re.finditer(rf"\b{re.escape(name)}\.(?:update|write|digest)\([^\n]{{0,80}}", source)) + " " + name


def weak_cipher(site: Site) -> Match | None:
    """Judge a cipher or mode by its name."""
    first = site.argument(0)
    words = " ".join((site.name.replace("_", " "), first.skeleton if first is not None and not first.is_built else "", " ".join(site.evaluator.text(part) for part in site.parts[:3])[:300]))
    if site.last in ("getInstance", "createCipheriv", "createCipher", "createDecipheriv", "openssl_encrypt", "Create"):
        words = (first.skeleton if first is not None else "") + " " + " ".join(value.skeleton for value in site.arguments()[1:2] if site.last == "openssl_encrypt")
    if not WEAK_CIPHER.search(words):
        return None
    return Match(None, None, "this cipher or mode is broken")


def weak_key(site: Site) -> Match | None:
    """Judge the length of a key."""
    text = " ".join(site.evaluator.text(part) for part in site.parts)
    values = [value.skeleton for value in site.arguments()[:3]]
    lengths = [int(number) for number in re.findall(r"(?<![\w.])(\d{3,5})(?![\w.])", " ".join([text, *values]))]
    if not lengths or not 256 <= max(lengths) < 2048 or re.search(r"(?i)elliptic|\bEC\b|curve|AES|hmac|_dh|X25519", text + site.name):
        return None
    if not re.search(r"(?i)rsa|dsa|dh\b|key", site.name + " " + context(site) + site.evaluator.source.decode(errors="replace")[:4000]):
        return None
    return Match(None, None, f"{max(lengths)} bits are too few")


def declared_key(site: Site) -> Match | None:
    """Find a default of too few bits for a key."""
    return None


def unverified(site: Site) -> Match | None:
    """Find `verify=False` and its relatives."""
    if site.flag("verify", "verify_ssl", "validate_certs", "ssl_verify") == "false" or site.flag("cert_reqs").endswith("cert_none") or site.flag("assert_hostname") == "false":
        return Match(None, None, "the certificate of the other side is not checked")
    return None


def unverified_context(site: Site) -> Match | None:
    """Find contexts that verify nothing."""
    if site.flag("cert_reqs").endswith(("cert_required", "cert_optional")):
        return None
    return Match(None, Action.warn, "the certificate of the other side is not checked")


def old_protocol(site: Site) -> Match | None:
    """Find protocols that are broken: SSL 2 and 3, TLS 1.0 and 1.1; and `ssl.wrap_socket`, which checks no name."""
    text = site.text()[:1500]
    if re.search(r"PROTOCOL_(?:SSLv2|SSLv3|TLSv1|TLSv1_1)\b|\bSSLv(?:2|3|23)_METHOD|TLSv1_METHOD|\"(?:SSLv3|SSL|TLSv1|TLSv1\.1)\"|VersionTLS1[01]\b|VersionSSL30|TLSv1_method|SSLv3_method", text):
        if "SSLv23_METHOD" in text and re.search(r"OP_NO_SSLv3", site.evaluator.source.decode(errors="replace")):
            return None
        return Match(None, None, "this version of the protocol is broken")
    if site.last == "wrap_socket" and site.owner == "ssl" and not re.search(r"cert_reqs\s*=\s*ssl\.CERT_REQUIRED|PROTOCOL_(?:TLS|SSLv23)", text):
        return Match(None, Action.warn, "ssl.wrap_socket checks neither name nor certificate unless told to")
    return None


def old_version(site: Site) -> Match | None:
    """Find a broken version given as the lowest or only one."""
    found = re.search(r"VersionTLS1[01]\b|VersionSSL30|TLSv1(?:_1)?_method|SSLv[23]_method|TLSv1(?:\.1)?['\"]", site.text())
    return Match(None, None, "this version of the protocol is broken") if found else None


def is_true(site: Site) -> Match | None:
    """Find a switch that turns verification off."""
    value = site.argument(0)
    return Match(None, None, "the certificate of the other side is not checked") if value is not None and value.skeleton.strip().lower() in ("true", "1") else None


def is_false(site: Site) -> Match | None:
    """Find a switch that should be on."""
    value = site.argument(0)
    return Match(None, None, "the certificate of the other side is not checked") if value is not None and value.skeleton.strip().lower() in ("false", "0") else None


def curl_option(site: Site) -> Match | None:
    """Find curl told not to verify."""
    text = site.text().replace(" ", "")
    return Match(None, None, "the certificate of the other side is not checked") if re.search(r"(?i)SSL_VERIFY(?:PEER|HOST),(?:false|0|0L)\)", text) else None


def verify_none(site: Site) -> Match | None:
    """Find constants that say that nothing is verified."""
    text = site.text()
    return Match(None, None, "the certificate of the other side is not checked") if re.search(r"VERIFY_NONE|CERT_NONE|ServerCertificateValidationCallback|ALLOW_ALL_HOSTNAME|NoopHostnameVerifier", text) else None


def predictable(site: Site) -> Match | None:
    """Judge a predictable generator: taken back where its name says that a secret is made."""
    around = context(site)
    if not SECRET.search(around) or re.search(r"(?i)SystemRandom|crypto|secrets\.|SecureRandom|secure_?random|max_tokens|token_?count|num_tokens|tokeni|sleep|jitter|backoff|delay", around):
        return None
    return Match(None, None, "its output can be predicted")


HASH_NAMES = ("md5", "sha1", "new", "MD5", "SHA1")

RULES = (
    Rule(
        id="FS401", title="Weak hash", cwe=("CWE-327", "CWE-328", "CWE-916", "CWE-326"), severity=Severity.medium, action=Action.rewrite,
        hint="hash passwords with bcrypt, scrypt or argon2; use SHA-256 elsewhere (usedforsecurity=False says that it guards nothing)",
        sinks=(
            Sink(languages=("python",), check=weak_hash, names=HASH_NAMES, owner=r"hashlib|hashes|Crypto\.Hash\.\w+|md5|sha|MD5|SHA", arms=(r"\b(?:hashlib|hashes)\.", r"\b(?:md5|sha|MD5|SHA1?)\.new\b")),
            Sink(languages=SCRIPTS, check=weak_hash, names=("createHash", "createHmac")),
            Sink(languages=("java",), check=weak_hash, names=("getInstance",), owner="MessageDigest"),
            Sink(languages=("go",), check=weak_hash, names=("Sum", "New"), owner="md5|sha1", arms=(r"\b(?:md5|sha1)\.",)),
            Sink(languages=("php",), check=weak_hash, names=("md5", "sha1"), owner=""),
            Sink(languages=("ruby",), check=weak_hash, names=("hexdigest", "digest", "new"), owner=r".*(?:MD5|SHA1)", arms=(r"\b(?:MD5|SHA1)\b",)),
            Sink(languages=("csharp",), check=weak_hash, names=("Create",), owner="MD5|SHA1"),
        ),
        examples=(
            Example(language="python", bad="def f(password):\n    return hashlib.md5(password.encode()).hexdigest()\n", good="def f(data):\n    return hashlib.md5(data, usedforsecurity=False).hexdigest()\n"),
            Example(language="javascript", bad="function encryptPassword(password) { return crypto.createHash('sha1').update(password).digest('hex'); }\n", good="function encryptPassword(password) { return bcrypt.hashSync(password, 12); }\n"),
            Example(language="php", bad='function f($password) { return md5($password); }\n', good='function f($password) { return password_hash($password, PASSWORD_DEFAULT); }\n'),
        ),
    ),
    Rule(
        id="FS402", title="Weak cipher", cwe=("CWE-327", "CWE-326"), severity=Severity.high, action=Action.rewrite, hint="use AES in GCM mode (AESGCM, aes-256-gcm) with a random nonce",
        sinks=(
            Sink(languages=("python",), check=weak_cipher, names=("new", "Cipher"), owner=r"|.*(?:DES3?|ARC4|ARC2|Blowfish|AES|Cipher|ciphers)", arms=(r"\b(?:DES3?|ARC4|ARC2|Blowfish)\.new\b", r"MODE_ECB", r"modes\.ECB", r"algorithms\.(?:ARC4|TripleDES|Blowfish|IDEA)")),
            Sink(languages=("java",), check=weak_cipher, names=("getInstance",), owner="Cipher|KeyGenerator|SecretKeyFactory"),
            Sink(languages=SCRIPTS, check=weak_cipher, names=("createCipheriv", "createCipher", "createDecipheriv")),
            Sink(languages=("go",), check=weak_cipher, names=("NewCipher", "NewTripleDESCipher"), owner="des|rc4"),
            Sink(languages=("php",), check=weak_cipher, names=("openssl_encrypt", "mcrypt_encrypt"), owner=""),
            Sink(languages=("csharp",), check=weak_cipher, names=("Create", "new DESCryptoServiceProvider", "new TripleDESCryptoServiceProvider", "new RC2CryptoServiceProvider"), owner="DES|TripleDES|RC2|"),
        ),
        examples=(
            Example(language="python", bad="def f(key, data):\n    return DES.new(key, DES.MODE_CFB).encrypt(data)\n", good="def f(key, data, nonce):\n    return AESGCM(key).encrypt(nonce, data, None)\n"),
            Example(language="java", bad='class A { void f() { Cipher c = Cipher.getInstance("DES/ECB/PKCS5Padding"); } }\n', good='class A { void f() { Cipher c = Cipher.getInstance("AES/GCM/NoPadding"); } }\n'),
            Example(language="javascript", bad="const c = crypto.createCipheriv('des-cbc', key, iv);\n", good="const c = crypto.createCipheriv('aes-256-gcm', key, iv);\n"),
        ),
    ),
    Rule(
        id="FS403", title="Key too short", cwe=("CWE-326", "CWE-327"), severity=Severity.medium, action=Action.rewrite, hint="use at least 2048 bits for RSA and DSA, better 3072 or an elliptic curve",
        sinks=(
            Sink(languages=("python",), check=weak_key, names=("generate", "generate_private_key", "generate_key", "generate_parameters")),
            Sink(languages=("java",), check=weak_key, names=("initialize",)),
            Sink(languages=("go",), check=weak_key, names=("GenerateKey",), owner="rsa|dsa"),
            Sink(languages=SCRIPTS, check=weak_key, names=("generateKeyPair", "generateKeyPairSync")),
            Sink(languages=("csharp",), check=weak_key, names=("Create", "new RSACryptoServiceProvider"), owner="RSA|DSA|"),
        ),
        examples=(
            Example(language="python", bad="def f():\n    return RSA.generate(1024)\n", good="def f():\n    return RSA.generate(3072)\n"),
            Example(language="java", bad='class A { void f() { KeyPairGenerator g = KeyPairGenerator.getInstance("RSA"); g.initialize(1024); } }\n', good='class A { void f() { KeyPairGenerator g = KeyPairGenerator.getInstance("RSA"); g.initialize(3072); } }\n'),
        ),
    ),
    Rule(
        id="FS411", title="Certificate not verified", cwe=("CWE-295", "CWE-297", "CWE-327"), severity=Severity.high, action=Action.rewrite,
        hint="leave verification on; give the CA of a private server (verify=\"ca.pem\", RootCAs, cafile) instead of turning it off",
        sinks=(
            Sink(languages=("python",), check=unverified, names=None, arms=(r"\b(?:verify|verify_ssl|validate_certs|ssl_verify|assert_hostname)\s*=\s*False", r"\bcert_reqs\s*=\s*[\"']?(?:ssl\.)?CERT_NONE")),
            Sink(languages=("python",), check=unverified_context, names=("_create_unverified_context", "_create_stdlib_context"), owner="ssl"),
            Sink(languages=("python",), check=verify_none, kind="declare", names=("verify_mode", "_create_default_https_context"), arms=(r"\bverify_mode\s*=", r"_create_default_https_context\s*=")),
            Sink(languages=SCRIPTS, check=is_false, kind="pair", names=("rejectUnauthorized", "strictSSL")),
            Sink(languages=SCRIPTS, check=is_false, kind="assign", names=("NODE_TLS_REJECT_UNAUTHORIZED",), arms=(r"NODE_TLS_REJECT_UNAUTHORIZED",)),
            Sink(languages=("go",), check=is_true, kind="pair", names=("InsecureSkipVerify",)),
            Sink(languages=("go",), check=is_true, kind="assign", names=("InsecureSkipVerify",)),
            Sink(languages=("rust",), check=is_true, names=("danger_accept_invalid_certs", "danger_accept_invalid_hostnames")),
            Sink(languages=("php", "c", "cpp"), check=curl_option, names=("curl_setopt", "curl_easy_setopt")),
            Sink(languages=("ruby",), check=verify_none, kind="assign", names=("verify_mode",)),
            Sink(languages=("ruby",), check=verify_none, kind="pair", names=("ssl_verify_mode", "verify_mode"), arms=(r"VERIFY_NONE",)),
            Sink(languages=("csharp",), check=verify_none, kind="assign", names=("ServerCertificateValidationCallback", "ServerCertificateCustomValidationCallback")),
            Sink(languages=("java",), check=verify_none, names=("setSSLHostnameVerifier", "setHostnameVerifier"), arms=(r"ALLOW_ALL_HOSTNAME|NoopHostnameVerifier",)),
            Sink(languages=("bash",), check=lambda site: insecure_curl(site), names=("curl", "wget")),
        ),
        examples=(
            Example(language="python", bad='def f(url):\n    return requests.get(url, verify=False)\n', good='def f(url):\n    return requests.get(url, verify="ca.pem")\n'),
            Example(language="javascript", bad="const agent = new https.Agent({ rejectUnauthorized: false });\n", good="const agent = new https.Agent({ ca: fs.readFileSync(CA) });\n"),
            Example(language="go", bad="func f() { c := &tls.Config{InsecureSkipVerify: true} }\n", good="func f() { c := &tls.Config{RootCAs: pool} }\n"),
            Example(language="rust", bad="fn f() { Client::builder().danger_accept_invalid_certs(true).build(); }\n", good="fn f() { Client::builder().add_root_certificate(ca).build(); }\n"),
            Example(language="bash", bad="f() {\n  curl -k https://example.com/x\n}\n", good="f() {\n  curl --cacert ca.pem https://example.com/x\n}\n"),
        ),
    ),
    Rule(
        id="FS412", title="Broken version of TLS", cwe=("CWE-327", "CWE-326", "CWE-757"), severity=Severity.medium, action=Action.rewrite,
        hint="take ssl.create_default_context(), or set TLS 1.2 as the minimum; ssl.wrap_socket checks nothing",
        sinks=(
            Sink(languages=("python",), check=old_protocol, names=("wrap_socket", "SSLContext"), owner="ssl|SSL"),
            Sink(languages=("python",), check=old_protocol, names=("Context",), owner="ssl|SSL", at_end=True),
            Sink(languages=("java",), check=old_protocol, names=("getInstance",), owner="SSLContext"),
            Sink(languages=("go",), check=old_version, kind="pair", names=("MinVersion", "MaxVersion")),
            Sink(languages=SCRIPTS, check=old_version, kind="pair", names=("secureProtocol", "minVersion")),
        ),
        examples=(
            Example(language="python", bad="def f(s):\n    return ssl.wrap_socket(s, ssl_version=ssl.PROTOCOL_TLSv1)\n", good="def f(s):\n    return ssl.create_default_context().wrap_socket(s)\n"),
            Example(language="go", bad="func f() { c := &tls.Config{MinVersion: tls.VersionTLS10} }\n", good="func f() { c := &tls.Config{MinVersion: tls.VersionTLS12} }\n"),
        ),
    ),
    Rule(
        id="FS421", title="Predictable secret", cwe=("CWE-338", "CWE-330", "CWE-340"), severity=Severity.high, action=Action.rewrite,
        hint="make secrets with the system's generator: secrets.token_urlsafe, crypto.randomBytes, SecureRandom, crypto/rand",
        sinks=(
            Sink(languages=("python",), check=predictable, names=("random", "randint", "choice", "choices", "randrange", "sample", "getrandbits", "shuffle", "uniform"), owner="random"),
            Sink(languages=SCRIPTS, check=predictable, names=("random",), owner="Math"),
            Sink(languages=("java",), check=predictable, names=("new Random", "nextInt", "random"), owner="|Math|random|rand|r|rnd"),
            Sink(languages=("go",), check=predictable, names=("Int", "Intn", "Int63", "Read", "Int31n"), owner="rand"),
            Sink(languages=("php",), check=predictable, names=("rand", "mt_rand", "uniqid"), owner=""),
            Sink(languages=("csharp",), check=predictable, names=("new Random", "Next")),
            Sink(languages=("c", "cpp"), check=predictable, names=("rand", "random"), owner="|std"),
            Sink(languages=("ruby",), check=predictable, names=("rand",)),
        ),
        examples=(
            Example(language="python", bad='def f():\n    token = "".join(random.choice(LETTERS) for _ in range(20))\n    return token\n', good="def f():\n    token = secrets.token_urlsafe(20)\n    return token\n"),
            Example(language="javascript", bad="this.sessionID = Math.floor(Math.random() * 1e9).toString();\n", good="this.sessionID = crypto.randomBytes(16).toString('hex');\n"),
            Example(language="php", bad="function f() { $token = mt_rand(); }\n", good="function f() { $token = bin2hex(random_bytes(16)); }\n"),
        ),
    ),
)


def insecure_curl(site: Site) -> Match | None:
    """Find curl and wget told not to verify."""
    words = [site.evaluator.text(part) for part in site.parts]
    flags = any(re.fullmatch(r"-[a-zA-Z]*k[a-zA-Z]*|--insecure|--no-check-certificate", word) for word in words)
    return Match(None, None, "the certificate of the other side is not checked") if flags else None
