"""Published vectors over HTTP: by epoch's latest, or by address, with entity tags."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from compute.domain.publication import Publication
from compute.errors import AdmissionError, Code
from compute.validator.shelf import Shelved, WeightsShelf

NOT_MODIFIED = 304
LATEST_CACHE = "no-cache"  # may be kept, but is asked for anew each time
ADDRESSED_CACHE = "public, max-age=31536000, immutable"
Address = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the vector")]
_ANSWERS: dict[int | str, dict[str, Any]] = {NOT_MODIFIED: {"description": "unchanged"}}


def weights_router(shelf: WeightsShelf) -> APIRouter:
    """Routes that read vectors from a shelf."""
    router = APIRouter(prefix="/v1/weights", tags=["weights"])

    @router.get("/latest", response_model=Publication, responses=_ANSWERS)
    async def latest(request: Request) -> Response:
        """The newest vector that this validator published."""
        return _answer(request, await shelf.latest(), LATEST_CACHE)

    @router.get("/{sha256}", response_model=Publication, responses=_ANSWERS)
    async def by_address(sha256: Address, request: Request) -> Response:
        """One vector by its address; it never changes."""
        return _answer(request, await shelf.find(sha256), ADDRESSED_CACHE)

    return router


def _answer(request: Request, shelved: Shelved | None, cache: str) -> Response:
    if shelved is None:
        raise AdmissionError(Code.NOT_FOUND, "no such vector was published here")
    tag = f'"{shelved.sha256}"'
    headers = {"ETag": tag, "Cache-Control": cache}
    if _matches(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=NOT_MODIFIED, headers=headers)
    return Response(shelved.body, media_type="application/json", headers=headers)


def _matches(header: str, tag: str) -> bool:
    """Whether an If-None-Match names the tag (weak comparison, RFC 9110)."""
    names = {part.strip().removeprefix("W/") for part in header.split(",")}
    return "*" in names or tag in names
