"""Evaluates expressions of one function to constant text with holes: taint, without running anything.

Bounded: `MAX_STEPS` nodes for one question, `MAX_TOTAL` for one window, `MAX_DEPTH` deep. Beyond, a value is unknown.
"""

import re

from msgspec.structs import replace
from tree_sitter import Node

from firesteel.guard import kinds, syntax, taint
from firesteel.guard.imports import Imports
from firesteel.guard.scope import OWN, Definition, Definitions
from firesteel.guard.value import EVERYTHING, HOLE, Level, Value, either, formatted, hole, joined

MAX_STEPS = 200
MAX_TOTAL = 600  # 10 to 20 µs each; ordinary statements take ten
MAX_DEPTH = 24
MAX_CHILDREN = 40
CONSTANT_NAME = re.compile(
    r"^(?:[\w.]+\.)?_{0,2}[A-Z][A-Z0-9_]{2,}$|^(?:settings|os\.sep|os\.linesep|path\.sep|File\.separator)\b|^__\w+__$|^__dirname"
)
PATH_METHODS = frozenset(("joinpath", "resolve", "absolute", "normalize", "child", "push"))
INTERPOLATED = re.compile(r"\{(\w*)[^{}]*\}")


class Evaluator:
    """Answers what expressions of one parsed window may be."""

    def __init__(self, root: Node, source: bytes, language: str, imports: Imports | None = None) -> None:
        self.source = source
        self.language = language
        self.definitions = Definitions(root, source, language)
        self._imports = imports
        self._steps = 0
        self._total = 0
        self._open: set[tuple[str, int]] = set()  # names being resolved
        self._known: dict[int, Value] = {}  # by node: several rules ask about one place
        self._mentioned: dict[re.Pattern[bytes], bool] = {}

    def value(self, node: Node) -> Value:
        """Return what `node` may evaluate to."""
        known = self._known.get(node.id)
        if known is None:
            self._steps = 0
            known = self._known[node.id] = self._value(node, 0)
        return known

    def callee(self, node: Node) -> str:
        """Return the dotted name of what a call calls, as its module knows it."""
        name = syntax.callee(node, self.source)
        return self._imports.qualified(name) if self._imports is not None else name

    def mentions(self, pattern: re.Pattern[bytes]) -> bool:
        """Whether the window holds `pattern` anywhere: cheaper than to evaluate, asked for first."""
        known = self._mentioned.get(pattern)
        if known is None:
            known = self._mentioned[pattern] = pattern.search(self.source) is not None
        return known

    def text(self, node: Node) -> str:
        """Return the source of a node."""
        return self.source[node.start_byte : node.end_byte].decode(errors="replace")

    def _value(self, node: Node, depth: int) -> Value:
        self._steps += 1
        self._total += 1
        if depth > MAX_DEPTH or self._steps > MAX_STEPS or self._total > MAX_TOTAL:
            return hole(Level.unknown)
        kind, depth = node.type, depth + 1
        if kind in kinds.STRINGS or kind in kinds.CONCATENATED:
            return self._string(node, depth)
        if kind in kinds.CONSTANTS:
            return Value(self.text(node)[:200].replace(HOLE, ""))
        if kind in kinds.IDENTIFIERS:
            return self._name(node, depth)
        if kind in kinds.CALLS:
            return self._call(node, depth)
        if kind in kinds.MEMBERS or kind in kinds.SUBSCRIPTS:
            return self._member(node, depth)
        if kind in kinds.BINARIES:
            return self._binary(node, depth)
        if kind in kinds.CONDITIONALS:
            return self._conditional(node, depth)
        if kind in kinds.SEQUENCES or kind in kinds.MAPPINGS:
            return self._sequence(node, depth)
        return self._other(node, depth)

    def _other(self, node: Node, depth: int) -> Value:
        if node.type in kinds.FUNCTIONS or self.source.startswith(b"typeof", node.start_byte):
            return hole(Level.trusted)
        inner = node.child_by_field_name("value") or node.child_by_field_name("operand")
        if inner is not None:
            return self._value(inner, depth)
        children = node.named_children[:MAX_CHILDREN]
        if not children:
            return Value(self.text(node)[:200].replace(HOLE, "")) if not node.is_named else hole(Level.unknown)
        return either([self._value(child, depth) for child in children])

    def _string(self, node: Node, depth: int) -> Value:
        parts = []
        for child in node.named_children[: 4 * MAX_CHILDREN]:
            if child.type in kinds.STRING_PARTS:
                parts.append(Value(self.text(child).replace(HOLE, "")))
            elif child.type not in kinds.STRING_EDGES:
                parts.append(self._value(child, depth))
        if not parts:
            parts.append(Value(self.text(node).strip("\"'`").replace(HOLE, "")))
        return joined(parts)

    def _name(self, node: Node, depth: int) -> Value:
        name = syntax.plain(self.source[node.start_byte : node.end_byte])
        if self.language == "bash":
            name = name.strip("{}")
        if taint.SOURCE[self.language].search(name):
            return hole(Level.outside, name)
        return self._resolved(name, node, depth)

    def _resolved(self, name: str, use: Node, depth: int) -> Value:
        key = (name, use.start_byte)
        if key in self._open or len(self._open) > 12:
            return Value()
        self._open.add(key)
        try:
            return self._looked_up(name, use, depth)
        finally:
            self._open.discard(key)

    def _looked_up(self, name: str, use: Node, depth: int) -> Value:
        found = self.definitions.before(name, use)
        unassigned = self._unassigned(name, use)
        is_known = bool(found) and not found[0].is_added and (found[0].is_sure or not unassigned.is_parameter)
        options = [] if is_known else [unassigned]
        for definition in found:
            value = self._given(name, definition, depth)
            if definition.is_added:
                options = [joined([each, value], " " if each.is_sequence else "") for each in options[-3:]]
            else:
                options.append(value)
        return either(options)

    def _given(self, name: str, definition: Definition, depth: int) -> Value:
        value = self._known.get(definition.value.id)
        if value is None:
            value = self._known[definition.value.id] = self._value(definition.value, depth)
        if definition.is_element:
            return hole(value.level, name) if value.level else Value()
        if value.is_built and value.cause is None:
            return replace(value, cause=syntax.statement_start(definition.node))
        return value

    def _unassigned(self, name: str, use: Node) -> Value:
        parameter = self.definitions.parameter(name, use)
        if parameter is not None:
            value = hole(parameter.level, name)
            return value.made_safe((EVERYTHING,)) if parameter.is_numeric else value
        return hole(Level.trusted if CONSTANT_NAME.match(name) or name in OWN else Level.unknown, name)

    def _member(self, node: Node, depth: int) -> Value:
        name = syntax.plain(self.source[node.start_byte : node.end_byte])
        if taint.SOURCE[self.language].search(name):
            return hole(Level.outside, name)
        if CONSTANT_NAME.match(name):
            return hole(Level.trusted, name)
        if node.type in kinds.MEMBERS and self.definitions.before(name, node):
            return self._resolved(name, node, depth)
        owner = node.named_children[0] if node.named_children else None
        if owner is None:
            return hole(Level.unknown, name)
        value = self._value(owner, depth)
        level = max(value.level, Level.unknown) if value.holes or node.type in kinds.MEMBERS else Level.trusted
        return hole(level, name) if level else Value()

    def _binary(self, node: Node, depth: int) -> Value:
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        if left is None or right is None:
            return either([self._value(child, depth) for child in node.named_children[:4]])
        operator = node.child_by_field_name("operator")
        sign = operator.type if operator is not None else ""
        if sign == "%":
            template = self._value(left, depth)
            return formatted(template, self._values(right, depth)) if template.skeleton not in ("", HOLE) else template
        if sign in ("+", ".", "<<", "+=", ".."):
            return joined([self._value(left, depth), self._value(right, depth)])
        if sign == "*":
            return self._value(left, depth)
        if sign == "/" and self.language == "python":  # pathlib
            return joined([self._value(left, depth), self._value(right, depth)], "/")
        if sign in ("or", "||", "??", "?:", "and", "&&", "|"):
            return either([self._value(left, depth), self._value(right, depth)])
        return Value()

    def _values(self, node: Node, depth: int) -> list[Value]:
        """Return the values for a template's placeholders: of a tuple or list each element's."""
        if node.type in ("tuple", "array", "list", "dictionary", "hash"):
            return [self._value(syntax.pair_value(child), depth) for child in node.named_children[:MAX_CHILDREN]]
        if node.type == "parenthesized_expression" and node.named_child_count == 1:
            return [self._value(node.named_children[0], depth)]
        return [self._value(node, depth)]

    def _conditional(self, node: Node, depth: int) -> Value:
        then, other = node.child_by_field_name("consequence"), node.child_by_field_name("alternative")
        children = node.named_children
        both = [then, other] if then is not None and other is not None else children[:1] + children[2:3]
        return either([self._value(child, depth) for child in both])

    def _sequence(self, node: Node, depth: int) -> Value:
        if "comprehension" in node.type or node.type == "generator_expression":
            body = node.child_by_field_name("body") or (node.named_children[0] if node.named_children else None)
            values = [self._value(body, depth)] if body is not None else []
        else:
            values = [self._value(syntax.pair_value(child), depth) for child in node.named_children[:MAX_CHILDREN]]
        whole = joined(values, " ")
        return Value(whole.skeleton, whole.holes, True, whole.cause)

    def _call(self, node: Node, depth: int) -> Value:
        name, given = self.callee(node), syntax.arguments(node)
        called = name if name.endswith("`") else f"{name}()"
        if taint.SOURCE[self.language].search(called):
            return hole(Level.outside, called)
        if node.type == "macro_invocation":
            return self._macro(node, name, depth)
        if name.endswith(".join") and not taint.JOINED_PATHS.search(name):
            return self._joined(node, given, depth)
        if taint.NUMERIC.search(name):
            return hole(Level.trusted, name)
        if taint.FORMATS.search(name):
            return self._format(node, name, given, depth)
        safe = taint.safe_kinds(name)
        values = [self._value(syntax.pair_value(each), depth) for each in given[:8]]
        owner = syntax.receiver(node)
        if safe:
            owned = [self._value(owner, depth)] if owner is not None and not values else []
            return joined([*owned, *values], " ").made_safe(safe)
        value = self._returned(node, name, owner, values, depth)
        replaced = taint.replaced_kinds(name, " ".join(self.text(each) for each in given[:3]))
        return value.made_safe(replaced) if replaced else value

    def _returned(self, node: Node, name: str, owner: Node | None, values: list[Value], depth: int) -> Value:
        if taint.JOINED_PATHS.search(name):
            return joined([*self._path_start(name, owner, depth), *values], "/")
        if taint.EMPTY.search(name) and not values:
            return Value()
        if taint.CONVERTED.search(name) and values:
            return either(values)
        if taint.PASSED_ON.search(name):
            owned = [self._value(owner, depth)] if owner is not None else []
            relevant = [value for value in [*owned[:1], *values] if value.holes]
            if owned and owned[0].skeleton and not owned[0].is_constant:
                return owned[0]
            return either(relevant) if relevant else either([*owned, *values])
        owned = [self._value(owner, depth)] if owner is not None and owner.type != "identifier" else []
        if owner is not None and owner.type in kinds.IDENTIFIERS:
            owned = [self._name(owner, depth)]
        level = max([value.level for value in (*owned, *values)], default=Level.unknown)
        highest = Level.outside if taint.DECODED.search(name) else Level.parameter
        return hole(max(Level.unknown, min(level, highest)), name)

    def _path_start(self, name: str, owner: Node | None, depth: int) -> list[Value]:
        if owner is None or name.rsplit(".", 1)[-1] not in PATH_METHODS:
            return []
        return [self._value(owner, depth)]

    def _format(self, node: Node, name: str, given: list[Node], depth: int) -> Value:
        owner = syntax.receiver(node)
        if self.language == "python" or name.endswith((".formatted", ".format_map")):
            template = self._value(owner, depth) if owner is not None else hole(Level.unknown)
        elif self.language in ("c", "cpp") and name.endswith(("sprintf", "snprintf")):
            skipped = 2 if name.endswith("snprintf") else 1
            if len(given) <= skipped:
                return hole(Level.unknown)
            template, given = self._value(given[skipped], depth), given[skipped + 1 :]
        elif given:
            template, given = self._value(given[0], depth), given[1:]
        else:
            return hole(Level.unknown)
        return formatted(template, [self._value(syntax.pair_value(each), depth) for each in given[:MAX_CHILDREN]])

    def _joined(self, node: Node, given: list[Node], depth: int) -> Value:
        owner = syntax.receiver(node)
        items, separator = (
            (given[0] if given else None, owner) if self.language in ("python", "rust") else (owner, None)
        )
        value = self._value(items, depth) if items is not None else hole(Level.unknown)
        if value.is_constant:
            return Value(value.skeleton, value.holes)
        mark = self._value(separator, depth).skeleton if separator is not None else ""
        return joined([Value(mark or " "), Value(value.skeleton, value.holes, cause=value.cause)])

    def _macro(self, node: Node, name: str, depth: int) -> Value:
        inner = syntax.arguments(node)
        if not inner or not name.endswith(("format!", "format_args!", "concat!", "println!")):
            return hole(Level.unknown, name)
        template, values = self._value(inner[0], depth), [self._value(each, depth) for each in inner[1:MAX_CHILDREN]]
        if not values:
            written = [found[1] for found in INTERPOLATED.finditer(template.skeleton)]
            values = [self._resolved(each, node, depth) for each in written]
        return formatted(template, values)
