"""Who may call what: deny list, allow list, and a policy for each synapse.

Deny by default: a caller is admitted by being on the allow list or by meeting the policy, and the
deny list wins over both.
"""

from collections.abc import Callable
from dataclasses import dataclass

from compute.domain.metagraph import Neuron


@dataclass(frozen=True, slots=True)
class Gate:
    """An operator's settings of who gets in.

    Attributes:
        allow: hotkeys that are admitted without permit, stake or registration.
        deny: hotkeys that are never admitted.
        min_stake: least stake of a validator, in alpha.
        need_permit: whether a validator needs its permit.
    """

    allow: frozenset[str] = frozenset()
    deny: frozenset[str] = frozenset()
    min_stake: float = 1000
    need_permit: bool = True


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of an authenticated caller.

    Attributes:
        neuron: his row of the metagraph; None when he is not registered.
        listed: whether he is on the allow list.
    """

    hotkey: str
    neuron: Neuron | None
    listed: bool
    gate: Gate


Policy = Callable[[Standing], str | None]
"""Says why a caller is refused, in words that may be sent to him; None admits him."""


def validators(caller: Standing) -> str | None:
    """Admit the allow list, and validators with the permit and the stake that the gate asks for."""
    if caller.listed:
        return None
    if caller.neuron is None:
        return "the hotkey is not registered"
    if caller.gate.need_permit and not caller.neuron.validator_permit:
        return "the hotkey has no validator permit"
    if not caller.neuron.stake >= caller.gate.min_stake:  # so that NaN is refused
        return f"the hotkey's stake is under {caller.gate.min_stake:g}"
    return None


def registered(caller: Standing) -> str | None:
    """Admit the allow list and every registered neuron."""
    if caller.listed or caller.neuron is not None:
        return None
    return "the hotkey is not registered"


def listed(caller: Standing) -> str | None:
    """Admit the allow list alone."""
    return None if caller.listed else "the hotkey is not on the allow list"
