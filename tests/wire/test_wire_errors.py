import json

import pytest

from firesteel.errors import ContextTooLong, EngineFailure, NotReady, Overloaded, RequestError
from firesteel.types import Failure
from firesteel.wire.errors import encode_error, error_of
from firesteel.wire.model_list import ModelCard, ModelMeta, encode_models


def test_envelope_has_all_four_keys() -> None:
    assert json.loads(encode_error(RequestError("no", param="n"))) == {
        "error": {"message": "no", "type": "invalid_request_error", "param": "n", "code": "invalid_value"}
    }
    assert json.loads(encode_error(EngineFailure("died"))) == {
        "error": {"message": "died", "type": "server_error", "param": None, "code": "engine_failure"}
    }


@pytest.mark.parametrize(
    ("code", "kind", "status"),
    [
        ("context_length_exceeded", ContextTooLong, 400),
        ("invalid_value", RequestError, 400),
        ("server_is_overloaded", Overloaded, 503),
        ("server_not_ready", NotReady, 503),
        ("engine_failure", EngineFailure, 500),
        ("something_new", EngineFailure, 500),
    ],
)
def test_failure_becomes_the_error_with_its_code(code: str, kind: type, status: int) -> None:
    error = error_of(Failure("r", code, "why"))
    assert type(error) is kind
    assert (error.status, error.code, error.message) == (status, code, "why")


def test_a_foreign_code_does_not_stick_to_the_class() -> None:
    error_of(Failure("r", "something_new", "why"))
    assert EngineFailure("x").code == "engine_failure"


def test_model_list() -> None:
    card = ModelCard(id="m", created=7, max_model_len=8, context_length=8, meta=ModelMeta(n_ctx=8, n_ctx_train=32))
    assert json.loads(encode_models([card])) == {
        "object": "list",
        "data": [
            {
                "id": "m",
                "object": "model",
                "created": 7,
                "owned_by": "firesteel",
                "max_model_len": 8,
                "context_length": 8,
                "meta": {"n_ctx": 8, "n_ctx_train": 32},
            }
        ],
    }
