"""Every field of a Responses request is honoured, refused or noted, and the documentation says which."""

import re
from pathlib import Path

import msgspec
import pytest

from firesteel.errors import RequestError
from firesteel.wire.openai_responses import CompactBody, CreateEvent, PromptBody, ResponsesBody
from firesteel.wire.response_items import ITEMS, UNSEEN
from firesteel.wire.responses_fields import NOTED, REFUSED, examine

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "responses.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [*NOTED, *REFUSED])
def test_the_tables_stand_in_the_documentation(path: str) -> None:
    assert f"| `{path}` | {NOTED.get(path) or REFUSED[path].remedy} |" in PAGE


@pytest.mark.parametrize("struct", [PromptBody, ResponsesBody, CompactBody, CreateEvent])
def test_every_field_is_documented(struct: type[msgspec.Struct]) -> None:
    pages = PAGE + (Path(__file__).parents[2] / "docs" / "reference" / "websocket.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_]+)[`.]", pages))
    assert not set(struct.__struct_fields__) - named - {"type", "text"}


@pytest.mark.parametrize("kind", [*ITEMS, *UNSEEN])
def test_every_kind_of_item_is_documented(kind: str) -> None:
    assert f"`{kind}`" in PAGE or f"`input.{kind}`" in PAGE or kind == "compaction_summary"


def test_what_asks_for_nothing_is_not_noted() -> None:
    body = ResponsesBody(model="m", client_metadata={}, user="")
    assert examine(body) == ()
    assert examine(ResponsesBody(model="m", personality="p", user="u")) == ("personality", "user")


@pytest.mark.parametrize("field", REFUSED)
def test_what_is_refused_names_the_field(field: str) -> None:
    with pytest.raises(RequestError) as refused:
        examine(msgspec.convert({"model": "m", field: "x"}, ResponsesBody))
    assert refused.value.param == field
