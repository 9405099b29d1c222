"""What /metrics says is what happened, and every name in it is documented."""

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from firesteel.engine.statistics import Statistics
from tests.server.live import Live, Wire, chat_body, wait_for

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


def test_a_request_is_counted_where_it_belongs(server: Live) -> None:
    def counts() -> list[float]:
        return [
            server.metric("firesteel_requests_total", endpoint="chat", status="200"),
            server.metric("firesteel_requests_total", endpoint="completion", status="400"),
            server.metric("firesteel_tokens_total", kind="output"),
            server.metric("firesteel_ttft_seconds_count"),
            server.metric("firesteel_queue_seconds_count"),
            server.metric("firesteel_tpot_seconds_count"),
            server.engine("num_output_tokens"),
        ]

    before = counts()
    usage = server.chat("hello").json()["usage"]
    server.http.post("/v1/completions", json={"model": "scripted", "prompt": 3})
    tokens = usage["completion_tokens"]
    assert [after - start for after, start in zip(counts(), before, strict=True)] == [1, 1, tokens, 1, 1, 1, tokens]


def test_a_client_that_left_is_a_499(server: Live) -> None:
    before = server.metric("firesteel_requests_total", status="499")
    with Wire(server.port) as wire:
        wire.post(chat_body("slow", stream=True)).read()
    wait_for(lambda: server.metric("firesteel_requests_total", status="499") == before + 1, "the 499")


def output_tokens(server: Live) -> tuple[float, float]:
    return server.metric("firesteel_tokens_total", kind="output"), server.engine("num_output_tokens")


def test_tokens_count_wherever_their_reader_is(server: Live) -> None:
    counted, computed = output_tokens(server)
    with Wire(server.port) as wire:
        wire.post(chat_body("slow", stream=True)).read()
    response = {"model": "scripted", "input": "hello", "background": True}
    assert server.http.post("/v1/responses", json=response).status_code == 200
    server.chat("hello", max_tokens=4)

    def are_all_counted() -> bool:
        now_counted, now_computed = output_tokens(server)
        return now_counted - counted == now_computed - computed > 4

    server.wait_idle()
    wait_for(are_all_counted, "each token is counted once")


def test_every_name_is_documented(server: Live) -> None:
    page = PAGE.read_text(encoding="utf-8")
    server.chat("hello")
    families = list(text_string_to_metric_families(server.http.get("/metrics").text))
    ours = {family.name for family in families if not family.name.endswith("_created")}
    assert "firesteel_requests" in ours
    assert not {name for name in ours if f"`{name}`" not in page}
    named = set(re.findall(r"^\| `(firesteel_\w+)`", page, re.MULTILINE))
    assert named == ours  # and nothing is documented that is not there
    samples = [sample for family in families for sample in family.samples if "what" in sample.labels]
    says = {sample.labels["what"] for sample in samples if sample.name == "firesteel_engine"}
    assert says == set(Statistics.__struct_fields__) - {"verify_costs"}  # a gauge of its own
    assert not [sample.labels["what"] for sample in samples if f"`{sample.labels['what']}`" not in page]
    assert not {name for name in says if f"`{name}`" not in page}
