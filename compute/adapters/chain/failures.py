"""What the SDK raises, translated once into the product's own errors."""

import bittensor as bt
from bittensor import ErrorCode
from websockets.exceptions import WebSocketException

from compute.adapters.chain.devchain.file import DevChainAwayError
from compute.errors import ChainError, Code, ComputeError

FAILURES = (bt.BittensorError, OSError, WebSocketException, ValueError)
"""What an SDK call may raise: its own errors, those of its transport, and refused arguments."""

_AWAY = (bt.RpcConnectionError, bt.ConnectionNotReady, OSError, WebSocketException)

_CODES = {
    ErrorCode.RATE_LIMITED: Code.CHAIN_RATE_LIMITED,
    ErrorCode.NOT_REGISTERED: Code.NOT_REGISTERED,
    ErrorCode.SUBNET_NOT_EXISTS: Code.SUBNET_MISSING,
}

_DETAIL_CHARS = 300


def is_away(error: BaseException) -> bool:
    """Whether the chain did not answer, so that the connection is better made anew.

    The SDK wraps what breaks while a transaction is under way into a `ChainError` of unknown code;
    there the cause tells.
    """
    if isinstance(error, bt.ChainError):
        unknown = error.code is ErrorCode.UNKNOWN and error.name is None
        return unknown and isinstance(error.__cause__, _AWAY)
    return isinstance(error, _AWAY)


def translate(error: BaseException) -> ComputeError:
    """The product's error for one of the SDK's."""
    if isinstance(error, ComputeError):
        return error
    if isinstance(error, DevChainAwayError):
        return ChainError(
            Code.CHAIN_AWAY,
            str(error),
            hint="make one with 'python -m compute.adapters.chain.devchain create'",
        )
    if is_away(error):
        # The SDK's words name the endpoint, and an endpoint may carry a key.
        late = isinstance(error, TimeoutError)
        return ChainError(Code.CHAIN_AWAY, "no answer in time" if late else "no connection")
    if isinstance(error, bt.ChainError):
        text = f"{error.name}: {error.message}" if error.name else error.message
        return ChainError(_CODES.get(error.code, Code.CHAIN_REFUSED), text[:_DETAIL_CHARS])
    return ChainError(Code.CHAIN_REFUSED, str(error)[:_DETAIL_CHARS])
