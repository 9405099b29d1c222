"""What the routes of `/v1/responses` take and give: their part of the OpenAPI document."""

from firesteel.server.operation import Operation
from firesteel.server.query import FLAG, number_schema
from firesteel.wire.fields import Fates
from firesteel.wire.openai_responses import CompactBody, PromptBody, ResponsesBody, SteerBody
from firesteel.wire.response_events import EVENTS, Deleted, ItemPage, SteerAccepted
from firesteel.wire.response_object import Compaction, InputTokens, ResponseObject
from firesteel.wire.responses_fields import NOTED, REFUSED

FATES = Fates(NOTED, REFUSED)
_SOME_INPUT = {"required": ["input"], "properties": {"input": {"type": ["string", "array"], "minLength": 1}}}
_TEXT_ID = {"properties": {"previous_response_id": {"type": "string"}}}

RESPONSES = (
    Operation(
        method="post",
        path="/v1/responses",
        summary="Answer, and remember the conversation.",
        body=ResponsesBody,
        fates=FATES,
        responses=(ResponseObject,),
        events=EVENTS,
        has_done=True,
    ),
    Operation(
        method="post",
        path="/v1/responses/input_tokens",
        summary="Count the tokens of a prompt.",
        body=PromptBody,
        fates=FATES,
        responses=(InputTokens,),
    ),
    Operation(
        method="post",
        path="/v1/responses/compact",
        summary="Make a conversation shorter.",
        body=CompactBody,
        also={"anyOf": [_SOME_INPUT, {"required": ["previous_response_id"], **_TEXT_ID}]},
        fates=FATES,
        responses=(Compaction,),
    ),
    Operation(
        method="get",
        path="/v1/responses/{id}",
        summary="Read a stored response, or follow one in the background.",
        responses=(ResponseObject,),
        events=EVENTS,
        has_done=True,
        query={"stream": {"enum": list(FLAG)}, "starting_after": number_schema(-1)},
    ),
    Operation(method="delete", path="/v1/responses/{id}", summary="Forget a response.", responses=(Deleted,)),
    Operation(
        method="post", path="/v1/responses/{id}/cancel", summary="End a response now.", responses=(ResponseObject,)
    ),
    Operation(
        method="post",
        path="/v1/responses/{id}/steer",
        summary="Break into a response with the user's new words.",
        body=SteerBody,
        responses=(SteerAccepted,),
    ),
    Operation(
        method="get",
        path="/v1/responses/{id}/input_items",
        summary="List what a response answers.",
        responses=(ItemPage,),
        query={
            "after": {"type": "string"},
            "limit": number_schema(1, 100),
            "order": {"enum": ["asc", "desc"]},
        },
    ),
)
