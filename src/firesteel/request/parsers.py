"""Which parser reads which kind of request body."""

from firesteel.request import anthropic, infill, openai_chat, openai_completions

PARSERS = {
    "chat": openai_chat.parse,
    "completion": openai_completions.parse,
    "messages": anthropic.parse,
    "infill": infill.parse,
}
