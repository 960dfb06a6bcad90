"""The OpenAPI document of an axon, made from the models that it validates with."""

from collections.abc import Iterable
from typing import Any

from pydantic.json_schema import models_json_schema

from compute.protocol import problem, wire
from compute.protocol.problem import Problem
from compute.protocol.synapses import Message, Synapse

AnySynapse = Synapse[Any, Any]
_HEADERS = (
    ("X-Bittensor-Version", "protocol version of the signature", {"const": "1"}),
    (
        "X-Bittensor-Hotkey",
        "the caller's hotkey (ss58)",
        {"pattern": "^[1-9A-HJ-NP-Za-km-z]{46,50}$"},
    ),
    (
        "X-Bittensor-Receiver",
        "this neuron's hotkey (ss58)",
        {"pattern": "^[1-9A-HJ-NP-Za-km-z]{46,50}$"},
    ),
    ("X-Bittensor-Nonce", "Unix time in nanoseconds, decimal", {"pattern": "^[1-9][0-9]{0,19}$"}),
    ("X-Bittensor-Signature", "by the caller, see btauth/1", {"pattern": "^0x[0-9a-f]{128}$"}),
)
_STATUSES = (400, 401, 403, 404, 405, 409, 413, 422, 429, 500, 502, 503, 504, 507)


def document(synapses: Iterable[AnySynapse], *, title: str, version: str) -> dict[str, Any]:
    """The document for a set of synapses."""
    served = list(synapses)
    requests = [(synapse.request, "validation") for synapse in served]
    replies = [(synapse.reply, "serialization") for synapse in served]
    keyed: list[Any] = [*requests, *replies, (Problem, "serialization")]
    refs, schemas = models_json_schema(keyed, ref_template="#/components/schemas/{model}")
    problem_ref = refs[(Problem, "serialization")]
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": {
            synapse.path: {
                "post": _operation(
                    synapse,
                    refs[(synapse.request, "validation")],
                    refs[(synapse.reply, "serialization")],
                )
            }
            for synapse in served
        },
        "components": {
            "schemas": schemas.get("$defs", {}),
            "parameters": {name: _parameter(name, text, rule) for name, text, rule in _HEADERS},
            "headers": {"Receipt": _receipt_header()},
            "responses": {"Problem": _response(problem.CONTENT_TYPE, problem_ref, "An error")},
        },
    }


def _operation(synapse: AnySynapse, request: Any, reply: Any) -> dict[str, Any]:
    return {
        "operationId": synapse.name,
        "summary": _first_line(synapse.request),
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name, _, _ in _HEADERS],
        "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
        "responses": {
            "200": _response("application/json", reply, _first_line(synapse.reply)),
            **{str(status): {"$ref": "#/components/responses/Problem"} for status in _STATUSES},
        },
    }


def _first_line(model: type[Message]) -> str:
    return (model.__doc__ or model.__name__).strip().splitlines()[0]


def _parameter(name: str, text: str, rule: dict[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": True,
        "description": text,
        "schema": {"type": "string", **rule},
    }


def _receipt_header() -> dict[str, Any]:
    return {
        "description": "signature over the answer, see docs/protocol.md",
        "required": True,
        "schema": {"type": "string", "pattern": "^(sr25519|ed25519):0x[0-9a-f]{128}$"},
    }


def _response(content_type: str, schema: Any, text: str) -> dict[str, Any]:
    return {
        "description": text,
        "headers": {wire.RECEIPT: {"$ref": "#/components/headers/Receipt"}},
        "content": {content_type: {"schema": schema}},
    }
