"""What the evaluator makes of expressions: constants, holes, who decides, what makes safe."""

import pytest

from firesteel.guard.scan import scan


def rules(code: str, language: str = "python") -> set[str]:
    return {each.rule for each in scan(code, language)}


SAFE_SQL = [
    'def f(db, n):\n    db.execute("SELECT a FROM t WHERE n = ?", (n,))\n',
    'def f(db, n):\n    db.execute("SELECT a FROM t WHERE n = %d" % int(n))\n',
    'def f(db, n):\n    db.execute(f"SELECT a FROM {TABLE} WHERE n = ?", (n,))\n',
    'def f(db, ids):\n    db.execute("SELECT a FROM t WHERE n IN (%s)" % ",".join(["?"] * len(ids)), ids)\n',
    'def f(db):\n    kind = "x"\n    db.execute("SELECT a FROM t WHERE n = \'%s\'" % kind)\n',
    'def f(db, n):\n    db.execute("SELECT a FROM t WHERE n = " + db.literal(n))\n',
    'def f(log, n):\n    log.info("could not select %s from the list where x = %s" % (n, n))\n',
    'def f(n):\n    raise ValueError(f"select one of the rows from {n}")\n',
    'def f(db, n):\n    sql = "SELECT a FROM t"\n    sql += " WHERE n = ?"\n    db.execute(sql, (n,))\n',
]
BAD_SQL = [
    'def f(db, n):\n    db.execute("SELECT a FROM t WHERE n = \'" + n + "\'")\n',
    'def f(db, n):\n    db.execute("SELECT a FROM t WHERE n = %s" % n)\n',
    'def f(db, n):\n    q = "SELECT a FROM t WHERE n = {}"\n    q = q.format(n)\n    db.execute(q)\n',
    'def f(db, n):\n    q = "SELECT a FROM t"\n    if n:\n        q += " WHERE n = \'%s\'" % n\n    db.execute(q)\n',
    'def f(db, n):\n    db.execute("".join(["DELETE FROM t WHERE n = \'", n, "\'"]))\n',
    "def f(self):\n    self.c.execute(f\"UPDATE t SET a = '{self.a}' WHERE b = 1\")\n",
]


@pytest.mark.parametrize("code", SAFE_SQL)
def test_safe_sql_is_left_alone(code: str) -> None:
    assert "FS201" not in rules(code)


@pytest.mark.parametrize("code", BAD_SQL)
def test_built_sql_is_found(code: str) -> None:
    assert "FS201" in rules(code)


def test_the_cause_is_the_statement_that_mixed() -> None:
    code = "def f(host):\n    a = 1\n    line = 'ping ' + host\n    b = 2\n    os.system(line)\n"
    (each,) = scan(code, "python")
    assert code[each.cause :].startswith("line =")
    assert code[each.start : each.end] == "os.system(line)"


def test_one_cause_is_told_once() -> None:
    code = "def f(db, n):\n    q = \"SELECT a FROM t WHERE n = '%s'\" % n\n    db.execute(q)\n    db.execute(q)\n"
    assert len(scan(code, "python")) == 1


@pytest.mark.parametrize(
    ("code", "language", "rule"),
    [
        ("@app.route('/')\ndef f(name):\n    return open('d/' + name).read()\n", "python", "FS231"),
        ("def view(request, name):\n    return open('d/' + name).read()\n", "python", "FS231"),
        ('class A { String f(@RequestParam String n) { return new FileInputStream("d/" + n); } }\n', "java", "FS231"),
        ("function f() { $n = $_GET['n']; system('ls ' . $n); }\n", "php", "FS211"),
        ("const { id } = req.query;\ndb.query(`SELECT a FROM t WHERE id = '${id}'`);\n", "javascript", "FS201"),
        ("int main(int argc, char **argv) { system(argv[1]); }\n", "c", "FS211"),
        ('def f\n  id = params[:id]\n  system("ls #{id}")\nend\n', "ruby", "FS211"),
    ],
)
def test_outside_data_is_known(code: str, language: str, rule: str) -> None:
    found = [each for each in scan(code, language) if each.rule == rule]
    assert found
    assert found[0].action == "rewrite"


@pytest.mark.parametrize(
    "code",
    [
        "@app.route('/')\ndef f(name):\n    name = secure_filename(name)\n    return open('d/' + name).read()\n",
        "@app.route('/')\ndef f(name):\n    assert name.isalnum()\n    return open('d/' + name).read()\n",
        "@app.route('/')\ndef f(name):\n    assert name in NAMES\n    return open('d/' + name).read()\n",
        "@app.route('/')\ndef f(name):\n    return open('d/' + FILES[name]).read()\n",
    ],
)
def test_what_was_checked_is_left_alone(code: str) -> None:
    assert "FS231" not in rules(code)


def test_typed_numbers_cannot_carry_text() -> None:
    code = 'class A { void f(KIND n) { s.executeQuery("SELECT a FROM t WHERE n = " + n); } }\n'
    assert "FS201" not in rules(code.replace("KIND", "int"), "java")
    assert "FS201" in rules(code.replace("KIND", "String"), "java")


@pytest.mark.parametrize(
    ("imports", "call", "rule"),
    [
        ("from os import system", "system('ls ' + x)", "FS211"),
        ("import os as o", "o.system('ls ' + x)", "FS211"),
        ("from subprocess import (run, PIPE)", "run('ls ' + x, shell=True)", "FS211"),
        ("import pickle as p", "p.loads(x)", "FS301"),
        ("from hashlib import md5", "password = md5(x)", "FS401"),
        ("from Crypto.Cipher import DES as Safe", "Safe.new(x)", "FS402"),
    ],
)
def test_imports_say_what_names_stand_for(imports: str, call: str, rule: str) -> None:
    filler = "".join(f"y{index} = {index}\n" for index in range(900))  # far out of the window
    code = f"{imports}\n{filler}def f(x):\n    {call}\n"
    assert rule in rules(code)


@pytest.mark.parametrize(
    "before",
    ["", "    if name\n", "    x = case name\n      when 1 then 2\n    end\n", "    items.each do |item|\n"],
    ids=["plain", "condition", "ended", "block"],
)
def test_parameters_of_ruby_methods_are_known_before_their_end(before: str) -> None:
    text = f"class A\n  def show(name)\n{before}    Kernel.open(name)\n"
    assert [(each.rule, each.action) for each in scan(text, "ruby")] == [("FS211", "rewrite")]


def test_outside_data_stays_outside_when_it_is_decoded() -> None:
    text = "def show(request):\n    data = decode_token(request.data)\n    return open('keys/' + data['name'])\n"
    assert [(each.rule, each.action) for each in scan(text, "python")] == [("FS231", "rewrite")]


def test_arguments_of_a_request_are_no_arguments_of_the_program() -> None:
    text = "def show():\n    name = request.args.get('name')\n    return open('/srv/' + name).read()\n"
    assert [(each.rule, each.action) for each in scan(text, "python")] == [("FS231", "rewrite")]
    text = 'void f(struct req *r) {\n  char *page = http_request_param_get(r, "page");\n  unlink(page);\n}\n'
    assert [(each.rule, each.action) for each in scan(text, "c")] == [("FS231", "rewrite")]
