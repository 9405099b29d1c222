"""What the guard reads off syntax trees of any language: callees, arguments, receivers; grammars and parsers."""

import re
from collections.abc import Iterable
from functools import cache

from tree_sitter import Language, Node, Parser, Query

from firesteel.guard import kinds

MODULES = {
    "python": ("tree_sitter_python", "language"),
    "javascript": ("tree_sitter_javascript", "language"),
    "typescript": ("tree_sitter_typescript", "language_tsx"),
    "java": ("tree_sitter_java", "language"),
    "go": ("tree_sitter_go", "language"),
    "ruby": ("tree_sitter_ruby", "language"),
    "php": ("tree_sitter_php", "language_php_only"),
    "c": ("tree_sitter_c", "language"),
    "cpp": ("tree_sitter_cpp", "language"),
    "csharp": ("tree_sitter_c_sharp", "language"),
    "rust": ("tree_sitter_rust", "language"),
    "bash": ("tree_sitter_bash", "language"),
}
NARROW = frozenset(
    {"bash"}
)  # its scanner (0.25.1) looks every character up in C's table of 256, and crashes far beyond
LETTERS = bytes(byte if byte < 128 else ord("x") for byte in range(256))  # of the same length
CALLED = re.compile(rb"\((?:[^()\"']|\"[^\"\n]*\"|'[^'\n]*')*\)")
MAX_NAME = 300
MAX_WORK = 48  # hundreds of steps of the parser, 70 to 140 µs each: the longest window of code takes 30 to 50
DOTTED = re.compile(rb"[A-Za-z_][\w.]*")
SIGILS = re.compile(r"\$(\w)")  # of PHP and shells; jQuery's own name stays


@cache
def grammar(language: str) -> Language:
    """Return the grammar of a language in `MODULES`, loaded when it is first asked for."""
    from importlib import import_module

    module, function = MODULES[language]
    return Language(getattr(import_module(module), function)())


@cache
def parser(language: str) -> Parser:
    """Return the parser of a language; it keeps nothing from one text to the next."""
    return Parser(grammar(language))


def parsed(language: str, source: bytes) -> Node | None:
    """Return the root of the tree of `source`, None when it takes more work than code does: prose, mostly.

    The work is counted in the parser's own steps, so that the answer does not depend on the machine.
    """
    spent, readable = 0, source.translate(LETTERS) if language in NARROW else source

    def is_over(offset: int, has_error: bool) -> bool:
        nonlocal spent
        spent += 1
        return spent > MAX_WORK

    known = parser(language)
    try:
        return known.parse(lambda offset, point: readable[offset:], progress_callback=is_over).root_node
    except ValueError:  # stopped
        known.reset()  # it would go on where it stopped
        return None


def query(language: str, wanted: Iterable[str]) -> Query:
    """Return a query that captures nodes of the `wanted` kinds as "found", those that the grammar knows."""
    known = grammar(language)
    found = [kind for kind in sorted(wanted) if known.id_for_node_kind(kind, True)]
    return Query(known, "[" + " ".join(f"({kind})" for kind in found) + "] @found")


def plain(text: bytes) -> str:
    """Return a callee as a dotted name: arguments, spaces, sigils and the other separators of members are gone."""
    if DOTTED.fullmatch(text) is not None:
        return text[-MAX_NAME:].decode()
    for _ in range(4):
        shorter = CALLED.sub(b"()", text)
        if shorter == text:
            break
        text = shorter
    written = text[-MAX_NAME:].decode(errors="replace")
    written = re.sub(r"\s+", "", written).replace("->", ".").replace("::", ".").replace("?.", ".")
    return SIGILS.sub(r"\1", written.lstrip("@\\&*("))


def callee(node: Node, source: bytes) -> str:
    """Return the dotted name of what a call calls: `conn.cursor().execute`, `new File`, `format!`, `echo`."""

    def text(part: Node) -> bytes:
        return source[max(part.start_byte, part.end_byte - 4 * MAX_NAME) : part.end_byte]

    kind = node.type
    called = node.child_by_field_name("function")
    if called is not None:
        return plain(text(called))
    if kind in ("object_creation_expression", "new_expression"):
        made = node.child_by_field_name("type") or node.child_by_field_name("constructor") or _named(node, 0)
        return "new " + plain(text(made)).split("<")[0] if made is not None else "new"
    if kind == "macro_invocation":
        macro = node.child_by_field_name("macro")
        return plain(text(macro)) + "!" if macro is not None else "!"
    if kind == "subshell" or kind in ("shell_command_expression", "command_substitution"):
        return "`"
    if kind.endswith(("_statement", "_intrinsic")) or kind.startswith(("include", "require")):
        return kind.split("_")[0]
    name = node.child_by_field_name("name") or node.child_by_field_name("method")
    owner = (
        node.child_by_field_name("object") or node.child_by_field_name("receiver") or node.child_by_field_name("scope")
    )
    if name is None:
        return ""
    return plain((text(owner) + b"." if owner is not None else b"") + text(name))


def _named(node: Node, index: int) -> Node | None:
    return node.named_children[index] if node.named_child_count > index else None


def arguments(node: Node) -> list[Node]:
    """Return the arguments of a call as they stand, keyword arguments and pairs among them."""
    holder = node.child_by_field_name("arguments")
    if holder is None and node.type == "object_creation_expression":
        holder = next((child for child in node.named_children if child.type in ("arguments", "argument_list")), None)
    if holder is None and node.type == "macro_invocation":
        holder = next((child for child in node.named_children if child.type == "token_tree"), None)
    if holder is not None:
        if holder.type in ("string", "template_string", "generator_expression"):  # tagged templates, sum(x for x in y)
            return [holder]
        return [child for child in holder.named_children if child.type != "comment"]
    if node.type == "command":
        return list(node.children_by_field_name("argument"))
    if node.child_by_field_name("method") is not None or node.child_by_field_name("name") is not None:
        return []
    return [child for child in node.named_children if child.type != "comment"]


def receiver(node: Node) -> Node | None:
    """Return what a method is called on."""
    found = node.child_by_field_name("object") or node.child_by_field_name("receiver")
    if found is not None:
        return found
    called = node.child_by_field_name("function")
    if called is not None and called.type in kinds.MEMBERS:
        for field in ("object", "operand", "value", "argument", "expression", "scope", "path"):
            found = called.child_by_field_name(field)
            if found is not None:
                return found
    return None


def pair_value(node: Node) -> Node:
    """Return the value of a pair or keyword argument, other nodes as they are."""
    if node.type in kinds.PAIRS:
        return node.child_by_field_name("value") or (node.named_children[-1] if node.named_children else node)
    return node


def statement_start(node: Node) -> int:
    """Return the byte at which the statement of a definition begins."""
    is_inner = node.type in ("variable_declarator", "init_declarator", "var_spec") and node.parent is not None
    return node.parent.start_byte if is_inner and node.parent is not None else node.start_byte
