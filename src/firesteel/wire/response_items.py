"""The items of a Responses input, one struct for each kind, as clients send them back to us.

Clients replay what they were given with every field it had, so that fields of the output are allowed here.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from firesteel.wire.openai_responses import Item

Name = Annotated[str, Meta(min_length=1, max_length=256)]


class Part(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One part of a message, or of a tool's output."""

    type: Literal["input_text", "output_text", "text", "refusal", "input_image", "input_file", "input_audio"]
    text: str | None = None
    refusal: str | None = None
    annotations: Any = None
    logprobs: Any = None
    detail: Any = None
    file_data: Any = None
    file_id: Any = None
    file_url: Any = None
    filename: Any = None
    image_url: Any = None
    input_audio: Any = None
    prompt_cache_breakpoint: Any = None


class ItemFields(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What items have in common."""

    id: str | None = None
    status: str | None = None
    caller: Any = None
    created_by: Any = None
    internal_chat_message_metadata_passthrough: Any = None


class MessageItem(ItemFields, forbid_unknown_fields=True, kw_only=True):
    """A message. Its type may be left out."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]
    type: Literal["message"] = "message"
    phase: Literal["commentary", "final_answer"] | None = None
    name: str | None = None
    end_turn: Any = None


class FunctionCallIn(ItemFields, forbid_unknown_fields=True, kw_only=True):
    """A call that the assistant made."""

    type: Literal["function_call"]
    call_id: str
    name: Name
    arguments: str
    namespace: str | None = None
    parsed_arguments: Any = None


class CustomCallIn(ItemFields, forbid_unknown_fields=True, kw_only=True):
    """A call with plain text as its input."""

    type: Literal["custom_tool_call"]
    call_id: str
    name: Name
    input: str
    namespace: str | None = None


class CallOutput(ItemFields, forbid_unknown_fields=True, kw_only=True):
    """What a tool answered."""

    type: Literal["function_call_output", "custom_tool_call_output"]
    output: str | list[Part]
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None


class ToolSearchCallIn(ItemFields, forbid_unknown_fields=True, kw_only=True):
    """A search for tools that the assistant asked the client for."""

    type: Literal["tool_search_call"]
    arguments: Any
    call_id: str | None = None
    execution: str | None = None


class ToolSearchOutput(ItemFields, forbid_unknown_fields=True, kw_only=True):
    """The tools that the client found; from here on they may be called."""

    type: Literal["tool_search_output"]
    tools: list[Item]
    call_id: str | None = None
    execution: str | None = None


class AdditionalTools(ItemFields, forbid_unknown_fields=True, kw_only=True):
    """Tools that may be called from here on."""

    type: Literal["additional_tools"]
    tools: list[Item]
    role: Literal["developer"] | None = None


class CompactionIn(ItemFields, forbid_unknown_fields=True, kw_only=True):
    """What `POST /v1/responses/compact` made of an earlier conversation."""

    type: Literal["compaction", "compaction_summary"]
    encrypted_content: str


ITEMS: dict[str, type[msgspec.Struct]] = {
    "message": MessageItem,
    "function_call": FunctionCallIn,
    "custom_tool_call": CustomCallIn,
    "function_call_output": CallOutput,
    "custom_tool_call_output": CallOutput,
    "tool_search_call": ToolSearchCallIn,
    "tool_search_output": ToolSearchOutput,
    "additional_tools": AdditionalTools,
    "compaction": CompactionIn,
    "compaction_summary": CompactionIn,
}
"""Kinds of items that the model is shown, or that change what it may do."""

UNSEEN = frozenset(
    {
        "reasoning",
        "configuration_update",
        "compaction_trigger",
        "web_search_call",
        "file_search_call",
        "image_generation_call",
        "code_interpreter_call",
        "mcp_list_tools",
        "mcp_call",
    }
)
"""Kinds of items that other servers made and clients replay; they are not shown to the model, and noted."""
