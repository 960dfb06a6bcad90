"""The parts of the SDK's `Substrate` that need SCALE or multisig accounts: not here."""
# ruff: noqa: ARG002 - the signatures are the SDK's

from typing import Any

from bittensor import ChainError, ErrorCode, ExtrinsicResult


def absent(what: str, name: str) -> ChainError:
    """The error for something that the development chain does not have."""
    return ChainError(f"the development chain has no {what} {name}", code=ErrorCode.NOT_FOUND)


class Absent:
    """Refuses what a development chain is not for."""

    async def decode_scale(self, type_string: str, data: Any) -> Any:
        """There is no SCALE here."""
        raise absent("SCALE type", type_string)

    async def prepare(
        self,
        call: Any,
        *,
        address: str,
        crypto_type: int = 1,
        nonce: int | None = None,
        period: int | None = None,
        tip: int = 0,
        metadata_hash: bytes | None = None,
    ) -> Any:
        """Signing elsewhere needs SCALE."""
        raise absent("way of signing", "outside of this process")

    async def submit_signature(
        self,
        unsigned: Any,
        signature: bytes | str,
        *,
        wait_for_inclusion: bool = True,
        wait_for_finalization: bool = True,
    ) -> ExtrinsicResult:
        """Signing elsewhere needs SCALE."""
        raise absent("way of signing", "outside of this process")

    def multisig_account(self, signatories: list[str], threshold: int) -> Any:
        """There are no multisig accounts here."""
        raise absent("pallet", "Multisig")

    async def submit_multisig(
        self,
        call: Any,
        keypair: Any,
        multisig_account: Any,
        *,
        wait_for_inclusion: bool = True,
        wait_for_finalization: bool = True,
    ) -> ExtrinsicResult:
        """There are no multisig accounts here."""
        raise absent("pallet", "Multisig")
