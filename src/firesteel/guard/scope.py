"""Definitions inside one function: what a name may hold at a place, and who decided that."""

import re
from functools import cache
from operator import itemgetter

from msgspec import Struct
from msgspec.structs import replace
from tree_sitter import Node, Query, QueryCursor

from firesteel.guard import kinds, syntax
from firesteel.guard.value import Level

GROWERS = re.compile(
    rb"^\s*[@$]?[\w.>$-]+(?:\.|->)(?:append|push|add|Append|AppendFormat|AppendLine|push_str|WriteString|extend|insert)\s*\("
)
NUMERIC_TYPES = re.compile(
    rb"(?<![\w<.])(?:int|long|short|byte|float|double|boolean|bool|Integer|Long|Double|Boolean|u?int(?:8|16|32|64)|float(?:32|64)|"
    rb"[iu](?:8|16|32|64|size)|f(?:32|64)|size_t|ssize_t|unsigned|Guid|UUID|DateTime|LocalDate|number|Int32|Int64|time\.Time|"
    rb"time\.Duration)(?![\w\[<])(?!\s*\*)"
)
HANDLERS = re.compile(
    rb"@[\w.]*\b(?:route|get|post|put|delete|patch|api_route|websocket|api_view|view_config|expose|on|require_\w+|login_required|"
    rb"app|event|command_handler)\b|\[(?:Http(?:Get|Post|Put|Delete)|Route)"
)
OUTSIDE_PARAMETERS = re.compile(
    rb"@(?:RequestParam|PathVariable|RequestBody|QueryParam|PathParam|RequestHeader|FormParam|CookieValue|Query|Body|Param)\b|"
    rb"\[From(?:Query|Body|Route|Form|Header)|web::(?:Query|Path|Form|Json)|\b(?:Query|Path|Form|Json)<"
)
REQUESTS = re.compile(r"^(?:request|req|_request|r|ctx)$")
TYPED = frozenset(("java", "go", "c", "cpp", "csharp", "rust", "typescript"))
OWN = frozenset(("self", "cls", "this"))
MAX_DEFINITIONS = 12  # of one name; the last ones count
MAX_TARGET = 400  # bytes of a definition in which the defined name stands
WORD = re.compile(rb"\w+")


class Definition(Struct, frozen=True):
    """`node` gives the name a value: `value` itself, one of its elements, or something added to what was there."""

    node: Node
    value: Node
    is_added: bool = False
    is_element: bool = False
    is_sure: bool = False  # control always passes it before the use that was asked about


class Parameter(Struct, frozen=True):
    """A parameter: who decides about it, and whether its type leaves only numbers."""

    level: Level
    is_numeric: bool = False


class Definitions:
    """The assignments and parameters of one parsed window, by name; read when the first name is asked for."""

    def __init__(self, root: Node, source: bytes, language: str) -> None:
        self._root = root
        self._source = source
        self._language = language
        self._by_name: dict[str, list[Definition]] = {}
        self._nodes: list[tuple[Node, bytes]] | None = None
        self._definitions: dict[int, list[tuple[str, Definition]]] = {}
        self._parameters: dict[int, dict[str, Parameter]] = {}

    def text(self, node: Node) -> str:
        """Return the source of a node, at most 400 bytes."""
        return self._source[node.start_byte : min(node.end_byte, node.start_byte + 400)].decode(errors="replace")

    def before(self, name: str, use: Node) -> list[Definition]:
        """Return what may have given `name` its value before `use`, in order, from the last sure assignment on."""
        defined = self._by_name.get(name)
        if defined is None:
            defined = self._by_name[name] = self._collect(name)
        found = [each for each in defined if each.node.start_byte < use.start_byte]
        found = [each for each in found if each.value.end_byte <= use.start_byte or not _inside(use, each.value)]
        kept: list[Definition] = []
        for each in reversed(found[-MAX_DEFINITIONS:]):
            is_sure = not each.is_added and _dominates(each.node, use)
            kept.append(replace(each, is_sure=is_sure))
            if is_sure:
                break
        return kept[::-1]

    def _collect(self, name: str) -> list[Definition]:
        """Read those nodes that mention `name`: reading all of them took longer than the parse."""
        if self._nodes is None:
            self._nodes = self._find()
        parts = WORD.findall(name.encode(errors="replace"))
        word = parts[-1] if parts else b""
        found: list[Definition] = []
        for index, (node, head) in enumerate(self._nodes):
            if word not in head:
                continue
            read = self._definitions.get(index)
            if read is None:
                read = self._definitions[index] = self._read(node)
            found += [definition for defined, definition in read if defined == name]
        return found

    def _find(self) -> list[tuple[Node, bytes]]:
        """Return what may be a definition, in order, each with the source of its beginning."""
        nodes = QueryCursor(_query(self._language)).captures(self._root).get("found", [])
        placed = sorted(((node.start_byte, node) for node in nodes), key=itemgetter(0))
        return [(node, self._source[start : min(node.end_byte, start + MAX_TARGET)]) for start, node in placed]

    def _read(self, node: Node) -> list[tuple[str, Definition]]:
        if node.type in kinds.CALLS:
            return self._read_growth(node)
        if node.type in ("binary", "expression_list"):  # Ruby: text << more
            return self._read_shovel(node)
        left, right = _sides(node)
        if left is None or right is None:
            return []
        operator = node.child_by_field_name("operator")
        is_added = "augmented" in node.type or node.type in ("operator_assignment", "compound_assignment_expr")
        if operator is not None:
            is_added = self._source[operator.start_byte : operator.end_byte].strip() in (b"+=", b".=", b"||=", b"<<=")
        is_element = node.type.startswith(("for", "range", "enhanced"))
        lefts = left.named_children if left.type in ("expression_list", "pattern_list", "tuple_pattern") else [left]
        rights = right.named_children if right.type in ("expression_list", "tuple") else [right]
        if len(lefts) == len(rights) > 1:
            pairs = list(zip(lefts, rights, strict=True))
        else:
            pairs = [(each, right) for each in lefts]
        found: list[tuple[str, Definition]] = []
        for target, value in pairs:
            destructured = is_element or target.type.endswith(("_pattern", "pattern_list")) or len(lefts) > len(rights)
            definition = Definition(node, value, is_added, destructured)
            found.extend((name, definition) for name in self._names(target))
        return found

    def _read_growth(self, node: Node) -> list[tuple[str, Definition]]:
        if self._language in ("c", "cpp"):
            return self._read_buffer(node)
        if not GROWERS.match(self._source[node.start_byte : node.start_byte + 120]):
            return []
        owner, given = syntax.receiver(node), syntax.arguments(node)
        if owner is None or not given:
            return []
        name = syntax.plain(self._source[owner.start_byte : owner.end_byte])
        return [(name, Definition(node, each, is_added=True)) for each in given[-1:]]

    def _read_buffer(self, node: Node) -> list[tuple[str, Definition]]:
        """Read `sprintf(buffer, ...)`, `strcpy(buffer, text)` and `strcat(buffer, text)`."""
        name = syntax.callee(node, self._source).removeprefix("std.")
        given = syntax.arguments(node)
        if name not in ("sprintf", "snprintf", "strcpy", "strncpy", "strcat", "strncat") or len(given) < 2:
            return []
        value = node if name.endswith("printf") else given[1]
        target = syntax.plain(self._source[given[0].start_byte : given[0].end_byte])
        return [(target, Definition(node, value, is_added="cat" in name))]

    def _read_shovel(self, node: Node) -> list[tuple[str, Definition]]:
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        operator = node.child_by_field_name("operator")
        if left is None or right is None or operator is None or operator.type != "<<":
            return []
        return [(name, Definition(node, right, is_added=True)) for name in self._names(left)]

    def _names(self, node: Node) -> list[str]:
        if node.type in kinds.IDENTIFIERS or node.type in kinds.MEMBERS:
            return [syntax.plain(self._source[node.start_byte : node.end_byte])]
        if node.type in kinds.SUBSCRIPTS or node.type.endswith("type"):
            return []
        return [name for child in node.named_children[:8] for name in self._names(child)]

    def parameter(self, name: str, use: Node) -> Parameter | None:
        """Return the parameter of that name of the innermost function around `use` that has one."""
        node: Node | None = use
        while node is not None:
            if node.type in kinds.FUNCTIONS:
                known = self._parameters.get(node.id)
                if known is None:
                    known = self._parameters[node.id] = self._read_parameters(node)
                if name in known:
                    return known[name]
            node = node.parent
        return None

    def _read_parameters(self, function: Node) -> dict[str, Parameter]:
        holder = _parameter_holder(function)
        if holder is None:
            return {}
        top = (
            function.parent
            if function.parent is not None and function.parent.type == "decorated_definition"
            else function
        )
        head = self._source[top.start_byte : holder.start_byte]
        is_handler = HANDLERS.search(head) is not None
        found: dict[str, Parameter] = {}
        for index, child in enumerate(holder.named_children if holder.type not in kinds.IDENTIFIERS else [holder]):
            text = self._source[child.start_byte : child.end_byte]
            is_numeric = self._language in TYPED and NUMERIC_TYPES.search(text) is not None
            outside = is_handler or OUTSIDE_PARAMETERS.search(text) is not None
            for name in self._parameter_names(child):
                if self._language == "python" and index <= 1 and REQUESTS.match(name):
                    is_handler = name != "r"
                own = name in OWN and index == 0
                has_default = child.type.endswith("default_parameter")  # a framework passes what the route names
                level = Level.unknown if own else Level.outside if outside and not has_default else Level.parameter
                found[name] = Parameter(level, is_numeric)
        return found

    def _parameter_names(self, node: Node) -> list[str]:
        if node.type in kinds.IDENTIFIERS or node.type == "shorthand_property_identifier_pattern":
            return [syntax.plain(self._source[node.start_byte : node.end_byte])]
        for field in ("name", "pattern", "declarator", "left"):
            named = node.child_by_field_name(field)
            if named is not None:
                return self._parameter_names(named)
        kept = [child for child in node.named_children[:12] if "type" not in child.type and child.type != "modifiers"]
        return [name for child in kept for name in self._parameter_names(child)]


@cache
def _query(language: str) -> Query:
    wanted = kinds.ASSIGNMENTS | {"call", "call_expression", "method_invocation", "invocation_expression"}
    return syntax.query(language, wanted | {"binary"} if language == "ruby" else wanted)


def _sides(node: Node) -> tuple[Node | None, Node | None]:
    if node.type in ("as_pattern", "foreach_statement") and node.child_by_field_name("left") is None:
        children = node.named_children
        if len(children) < 2:
            return None, None
        return (children[1], children[0])
    left = next((side for field in LEFT if (side := node.child_by_field_name(field)) is not None), None)
    right = next((side for field in RIGHT if (side := node.child_by_field_name(field)) is not None), None)
    if right is None and node.type == "variable_declarator" and node.named_child_count > 1:  # C#
        right = node.named_children[-1]
    return left, right


LEFT, RIGHT = kinds.LEFT_FIELDS, kinds.RIGHT_FIELDS


def _parameter_holder(function: Node) -> Node | None:
    for field in ("parameters", "parameter"):
        holder = function.child_by_field_name(field)
        if holder is not None:
            return holder
    node = function.child_by_field_name("declarator")
    while node is not None:
        holder = node.child_by_field_name("parameters")
        if holder is not None:
            return holder
        node = node.child_by_field_name("declarator")
    return None


def _inside(inner: Node, outer: Node) -> bool:
    return outer.start_byte <= inner.start_byte and inner.end_byte <= outer.end_byte


def _dominates(definition: Node, use: Node) -> bool:
    """Whether control always passes `definition` before `use`: its block also holds the use."""
    parent = definition.parent
    while parent is not None and parent.type not in BLOCKS:
        parent = parent.parent
    return parent is None or _inside(use, parent)


BLOCKS = frozenset(
    [
        "block",
        "statement_block",
        "compound_statement",
        "body_statement",
        "then",
        "else",
        "do_block",
        "statement_list",
        "program",
        "module",
        "source_file",
        "translation_unit",
        "compilation_unit",
        "else_clause",
        "elsif",
        "elif_clause",
        "case_statement",
        "switch_body",
        "do_group",
    ]
)
