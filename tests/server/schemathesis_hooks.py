"""What schemathesis is told beside the document: a refusal must name the field at fault and the remedy."""

import re
from typing import Any

import schemathesis

# What tells people what to do: an imperative, a known name, or what would be taken.
REMEDY = re.compile(
    r"\b(send|remove|see|use|try|lower|raise|set|start|did you mean|There is|name|let|end|ask)\b|[Ee]xpect"
)


@schemathesis.check
def refusal_names_field_and_remedy(ctx: Any, response: Any, case: Any) -> None:
    """Every 4xx says what was wrong, where, and what to send instead, in the API's own shape."""
    del ctx
    if not 400 <= response.status_code < 500:
        return
    error = response.json()["error"]
    assert error["message"], "an error without words"
    assert REMEDY.search(error["message"]), f"no remedy in: {error['message']}"
    if response.status_code == 400 and "param" in error and error.get("code") not in ("invalid_json", "invalid_http"):
        assert error["param"] or "body" in error["message"], f"no field in: {error}"
