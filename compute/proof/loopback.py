"""A prover in this very process, behind the channel's interface: for calibration and tests."""

from compute.proof.prover import ProverSession
from compute.proof.wire import WireError


class LoopbackChannel:
    """A `ProverChannel` to a session in this process; it computes when it is sent something.

    Args:
        prover: the session.
    """

    def __init__(self, prover: ProverSession) -> None:
        self._prover = prover
        self._inbox = b""
        self._outbox = b""

    async def send(self, data: bytes) -> None:
        """Let the prover answer; see `ProverChannel.send`.

        Raises:
            EOFError: the prover ended because of what it was sent.
        """
        self._inbox += data
        try:
            while len(self._inbox) >= self._prover.expects:
                part = self._inbox[: self._prover.expects]
                self._inbox = self._inbox[len(part) :]
                for frame in self._prover.receive(part):
                    self.deliver(frame)
        except WireError as error:
            raise EOFError("the prover ended") from error

    def deliver(self, frame: bytes) -> None:
        """Take a frame that the prover is done with."""
        self._outbox += frame

    async def receive(self, n: int, timeout_s: float) -> bytes:
        """Read what the prover has answered; see `ProverChannel.receive`."""
        if len(self._outbox) < n:
            raise TimeoutError(f"nothing more came within {timeout_s} s")
        data, self._outbox = self._outbox[:n], self._outbox[n:]
        return data

    async def close(self) -> None:
        """Forget what is under way; see `ProverChannel.close`."""
        self._inbox = self._outbox = b""
