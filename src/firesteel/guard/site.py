"""Places where something happens with values: calls, assignments to members, pairs, returned values."""

from collections.abc import Iterator
from functools import cache
from typing import Literal

from tree_sitter import Node, Query, QueryCursor

from firesteel.guard import kinds, syntax
from firesteel.guard.evaluate import Evaluator
from firesteel.guard.taint import is_checked
from firesteel.guard.value import Hole, Level, Value

Kind = Literal["call", "assign", "pair", "return", "declare"]
MAX_SITES = 200
ASSIGNED = frozenset(
    [
        "assignment",
        "assignment_expression",
        "assignment_statement",
        "augmented_assignment_expression",
        "variable_assignment",
    ]
)
DECLARED = frozenset(
    [
        "assignment",
        "variable_declarator",
        "short_var_declaration",
        "init_declarator",
        "let_declaration",
        "assignment_expression",
        "augmented_assignment",
        "augmented_assignment_expression",
        "assignment_statement",
        "var_spec",
        "operator_assignment",
        "variable_assignment",
    ]
)
RETURNED = frozenset(("return_statement", "return", "return_expression"))


class Site:
    """One place. `name` is the callee, the assigned name or member, or the key; `parts` are arguments or the value."""

    def __init__(self, kind: Kind, name: str, node: Node, parts: list[Node], evaluator: Evaluator) -> None:
        self.kind = kind
        self.name = name
        self.node = node
        self.parts = parts
        self.evaluator = evaluator

    @property
    def last(self) -> str:
        """The last part of the name."""
        return self.name.rsplit(".", 1)[-1]

    @property
    def owner(self) -> str:
        """What stands before the last part of the name."""
        return self.name.rpartition(".")[0]

    def positional(self) -> list[Node]:
        """Return the arguments that are not given by name."""
        return [part for part in self.parts if part.type not in kinds.PAIRS]

    def argument(self, index: int) -> Value | None:
        """Return the value of a positional argument, None where there is none."""
        given = self.positional()
        return self.evaluator.value(given[index]) if index < len(given) else None

    def arguments(self) -> list[Value]:
        """Return the values of all positional arguments."""
        return [self.evaluator.value(part) for part in self.positional()[:8]]

    def keyword_node(self, *names: str) -> Node | None:
        """Return what is given by one of these names, here or in a mapping among the arguments."""
        for part in self.parts:
            for pair in part.named_children if part.type in kinds.MAPPINGS else (part,):
                if pair.type in kinds.PAIRS and pair.named_children:
                    key = self.evaluator.text(pair.named_children[0]).strip("\"':")
                    if key in names:
                        return pair.named_children[-1]
        return None

    def keyword(self, *names: str) -> Value | None:
        """Return the value that is given by one of these names."""
        node = self.keyword_node(*names)
        return self.evaluator.value(node) if node is not None else None

    def flag(self, *names: str) -> str:
        """Return what is written for a keyword, in lower case, "" when it is not given."""
        node = self.keyword_node(*names)
        return self.evaluator.text(node).lower() if node is not None else ""

    def first(self, *names: str) -> Value | None:
        """Return the first positional argument, or else the one given by one of `names`."""
        value = self.argument(0)
        return value if value is not None else self.keyword(*names)

    def text(self) -> str:
        """Return the source of the place."""
        return self.evaluator.text(self.node)

    def before(self) -> str:
        """Return the source of the window up to this place."""
        return self.evaluator.source[: self.node.start_byte].decode(errors="replace")

    def unchecked(self, holes: tuple[Hole, ...], index: int | None = None) -> tuple[Hole, ...]:
        """Return those of `holes` whose variable the function does not look at before this place.

        `index` is the argument that holds them; without it, all arguments count.
        """
        if not holes:
            return ()
        text = self.before()
        parts = self.positional()[:2] if index is None else self.positional()[index : index + 1]
        given = [name for part in parts for name in self._names(part, 0)]
        if given and all(is_checked(name, text) for name in given):
            return ()
        return tuple(each for each in holes if not (each.name and is_checked(_variable(each.name), text)))

    def _names(self, node: Node, depth: int) -> list[str]:
        if node.type in kinds.IDENTIFIERS or node.type in kinds.SUBSCRIPTS:
            name = self.evaluator.text(node)
            return [] if name.isupper() else [name]
        if depth > 6 or node.type in kinds.MEMBERS or node.type in kinds.FUNCTIONS:
            return []
        return [name for child in node.named_children[:8] for name in self._names(child, depth + 1)]


def _variable(name: str) -> str:
    return name if name.endswith("]") else name.split("(")[0].rsplit(".", 1)[-1] or name


def sites(root: Node, evaluator: Evaluator, start: int, end: int) -> Iterator[Site]:
    """Yield the places that end inside bytes `start` to `end`, inner ones first."""
    cursor = QueryCursor(_query(evaluator.language))
    cursor.set_byte_range(start, end)
    nodes = cursor.captures(root).get("found", [])
    found: list[Site] = []
    for node in sorted(nodes, key=_outer_first):
        if len(found) >= MAX_SITES:
            break
        if start < node.end_byte and node.start_byte < end:
            found.extend(_read(node, evaluator))
    yield from reversed(found)


def _outer_first(node: Node) -> tuple[int, int]:
    return node.start_byte, -node.end_byte


@cache
def _query(language: str) -> Query:
    return syntax.query(language, kinds.CALLS | ASSIGNED | DECLARED | kinds.PAIRS | RETURNED)


def _read(node: Node, evaluator: Evaluator) -> Iterator[Site]:
    kind = node.type
    if kind in kinds.CALLS:
        yield Site("call", evaluator.callee(node), node, syntax.arguments(node), evaluator)
    elif kind in DECLARED:
        left, right = _sides(node)
        if left is not None and right is not None:
            name = syntax.plain(evaluator.source[left.start_byte : left.end_byte])
            yield Site("declare", name, node, [right], evaluator)
            if kind in ASSIGNED and (
                left.type in kinds.MEMBERS
                or left.type in kinds.SUBSCRIPTS
                or left.type == "expression_list"
                or left.type == "call"
            ):
                yield Site("assign", name, node, [right], evaluator)
    elif kind in kinds.PAIRS and len(node.named_children) > 1:
        key = evaluator.text(node.named_children[0]).strip("\"':")
        yield Site("pair", key, node, node.named_children[-1:], evaluator)
    elif kind in RETURNED:
        returned = node.named_children[:1]
        if returned and returned[0].type == "expression_list":  # return page, 404
            returned = returned[0].named_children[:1]
        yield Site("return", "return", node, returned, evaluator)


def _sides(node: Node) -> tuple[Node | None, Node | None]:
    left = next((each for field in kinds.LEFT_FIELDS if (each := node.child_by_field_name(field)) is not None), None)
    right = next((each for field in kinds.RIGHT_FIELDS if (each := node.child_by_field_name(field)) is not None), None)
    if right is None and node.type == "variable_declarator" and node.named_child_count > 1:
        right = node.named_children[-1]
    return left, right


def worst(values: list[Value], kind: str, level: Level) -> Value | None:
    """Return the first value with a hole of at least `level` that is not safe for `kind`."""
    return next((value for value in values if value.risky(kind, level)), None)
