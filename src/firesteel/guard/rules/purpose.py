"""What a value is for, as far as the words around it tell."""

import re

from firesteel.guard.site import Site


def purpose(site: Site) -> str:
    """Return the statement around a place and the name of its function: what the value is for."""
    source = site.evaluator.source
    node = site.node
    while node.parent is not None and not node.type.endswith(
        ("statement", "declaration", "assignment", "declarator", "pair")
    ):
        node = node.parent
    around = source[max(0, node.start_byte - 60) : min(node.end_byte, node.start_byte + 600)].decode(errors="replace")
    parent = site.node.parent
    while parent is not None and not re.match(r"function|method|lambda", parent.type):
        parent = parent.parent
    named = parent.child_by_field_name("name") if parent is not None else None
    return around + " " + (site.evaluator.text(named) if named is not None else "")
