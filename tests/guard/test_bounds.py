"""What keeps an analysis short, and that the short way finds what the long one does."""

from collections.abc import Iterator

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tree_sitter import Node

from firesteel.guard import evaluate, kinds, site, syntax
from firesteel.guard.analyse import analyse
from firesteel.guard.evaluate import Evaluator
from firesteel.guard.scan import scan
from firesteel.guard.scope import Definitions
from firesteel.guard.value import Hole, Level, Value, hole
from tests.guard.snippets import LANGUAGES, texts

PROSE = b'The quick brown fox, jumps over "the lazy" dog. '


def walked(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from walked(child)


@settings(max_examples=80, deadline=None)
@given(data=st.data(), language=st.sampled_from(LANGUAGES))
def test_places_found_by_a_query_are_those_of_a_walk(data: st.DataObject, language: str) -> None:
    source = data.draw(texts(language)).encode(errors="replace")
    start = data.draw(st.integers(0, len(source)))
    root = syntax.parsed(language, source)
    assume(root is not None)
    assert root is not None
    evaluator = Evaluator(root, source, language)
    nodes = [node for node in walked(root) if node.is_named and node.end_byte > start]
    slow = [(each.kind, each.name, each.node.id) for node in nodes for each in site._read(node, evaluator)]
    fast = [(each.kind, each.name, each.node.id) for each in site.sites(root, evaluator, start, len(source) + 1)]
    if len(slow) < site.MAX_SITES:
        assert sorted(fast) == sorted(slow)


@settings(max_examples=80, deadline=None)
@given(data=st.data(), language=st.sampled_from(LANGUAGES))
def test_definitions_read_by_name_are_those_of_reading_all(data: st.DataObject, language: str) -> None:
    text = data.draw(texts(language))
    assume(not any(each.isspace() for each in text if each not in " \t\r\n"))  # names lose spaces, and are then others
    source = text.encode(errors="replace")
    root = syntax.parsed(language, source)
    assume(root is not None)
    assert root is not None
    definitions = Definitions(root, source, language)
    slow: dict[str, list[int]] = {}
    for node, _ in definitions._find():
        for name, definition in definitions._read(node):
            slow.setdefault(name, []).append(definition.value.id)
    for name, values in slow.items():
        assert [each.value.id for each in definitions._collect(name)] == values


@settings(deadline=None)
@given(
    st.lists(st.characters(codec="utf-8", min_codepoint=0x80), min_size=1, max_size=8),
    st.sampled_from(["{", "$", "echo ", "a["]),
)
def test_letters_of_no_alphabet_crash_no_parser(letters: list[str], before: str) -> None:
    """The scanner for shells reads beyond a table of C's for them; where that is mapped, nobody notices."""
    text = f'"l$"e\n{before}' + "S'\n{".join(letters)
    assert tree("bash", text.encode()) == tree("bash", bytes(b if b < 128 else ord("x") for b in text.encode()))
    for language in syntax.MODULES:
        assert tree(language, text.encode())


def tree(language: str, source: bytes) -> list[tuple[str, int, int]]:
    root = syntax.parsed(language, source)
    return [(node.type, node.start_byte, node.end_byte) for node in walked(root)] if root is not None else []


@pytest.mark.parametrize("language", ["python", "javascript", "php"])
def test_prose_is_given_up_and_the_parser_works_on(language: str) -> None:
    assert syntax.parsed(language, PROSE * 400) is None
    root = syntax.parsed(language, b"f(x)\n")
    assert root is not None
    assert any(node.type in kinds.CALLS or node.has_error for node in walked(root))
    assert root.end_byte == 5


def test_a_statement_behind_too_much_is_judged_alone() -> None:
    head, statement = PROSE * 100, b'\nos.system("ls " + name)\n'
    window = head + statement
    assert syntax.parsed("python", window) is None
    found = analyse("python", window, b"", len(head) + 1, at_end=False)
    assert [(each.rule.id, window[each.start : each.end]) for each in found] == [("FS211", statement.strip())]


def test_a_long_docstring_ends_no_analysis() -> None:
    text = '"""' + ("os.system(x) is " + PROSE.decode() + "\n") * 300 + '"""\ndef f(x):\n    os.system("ls " + x)\n'
    found = scan(text, "python")
    assert found[-1].start == text.rindex("os.system")


def test_all_questions_about_one_window_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "MAX_TOTAL", 20)
    source = ("def f(x):\n" + "    g('a' + x)\n" * 20).encode()
    root = syntax.parser("python").parse(source).root_node
    evaluator = Evaluator(root, source, "python")
    values = [each.argument(0) for each in site.sites(root, evaluator, 0, len(source))]
    assert values[0] == Value("a\0", (Hole(Level.parameter, "x"),))
    assert values[-1] == hole(Level.unknown)
