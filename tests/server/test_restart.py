"""A server that starts again finds what the one before it computed."""

from pathlib import Path
from typing import Any

from tests.server.live import Live, serving

SCRIPT = {"rules": [{"match": "", "mode": "hash"}]}
LONG = "Explain this: " + "x = compute(y); " * 200


def ask(live: Live, messages: list[dict[str, Any]]) -> tuple[str, int, int]:
    """Return the answer, and how many of the prompt's tokens there are and were cached."""
    with live.openai() as client:
        answer = client.chat.completions.create(model="scripted", messages=messages, max_tokens=40, temperature=0)  # type: ignore[arg-type]
    usage = answer.usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    return answer.choices[0].message.content or "", usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens or 0


def test_a_conversation_of_many_answers_goes_on_after_a_restart(tmp_path: Path) -> None:
    env = {"FIRESTEEL_HOME": str(tmp_path)}
    messages: list[dict[str, Any]] = [{"role": "user", "content": LONG}]
    known = 0
    with serving("--disk-cache", "100", script=SCRIPT, env=env) as live:
        for turn in range(5):
            text, known, _ = ask(live, messages)
            messages += [{"role": "assistant", "content": text}, {"role": "user", "content": f"go on {turn}"}]
    with serving("--disk-cache", "100", script=SCRIPT, env=env) as live:
        _, num_prompt, num_cached = ask(live, messages)
    assert num_prompt > known
    assert num_cached >= known - 3  # all but the last answer, whose last token has no KV
