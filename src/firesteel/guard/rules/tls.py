"""Connections whose other side is not verified, or whose protocol is broken."""

import re

from firesteel.guard.finding import Action, Severity
from firesteel.guard.rules.base import SCRIPTS, Example, Match, Rule, Sink
from firesteel.guard.site import Site


def unverified(site: Site) -> Match | None:
    """Find `verify=False` and its relatives."""
    if (
        site.flag("verify", "verify_ssl", "validate_certs", "ssl_verify") == "false"
        or site.flag("cert_reqs").endswith("cert_none")
        or site.flag("assert_hostname") == "false"
    ):
        return Match(None, None, "the certificate of the other side is not checked")
    return None


def unverified_context(site: Site) -> Match | None:
    """Find contexts that verify nothing."""
    if site.flag("cert_reqs").endswith(("cert_required", "cert_optional")):
        return None
    return Match(None, None, "the certificate of the other side is not checked")


def unknown_host(site: Site) -> Match | None:
    """Find SSH clients that trust any host."""
    found = re.search(r"AutoAddPolicy|WarningPolicy", site.text())
    return Match(None, None, "a host that is not known is trusted") if found else None


def old_protocol(site: Site) -> Match | None:
    """Find protocols that are broken: SSL 2 and 3, TLS 1.0 and 1.1; and `ssl.wrap_socket`, which checks no name."""
    text = site.text()[:1500]
    if re.search(
        r"PROTOCOL_(?:SSLv2|SSLv3|TLSv1|TLSv1_1)\b|\bSSLv(?:2|3|23)_METHOD|TLSv1_METHOD|\"(?:SSLv3|SSL|TLSv1|TLSv1\.1)\"|VersionTLS1[01]\b|VersionSSL30|TLSv1_method|SSLv3_method",
        text,
    ):
        if "SSLv23_METHOD" in text and re.search(r"OP_NO_SSLv3", site.evaluator.source.decode(errors="replace")):
            return None
        return Match(None, None, "this version of the protocol is broken")
    if (
        site.last == "wrap_socket"
        and site.owner == "ssl"
        and not re.search(r"cert_reqs\s*=\s*ssl\.CERT_REQUIRED|PROTOCOL_(?:TLS|SSLv23)", text)
    ):
        return Match(None, None, "ssl.wrap_socket checks neither name nor certificate unless told to")
    return None


def old_version(site: Site) -> Match | None:
    """Find a broken version given as the lowest or only one."""
    found = re.search(
        r"VersionTLS1[01]\b|VersionSSL30|TLSv1(?:_1)?_method|SSLv[23]_method|TLSv1(?:\.1)?['\"]", site.text()
    )
    return Match(None, None, "this version of the protocol is broken") if found else None


def is_true(site: Site) -> Match | None:
    """Find a switch that turns verification off."""
    value = site.argument(0)
    return (
        Match(None, None, "the certificate of the other side is not checked")
        if value is not None and value.skeleton.strip().lower() in ("true", "1")
        else None
    )


def is_false(site: Site) -> Match | None:
    """Find a switch that should be on."""
    value = site.argument(0)
    return (
        Match(None, None, "the certificate of the other side is not checked")
        if value is not None and value.skeleton.strip().lower() in ("false", "0")
        else None
    )


def curl_option(site: Site) -> Match | None:
    """Find curl told not to verify."""
    text = site.text().replace(" ", "")
    return (
        Match(None, None, "the certificate of the other side is not checked")
        if re.search(r"(?i)SSL_VERIFY(?:PEER|HOST),(?:false|0|0L)\)", text)
        else None
    )


def verify_none(site: Site) -> Match | None:
    """Find constants that say that nothing is verified."""
    return (
        Match(None, None, "the certificate of the other side is not checked")
        if re.search(
            r"VERIFY_NONE|CERT_NONE|ALLOW_ALL_HOSTNAME|NoopHostnameVerifier|DangerousAcceptAny|"
            r"ValidationCallback\s*\+?=[^;]*(?:=>\s*true\b|\breturn\s+true\b)",
            site.text(),
        )
        else None
    )


def insecure_curl(site: Site) -> Match | None:
    """Find curl and wget told not to verify."""
    words = [site.evaluator.text(part) for part in site.parts]
    flags = any(re.fullmatch(r"-[a-zA-Z]*k[a-zA-Z]*|--insecure|--no-check-certificate", word) for word in words)
    return Match(None, None, "the certificate of the other side is not checked") if flags else None


RULES = (
    Rule(
        id="FS411",
        title="Certificate not verified",
        cwe=("CWE-295", "CWE-297", "CWE-327"),
        severity=Severity.high,
        action=Action.rewrite,
        hint='leave verification on; give the CA of a private server (verify="ca.pem", RootCAs, cafile) instead of turning it off',
        sinks=(
            Sink(
                languages=("python",),
                check=unverified,
                names=None,
                arms=(
                    r"\b(?:verify|verify_ssl|validate_certs|ssl_verify|assert_hostname)\s*=\s*False",
                    r"\bcert_reqs\s*=\s*[\"']?(?:ssl\.)?CERT_NONE",
                ),
            ),
            Sink(languages=("python",), check=unknown_host, names=("set_missing_host_key_policy",)),
            Sink(
                languages=("python",),
                check=unverified_context,
                names=("_create_unverified_context", "_create_stdlib_context"),
                owner="ssl",
            ),
            Sink(
                languages=("python",),
                check=verify_none,
                kind="declare",
                names=("verify_mode", "_create_default_https_context"),
                arms=(r"\bverify_mode\s*=", r"_create_default_https_context\s*="),
            ),
            Sink(languages=SCRIPTS, check=is_false, kind="pair", names=("rejectUnauthorized", "strictSSL")),
            Sink(
                languages=SCRIPTS,
                check=is_false,
                kind="assign",
                names=("NODE_TLS_REJECT_UNAUTHORIZED",),
                arms=(r"NODE_TLS_REJECT_UNAUTHORIZED",),
            ),
            Sink(languages=("go",), check=is_true, kind="pair", names=("InsecureSkipVerify",)),
            Sink(languages=("go",), check=is_true, kind="assign", names=("InsecureSkipVerify",)),
            Sink(
                languages=("rust",),
                check=is_true,
                names=("danger_accept_invalid_certs", "danger_accept_invalid_hostnames"),
            ),
            Sink(languages=("php", "c", "cpp"), check=curl_option, names=("curl_setopt", "curl_easy_setopt")),
            Sink(languages=("ruby",), check=verify_none, kind="assign", names=("verify_mode",)),
            Sink(
                languages=("ruby",),
                check=verify_none,
                kind="pair",
                names=("ssl_verify_mode", "verify_mode"),
                arms=(r"VERIFY_NONE",),
            ),
            Sink(
                languages=("csharp",),
                check=verify_none,
                kind="assign",
                names=("ServerCertificateValidationCallback", "ServerCertificateCustomValidationCallback"),
            ),
            Sink(
                languages=("java",),
                check=verify_none,
                names=("setSSLHostnameVerifier", "setHostnameVerifier"),
                arms=(r"ALLOW_ALL_HOSTNAME|NoopHostnameVerifier",),
            ),
            Sink(languages=("bash",), check=lambda site: insecure_curl(site), names=("curl", "wget")),
        ),
        examples=(
            Example(
                language="python",
                bad="def f(url):\n    return requests.get(url, verify=False)\n",
                good='def f(url):\n    return requests.get(url, verify="ca.pem")\n',
            ),
            Example(
                language="javascript",
                bad="const agent = new https.Agent({ rejectUnauthorized: false });\n",
                good="const agent = new https.Agent({ ca: fs.readFileSync(CA) });\n",
            ),
            Example(
                language="go",
                bad="func f() { c := &tls.Config{InsecureSkipVerify: true} }\n",
                good="func f() { c := &tls.Config{RootCAs: pool} }\n",
            ),
            Example(
                language="rust",
                bad="fn f() { Client::builder().danger_accept_invalid_certs(true).build(); }\n",
                good="fn f() { Client::builder().add_root_certificate(ca).build(); }\n",
            ),
            Example(
                language="bash",
                bad="f() {\n  curl -k https://example.com/x\n}\n",
                good="f() {\n  curl --cacert ca.pem https://example.com/x\n}\n",
            ),
        ),
    ),
    Rule(
        id="FS412",
        title="Broken version of TLS",
        cwe=("CWE-327", "CWE-326", "CWE-757"),
        severity=Severity.medium,
        action=Action.rewrite,
        hint="take ssl.create_default_context(), or set TLS 1.2 as the minimum; ssl.wrap_socket checks nothing",
        sinks=(
            Sink(languages=("python",), check=old_protocol, names=("wrap_socket", "SSLContext"), owner="ssl|SSL"),
            Sink(languages=("python",), check=old_protocol, names=("Context",), owner="ssl|SSL", at_end=True),
            Sink(languages=("java",), check=old_protocol, names=("getInstance",), owner="SSLContext"),
            Sink(languages=("go",), check=old_version, kind="pair", names=("MinVersion", "MaxVersion")),
            Sink(languages=SCRIPTS, check=old_version, kind="pair", names=("secureProtocol", "minVersion")),
        ),
        examples=(
            Example(
                language="python",
                bad="def f(s):\n    return ssl.wrap_socket(s, ssl_version=ssl.PROTOCOL_TLSv1)\n",
                good="def f(s):\n    return ssl.create_default_context().wrap_socket(s)\n",
            ),
            Example(
                language="go",
                bad="func f() { c := &tls.Config{MinVersion: tls.VersionTLS10} }\n",
                good="func f() { c := &tls.Config{MinVersion: tls.VersionTLS12} }\n",
            ),
        ),
    ),
)
