"""Real clients on the real model: their first text arrives. A model of this size holds no tool loop."""

from collections.abc import Iterator

import openai
import pytest

from tests.clients.app_server import app_server
from tests.clients.installed import User, client
from tests.e2e.conftest import serve
from tests.server.live import Live

pytestmark = [pytest.mark.model, pytest.mark.clients, pytest.mark.timeout(600)]

SECONDS = 300.0  # Codex's first prompt has some 5,000 tokens, and others may work on the same cores


@pytest.fixture(scope="module")
def live(model: str) -> Iterator[Live]:
    with serve("--context", "16384", "--quantize", "q4_0") as live:
        yield live


@pytest.fixture(scope="module")
def someone(live: Live, tmp_path_factory: pytest.TempPathFactory) -> User:
    return User(tmp_path_factory.mktemp("home"), live.url)


@pytest.fixture(autouse=True)
def nothing_is_left(live: Live) -> Iterator[None]:
    yield
    live.wait_idle()


def test_codex_shows_text_and_is_interrupted(someone: User) -> None:
    codex = client("codex")
    someone.setup("codex")
    with app_server(codex, someone, SECONDS) as server:
        thread, turn = server.begin(someone, "Write a long story about a lighthouse. Use no tools.")
        assert server.until("item/agentMessage/delta")["delta"]
        server.ask("turn/interrupt", threadId=thread, turnId=turn)
        assert server.until("turn/completed")["turn"]["status"] == "interrupted"


def test_llm_prints_an_answer(someone: User) -> None:
    llm = client("llm")
    someone.setup("llm")
    asked = ("What is the capital of France? Answer in one word.", "-o", "max_tokens", "20", "-o", "temperature", "0")
    assert "Paris" in someone.run(llm, "-m", "firesteel", *asked, seconds=SECONDS)


def test_the_sdk_streams_a_response(live: Live) -> None:
    with live.openai(timeout=SECONDS) as sdk:
        model = sdk.models.list().data[0].id
        with sdk.responses.stream(model=model, input="Say hello.", max_output_tokens=20) as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert "response.output_text.delta" in kinds
    assert final.output_text


def test_an_sdk_that_closes_early_ends_the_answer(live: Live) -> None:
    with live.openai(timeout=SECONDS) as sdk:
        model = sdk.models.list().data[0].id
        asked: openai.Stream[openai.types.Completion] = sdk.completions.create(
            model=model, prompt="def ", max_tokens=400, stream=True
        )
        with asked as stream:
            assert next(iter(stream)) is not None
