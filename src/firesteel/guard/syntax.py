"""The kinds of tree-sitter nodes, of all languages, by what they mean to the guard.

Grammars name alike what is alike, so one vocabulary serves them all; where two languages disagree, the code asks.
"""

import re
from functools import cache

from tree_sitter import Language, Node, Parser

STRINGS = frozenset(
    [
        "string",
        "string_literal",
        "interpreted_string_literal",
        "raw_string_literal",
        "encapsed_string",
        "template_string",
        "raw_string",
        "interpolated_string_expression",
        "verbatim_string_literal",
        "char_literal",
        "character_literal",
        "heredoc",
        "nowdoc",
        "ansi_c_string",
        "bare_string",
        "simple_symbol",
        "hash_key_symbol",
        "word",
        "text_block",
        "regex",
        "regex_literal",
    ]
)
STRING_PARTS = frozenset(
    [
        "string_content",
        "string_fragment",
        "interpreted_string_literal_content",
        "raw_string_literal_content",
        "escape_sequence",
        "string_literal_content",
        "multiline_string_fragment",
        "string_literal_encoding",
        "heredoc_content",
        "nowdoc_string",
        "raw_string_content",
        "heredoc_body",
    ]
)
STRING_EDGES = frozenset(
    [
        "string_start",
        "string_end",
        "interpolation_start",
        "interpolation_quote",
        "interpolation_brace",
        "heredoc_start",
        "heredoc_end",
        "type_conversion",
        "format_specifier",
        "heredoc_beginning",
        "interpolation_format_clause",
    ]
)
CONCATENATED = frozenset(("concatenated_string", "chained_string", "concatenation"))
CONSTANTS = frozenset(
    [
        "integer",
        "number",
        "float",
        "number_literal",
        "integer_literal",
        "real_literal",
        "decimal_integer_literal",
        "decimal_floating_point_literal",
        "true",
        "false",
        "none",
        "null",
        "nil",
        "boolean_literal",
        "null_literal",
        "int_literal",
        "float_literal",
        "boolean",
        "hex_integer_literal",
        "comparison_operator",
        "not_operator",
        "undefined",
        "rune_literal",
        "type_identifier",
        "primitive_type",
        "sizeof_expression",
    ]
)
TRANSPARENT = frozenset(
    [
        "parenthesized_expression",
        "parenthesized_statements",
        "await",
        "await_expression",
        "expression_list",
        "argument",
        "literal_element",
        "try_expression",
        "reference_expression",
        "pointer_expression",
        "as_expression",
        "non_null_expression",
        "as_pattern",
        "expression_statement",
        "spread_element",
        "list_splat",
        "splat_argument",
        "interpolation",
        "template_substitution",
        "satisfies_expression",
        "named_expression",
        "initializer_list",
        "variadic_argument",
        "block_argument",
        "literal_value",
        "checked_expression",
    ]
)
BINARIES = frozenset(("binary_operator", "binary_expression", "binary", "boolean_operator"))
CONDITIONALS = frozenset(("conditional_expression", "ternary_expression", "conditional"))
IDENTIFIERS = frozenset(
    [
        "identifier",
        "variable_name",
        "simple_expansion",
        "expansion",
        "instance_variable",
        "constant",
        "name",
        "field_identifier",
        "shorthand_property_identifier",
        "global_variable",
        "class_variable",
    ]
)
MEMBERS = frozenset(
    [
        "attribute",
        "member_expression",
        "selector_expression",
        "field_access",
        "member_access_expression",
        "field_expression",
        "scoped_identifier",
        "qualified_identifier",
        "class_constant_access_expression",
        "nullsafe_member_access_expression",
        "scope_resolution",
        "conditional_access_expression",
        "scoped_property_access_expression",
    ]
)
SUBSCRIPTS = frozenset(
    [
        "subscript",
        "subscript_expression",
        "index_expression",
        "element_reference",
        "element_access_expression",
        "array_access",
    ]
)
CALLS = frozenset(
    [
        "call",
        "call_expression",
        "method_invocation",
        "invocation_expression",
        "function_call_expression",
        "member_call_expression",
        "nullsafe_member_call_expression",
        "scoped_call_expression",
        "object_creation_expression",
        "new_expression",
        "macro_invocation",
        "command",
        "subshell",
        "shell_command_expression",
        "echo_statement",
        "include_expression",
        "include_once_expression",
        "require_expression",
        "require_once_expression",
        "print_intrinsic",
        "exit_statement",
        "command_substitution",
        "print_statement",
        "exec_statement",
    ]
)
SEQUENCES = frozenset(
    [
        "list",
        "tuple",
        "array",
        "array_expression",
        "array_creation_expression",
        "array_initializer",
        "set",
        "list_comprehension",
        "generator_expression",
        "composite_literal",
        "implicit_array_creation_expression",
        "string_array",
        "collection_expression",
    ]
)
MAPPINGS = frozenset(("dictionary", "object", "hash", "dictionary_comprehension"))
PAIRS = frozenset(("pair", "keyed_element", "keyword_argument", "array_element_initializer"))
ASSIGNMENTS = frozenset(
    [
        "assignment",
        "augmented_assignment",
        "for_statement",
        "named_expression",
        "for_in_clause",
        "variable_declarator",
        "assignment_expression",
        "augmented_assignment_expression",
        "for_in_statement",
        "enhanced_for_statement",
        "short_var_declaration",
        "var_spec",
        "const_spec",
        "assignment_statement",
        "range_clause",
        "operator_assignment",
        "foreach_statement",
        "init_declarator",
        "let_declaration",
        "compound_assignment_expr",
        "for_expression",
        "variable_assignment",
        "as_pattern",
    ]
)
FUNCTIONS = frozenset(
    [
        "function_definition",
        "lambda",
        "function_declaration",
        "method_definition",
        "arrow_function",
        "function_expression",
        "generator_function_declaration",
        "generator_function",
        "method_declaration",
        "constructor_declaration",
        "func_literal",
        "method",
        "singleton_method",
        "block",
        "do_block",
        "function_item",
        "closure_expression",
        "lambda_expression",
        "local_function_statement",
        "anonymous_function",
        "anonymous_function_creation_expression",
        "function",
    ]
)
LEFT_FIELDS = ("left", "name", "pattern", "declarator", "alias")
RIGHT_FIELDS = ("right", "value")
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
CALLED = re.compile(rb"\((?:[^()\"']|\"[^\"\n]*\"|'[^'\n]*')*\)")
MAX_NAME = 300
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


def plain(text: bytes) -> str:
    """Return a callee as a dotted name: arguments, spaces, sigils and the other separators of members are gone."""
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
    if called is not None and called.type in MEMBERS:
        for field in ("object", "operand", "value", "argument", "expression", "scope", "path"):
            found = called.child_by_field_name(field)
            if found is not None:
                return found
    return None
