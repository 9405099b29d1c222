"""Flaws that each rule finds in languages for which its page has no example, and the right way beside them."""

import pytest

from firesteel.guard.scan import scan

PRINTED = 'void f(MYSQL *c, char *n) {\n  char q[99];\n  snprintf(q, 99, "SELECT a FROM t WHERE n = '
CASES = [
    ("FS201", "c", PRINTED + "'%s'\", n);\n  mysql_query(c, q);\n}\n", PRINTED + '%d", 5);\n  mysql_query(c, q);\n}\n'),
    (
        "FS401",
        "csharp",
        "class A { byte[] F(byte[] password) { return MD5.Create().ComputeHash(password); } }\n",
        "class A { byte[] F(byte[] password) { return SHA512.Create().ComputeHash(password); } }\n",
    ),
    (
        "FS402",
        "csharp",
        "class A { void F() { var d = new DESCryptoServiceProvider(); } }\n",
        "class A { void F() { var d = Aes.Create(); } }\n",
    ),
    ("FS402", "csharp", "class A { void F() { var d = DES.Create(); } }\n", "class A { void F() { G(); } }\n"),
    (
        "FS411",
        "csharp",
        "class A { void F() {\n  h.ServerCertificateCustomValidationCallback = (a, b, c, d) => true;\n} }\n",
        "class A { void F() {\n  h.ServerCertificateCustomValidationCallback = Pinned.Check;\n} }\n",
    ),
    (
        "FS232",
        "go",
        "func f(r *zip.Reader, d string) {\n\tfor _, f := range r.File {\n"
        "\t\tos.Create(filepath.Join(d, f.Name))\n\t}\n}\n",
        "func f(r *zip.Reader, d string) {\n\tfor _, f := range r.File {\n\t\tp := filepath.Join(d, f.Name)\n"
        "\t\tif strings.HasPrefix(p, d) {\n\t\t\tos.Create(p)\n\t\t}\n\t}\n}\n",
    ),
    (
        "FS231",
        "go",
        'func f(r *http.Request) {\n\tos.Open("/data/" + r.URL.Query().Get("f"))\n}\n',
        'func f(r *http.Request) {\n\tos.Open("/data/" + filepath.Base(r.URL.Query().Get("f")))\n}\n',
    ),
    (
        "FS242",
        "csharp",
        'class A { object F() { return Redirect(Request.Query["u"]); } }\n',
        'class A { object F() { return Redirect("/home"); } }\n',
    ),
    (
        "FS411",
        "rust",
        "fn f() {\n  reqwest::Client::builder().danger_accept_invalid_certs(true).build();\n}\n",
        "fn f() {\n  reqwest::Client::builder().build();\n}\n",
    ),
    (
        "FS502",
        "go",
        'func f() {\n\tos.Chmod("/srv/x", 0777)\n}\n',
        'func f() {\n\tos.Chmod("/srv/x", 0600)\n}\n',
    ),
    (
        "FS211",
        "ruby",
        "def f(cmd)\n  Kernel.system(cmd)\nend\n",
        "def f(cmd, *args)\n  Kernel.system(cmd, *args)\n  system(*cmd)\nend\n",
    ),
    (
        "FS221",
        "ruby",
        "def f(text)\n  instance_eval(text)\nend\n",
        "def f(name, &block)\n  instance_eval(&block)\n  constantize(name)\nend\n",
    ),
    ("FS221", "ruby", "def f\n  params[:x].constantize\n  eval(params[:y])\nend\n", "def f\n  A.new\nend\n"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "language", "bad", "good"), CASES, ids=[f"{each[0]}-{each[1]}" for each in CASES])
def test_rule_tells_bad_from_good(rule: str, language: str, bad: str, good: str) -> None:
    assert rule in {each.rule for each in scan(bad, language)}
    assert rule not in {each.rule for each in scan(good, language)}
