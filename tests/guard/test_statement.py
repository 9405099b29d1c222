"""Statements and functions, followed by the line."""

from firesteel.guard.statement import MAX_DEPTH, MAX_STATEMENT, Statements


def follow(language: str, text: str) -> tuple[Statements, list[str], list[str]]:
    """Return the tracker, the statements that ended and the functions that did."""
    statements = Statements(language)
    closed, functions, start = [], [], 0
    for line in text.splitlines(keepends=True):
        began = statements.line(line, start)
        start += len(line)
        if began >= 0:
            closed.append(text[began:start])
        functions += [text[first:last] for first, last in statements.ended]
    return statements, closed, functions


def test_python_statements_end_at_depth_zero() -> None:
    text = 'a = f(\n  1,\n)\nb = """x\n(\n"""\nc = 1 + \\\n  2\nd = "("  # (\n'
    _, closed, _ = follow("python", text)
    assert closed == ["a = f(\n  1,\n)\n", 'b = """x\n(\n"""\n', "c = 1 + \\\n  2\n", 'd = "("  # (\n']


def test_python_functions_end_with_indentation() -> None:
    text = "class A:\n    @x\n    def f(self):\n        pass\n\n    y = 1\ndef g():\n    pass\nz = 2\n"
    _, _, functions = follow("python", text)
    assert functions == ["    @x\n    def f(self):\n        pass\n\n", "def g():\n    pass\n"]


def test_the_window_is_the_outermost_function_that_is_no_class() -> None:
    text = "class A:\n    def f(self):\n        def g():\n            pass\n"
    statements, _, _ = follow("python", text)
    assert statements.window(len(text)) == text.index("    def f")


def test_a_block_ends_the_statement_before_it() -> None:
    _, closed, _ = follow("javascript", "exec(a, function (e) {\n  done();\n});\n")
    assert closed == ["exec(a, function (e) {\n", "  done();\n", "});\n"]


def test_a_line_that_goes_on_ends_nothing() -> None:
    _, closed, _ = follow("java", 'a = "x" +\n  b;\ncall(\n  c);\n')
    assert closed == ['a = "x" +\n  b;\n', "call(\n  c);\n"]


def test_loops_and_objects_are_no_functions() -> None:
    text = "void f() {\n  if (a) {\n    x = {\n      b: 1\n    };\n  }\n}\n"
    _, _, functions = follow("java", text)
    assert functions == [text]


def test_brackets_in_strings_and_comments_do_not_count() -> None:
    text = "a('{');\n// {\n/* {\n{ */\nb(`{\n{`);\n"
    statements, closed, _ = follow("javascript", text)
    assert closed[-1].endswith("{`);\n")
    assert statements.closers() == ""


def test_quotes_and_brackets_in_patterns_do_not_count() -> None:
    text = 'a = b.replace(/`/g, "x");\nif (/[/"(]+\\//.test(c) && d / e / f) {\n  return /\'{/;\n}\n'
    statements, closed, _ = follow("javascript", text)
    assert closed == text.splitlines(keepends=True)
    assert statements.closers() == ""


def test_what_is_open_can_be_closed() -> None:
    statements, _, _ = follow("javascript", "f(a, [b, function () {\n")
    assert statements.closers() == "}])"


def test_statements_and_depth_are_bounded() -> None:
    statements = Statements("python")
    start = 0
    lengths = []
    for _ in range(400):
        began = statements.line("(" * 100 + "\n", start)
        start += 101
        if began >= 0:
            lengths.append(start - began)
    assert lengths
    assert max(lengths) <= MAX_STATEMENT + 101
    assert len(statements.closers()) <= 40
    assert len(statements._brackets) <= MAX_DEPTH
