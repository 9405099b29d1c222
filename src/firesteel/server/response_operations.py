"""What the routes of `/v1/responses` take and give: their part of the OpenAPI document."""

from firesteel.server.operation import Operation
from firesteel.wire.openai_responses import CompactBody, PromptBody, ResponsesBody, SteerBody
from firesteel.wire.response_events import EVENTS, Deleted, ItemPage, SteerAccepted
from firesteel.wire.response_object import Compaction, InputTokens, ResponseObject

RESPONSES = (
    Operation(
        method="post",
        path="/v1/responses",
        summary="Answer, and remember the conversation.",
        body=ResponsesBody,
        responses=(ResponseObject,),
        events=EVENTS,
        has_done=True,
    ),
    Operation(
        method="post",
        path="/v1/responses/input_tokens",
        summary="Count the tokens of a prompt.",
        body=PromptBody,
        responses=(InputTokens,),
    ),
    Operation(
        method="post",
        path="/v1/responses/compact",
        summary="Make a conversation shorter.",
        body=CompactBody,
        responses=(Compaction,),
    ),
    Operation(
        method="get",
        path="/v1/responses/{id}",
        summary="Read a stored response, or follow one in the background.",
        responses=(ResponseObject,),
        events=EVENTS,
        has_done=True,
        query=("stream", "starting_after"),
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
        query=("after", "limit", "order"),
    ),
)
