"""Takes in the scores of the subnet's other challenges, as evidence.

Each is fetched on its own: one that is away, slow or wrong is left out and blanks nobody. Its last
scores count until the policy's `max_age`, and then it contributes nothing.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Protocol

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from compute.domain.evidence import EvidenceKind, Observation, Outcome
from compute.domain.hardware import Count, Name
from compute.domain.measurement import ScoresContent
from compute.domain.policy import HOME_CHALLENGE
from compute.errors import Code, ComputeError, PeerError, UsageError
from compute.telemetry import logs
from compute.validator.observing import Desk
from compute.validator.targets import Target

FETCH_S = 10.0
LARGEST_BYTES = 8 * 1024 * 1024
OK = 200
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
log = logs.get("challenges")


class ScoreSource(Protocol):
    """One other challenge of the subnet."""

    @property
    def name(self) -> str:
        """As the policy names it."""
        ...

    async def scores(self) -> Mapping[str, int]:
        """Hotkey to score, on any scale of its own.

        Raises:
            PeerError: it is away, late or answers nothing of use.
        """
        ...


class _Answer(BaseModel):
    """What a challenge answers; it may say more than is read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    scores: Annotated[dict[Name, Count], Field(max_length=65_536)]


class HttpScores:
    """A challenge that answers `{"scores": {hotkey: whole number}}` to a GET.

    Args:
        name: as the policy names it.
        url: where it answers.
    """

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self._url = url

    async def scores(self) -> Mapping[str, int]:
        """Fetch the scores.

        Raises:
            PeerError: `PEER_AWAY`, `PEER_LATE` or `PEER_INVALID`.
        """
        timeout = aiohttp.ClientTimeout(total=FETCH_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
                session.get(self._url, allow_redirects=False) as answer,
            ):
                body = bytearray()
                async for chunk in answer.content.iter_chunked(65_536):
                    body += chunk
                    if len(body) > LARGEST_BYTES:
                        raise PeerError(Code.PEER_INVALID, "the answer is too large")
                if answer.status != OK:
                    raise PeerError(Code.PEER_INVALID, f"status {answer.status}")
            return _Answer.model_validate_json(bytes(body)).scores
        except TimeoutError:
            raise PeerError(Code.PEER_LATE) from None
        except (aiohttp.ClientError, OSError) as error:
            raise PeerError(Code.PEER_AWAY, type(error).__name__) from error
        except ValidationError as error:
            raise PeerError(Code.PEER_INVALID, "these are no scores") from error


def sources_of(named: Sequence[str]) -> tuple[HttpScores, ...]:
    """Read `name=url` pairs from the settings.

    Raises:
        UsageError: for one that is none, or that names this product's own challenge.
    """
    found = []
    for pair in named:
        name, equals, url = pair.partition("=")
        if not equals or not _NAME.fullmatch(name) or not url.startswith(("http://", "https://")):
            raise UsageError(f"'{pair}' is not a challenge", hint="write name=http://…")
        if name == HOME_CHALLENGE:
            raise UsageError(f"the challenge '{HOME_CHALLENGE}' is scored here")
        found.append(HttpScores(name, url))
    return tuple(found)


class ScoresRound:
    """Fetches every other challenge's scores once."""

    kind = EvidenceKind.SCORES

    def __init__(self, desk: Desk, sources: Sequence[ScoreSource]) -> None:
        self._desk = desk
        self._sources = sources

    async def run(self, round_id: str, _targets: Sequence[Target]) -> None:
        """Take in what the challenges of this round have to say."""
        await asyncio.gather(*(self._take(round_id, source) for source in self._sources))

    async def _take(self, round_id: str, source: ScoreSource) -> None:
        try:
            async with asyncio.timeout(FETCH_S + 1):
                scores = await source.scores()
            content = ScoresContent(challenge=source.name, scores=dict(scores))
        except (ComputeError, TimeoutError, ValidationError) as error:
            log.warning("challenge_left_out", challenge=source.name, reason=str(error) or "late")
            return
        except Exception:  # one challenge's root: it must not take the others' scores away
            log.exception("challenge_broke", challenge=source.name)
            return
        view = self._desk.view
        observation = Observation(
            kind=self.kind,
            round=f"{round_id}:{source.name}",
            block=view.block,
            at_ms=int(self._desk.wall() * 1000),
            outcome=Outcome.PASSED,
            content=content.model_dump(mode="json"),
        )
        await self._desk.write(observation)
