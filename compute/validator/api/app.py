"""Builds the application: routes, errors as problems, and limits that hold for all of it."""

import secrets
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from compute.errors import AdmissionError, Code, ComputeError
from compute.protocol import codec, problem
from compute.telemetry import logs
from compute.version import __version__

BODY_LIMIT = 512 * 1024  # the largest request is an allocation with a Dockerfile
_REFERENCE = "#/components/schemas/{model}"
_BY_STATUS = {404: Code.NOT_FOUND, 405: Code.NOT_FOUND}
log = logs.get("api")


def create_app(*routers: APIRouter, title: str = "validator") -> FastAPI:
    """An application that serves these routers."""
    app = FastAPI(
        title=title,
        version=__version__,
        description="Published weights, and rentals through this validator.",
        docs_url=None,
        redoc_url=None,
    )
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(ComputeError, _compute_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _fault)
    app.openapi = partial(_describe, app)  # type: ignore[method-assign] # FastAPI's own way
    app.add_middleware(BodyLimit, limit=BODY_LIMIT)
    return app


class BodyLimit:
    """Reads a body up to the limit before anything else sees the request, and refuses more."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if its body is small enough."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._limit:
                error = AdmissionError(Code.TOO_LARGE, f"the limit is {self._limit} bytes")
                await problem_response(error)(scope, receive, send)
                return
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, replay, send)


def _describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with problems wherever an answer is an error."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
        )
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        described = problem.Problem.model_json_schema(ref_template=_REFERENCE)
        schemas |= described.pop("$defs", {}) | {"Problem": described}
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for operations in document["paths"].values():
            for operation in operations.values():
                operation["responses"] = _success(operation["responses"]) | _PROBLEMS
        app.openapi_schema = document
    return app.openapi_schema


def _success(responses: dict[str, Any]) -> dict[str, Any]:
    return {status: shown for status, shown in responses.items() if status < "400"}


_PROBLEMS: dict[str, Any] = {
    str(status): {
        "description": HTTPStatus(status).phrase,
        "content": {
            problem.CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}},
        },
    }
    for status in (400, 401, 403, 404, 405, 409, 413, 422, 429, 500, 502, 503, 504)
}


def problem_response(error: ComputeError, status: int | None = None) -> Response:
    """An error as an answer."""
    content = problem.problem_of(error, secrets.token_hex(8), status=status)
    headers = {}
    if content.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(content.retry_after)))
    if content.status == Code.UNAUTHENTICATED.spec.http_status:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(
        codec.encode(content),
        status_code=content.status,
        media_type=problem.CONTENT_TYPE,
        headers=headers,
    )


async def _compute_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, ComputeError):  # pragma: no cover - registered for it alone
        raise error
    return problem_response(error)


async def _invalid(_request: Request, error: Exception) -> Response:
    wrong = error.errors() if isinstance(error, RequestValidationError) else []
    parts = [
        f"{'.'.join(str(part) for part in each['loc'][1:]) or 'body'}: {each['msg']}"
        for each in wrong[:8]
    ]
    return problem_response(AdmissionError(Code.MALFORMED, "; ".join(parts)), 422)


async def _http_error(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = _BY_STATUS.get(status, Code.MALFORMED)
    answer = problem_response(AdmissionError(code), status)
    if isinstance(error, HTTPException):
        answer.headers.update(error.headers or {})
    return answer


async def _fault(request: Request, error: Exception) -> Response:
    log.error("api_fault", path=request.url.path, exc_info=error)
    return problem_response(ComputeError(Code.INTERNAL))
