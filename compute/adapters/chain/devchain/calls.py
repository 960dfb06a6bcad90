"""The calls that the development chain understands, each with the real chain's checks and names.

A call is judged twice. *Admission* happens before it is in a block: a refusal there costs nothing.
*Dispatch* changes the state and returns events; when it raises `DispatchError` its changes are
undone, but the fee, the nonce and the rate limit are spent.
"""

from collections.abc import Callable, Mapping
from typing import Any

from compute.adapters.chain.devchain.commitments import set_commitment
from compute.adapters.chain.devchain.file import Tx
from compute.adapters.chain.devchain.ledger import (
    Subnet,
    account,
    credit,
    owner_of,
    put_weights,
    seat,
    subnet,
    uid_of,
)
from compute.adapters.chain.devchain.rules import DispatchError, check_stake, check_weights, ensure

Event = dict[str, Any]
Args = Mapping[str, Any]
Admission = Callable[[Tx, str, Args], None]
Call = Callable[[Tx, str, Args], list[Event]]

COMMIT_REVEAL_VERSION = 4
MAX_KEY_BYTES = 64  # of a neuron's certificate
MAX_COMMIT_BYTES = 5_000
MAX_UNREVEALED = 10
LOCALHOST_V4 = 0x7F00_0001
BROADCAST_V4 = 0xFFFF_FFFF


def event(module: str, name: str, attributes: Any) -> Event:
    """One event as the SDK's transport hands it over."""
    return {"event": {"module_id": module, "event_id": name, "attributes": attributes}}


def burned_register(tx: Tx, signer: str, args: Args) -> list[Event]:
    """Buy a UID for a hotkey."""
    hotkey = str(args["hotkey"])
    here = _subnet(tx, args["netuid"], "SubnetNotExists")
    ensure(here.params.registration_allowed, "SubNetRegistrationDisabled")
    (recent,) = tx.db.execute(
        "SELECT COUNT(*) FROM neurons WHERE netuid = ? AND registered_at = ?",
        (here.netuid, tx.head),
    ).fetchone()
    ensure(recent < here.params.max_registrations_per_block, "TooManyRegistrationsThisBlock")
    ensure(uid_of(tx, here.netuid, hotkey) is None, "HotKeyAlreadyRegisteredInSubNet")
    ensure(owner_of(tx, hotkey) in {None, signer}, "NonAssociatedColdKey")
    ensure(account(tx, signer)[0] >= here.params.burn_rao, "NotEnoughBalanceToStake")
    credit(tx, signer, -here.params.burn_rao)
    uid = seat(tx, here.netuid, hotkey, signer)
    ensure(uid is not None, "NoNeuronIdAvailable")
    return [event("SubtensorModule", "NeuronRegistered", [here.netuid, uid, hotkey])]


def admit_axon(tx: Tx, signer: str, args: Args) -> None:
    """Everything about an axon is judged beforehand."""
    here = _subnet(tx, args["netuid"], "SubnetNotExists")
    ensure(uid_of(tx, here.netuid, signer) is not None, "HotKeyNotRegisteredInNetwork")
    _check_endpoint(args["ip"], args["ip_type"], args["port"])
    row = tx.db.execute(
        "SELECT block FROM axons WHERE netuid = ? AND hotkey = ?", (here.netuid, signer)
    ).fetchone()
    passed = row is None or tx.head - row[0] >= here.params.serving_rate_limit
    ensure(passed, "ServingRateLimitExceeded")


def serve_axon(tx: Tx, signer: str, args: Args) -> list[Event]:
    """Publish where the signer's neuron listens; address 0 takes it back."""
    tx.db.execute(
        "INSERT OR REPLACE INTO axons VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(args["netuid"], signer, tx.head, args["version"], str(args["ip"])),
            *(args["port"], args["ip_type"], args["protocol"]),
        ),
    )
    return [event("SubtensorModule", "AxonServed", [args["netuid"], signer])]


def serve_axon_tls(tx: Tx, signer: str, args: Args) -> list[Event]:
    """As `serve_axon`, with an entry of an algorithm's number and a key, kept without a look.

    An entry that is too long or empty is dropped, and what was there before stays.
    """
    entry = bytes.fromhex(args["certificate"].removeprefix("0x"))
    if 0 < len(entry) <= 1 + MAX_KEY_BYTES:
        tx.db.execute(
            "INSERT OR REPLACE INTO certificates VALUES (?, ?, ?, ?)",
            (args["netuid"], signer, entry[0], "0x" + entry[1:].hex()),
        )
    return serve_axon(tx, signer, args)


def _check_endpoint(ip: int, ip_type: int, port: int) -> None:
    """The real chain's idea of an address: not this host, not broadcast; private ones may be."""
    ensure(ip_type in {4, 6}, "InvalidIpType")
    ensure(port != 0, "InvalidPort")
    if ip_type == 4:  # noqa: PLR2004 - the version's number is its name
        ensure(ip != LOCALHOST_V4 and ip < BROADCAST_V4, "InvalidIpAddress")
    else:
        ensure(ip not in {0, 1, 2**128 - 1}, "InvalidIpAddress")


def admit_weights(tx: Tx, signer: str, args: Args) -> None:
    """Registration, stake and the rate limit are judged beforehand."""
    here = _subnet(tx, args["netuid"], "SubnetNotExists")
    row = tx.db.execute(
        "SELECT MAX(last_update, last_try) FROM neurons WHERE netuid = ? AND hotkey = ?",
        (here.netuid, signer),
    ).fetchone()
    if row is None:
        raise DispatchError("HotKeyNotRegisteredInSubNet")
    check_stake(tx, here, signer)
    ensure(tx.head - row[0] >= here.params.weights_rate_limit, "RateLimitExceeded")


def set_mechanism_weights(tx: Tx, signer: str, args: Args) -> list[Event]:
    """Set the signer's weights at once."""
    here, uid = _validator(tx, signer, args)
    ensure(not here.params.commit_reveal, "CommitRevealEnabled")
    ensure(len(args["dests"]) == len(args["weights"]), "WeightVecNotEqualSize")
    ensure(args["version_key"] >= here.params.weights_version, "IncorrectWeightVersionKey")
    check_weights(tx, here, uid, args["dests"], args["weights"])
    put_weights(tx, here.netuid, uid, list(zip(args["dests"], args["weights"], strict=True)))
    _mark_update(tx, here.netuid, uid)
    return [event("SubtensorModule", "WeightsSet", [here.netuid, uid])]


def commit_timelocked_mechanism_weights(tx: Tx, signer: str, args: Args) -> list[Event]:
    """Keep the signer's sealed weights until their round of drand."""
    here, uid = _validator(tx, signer, args)
    ensure(here.params.commit_reveal, "CommitRevealDisabled")
    version = args["commit_reveal_version"]
    ensure(version == COMMIT_REVEAL_VERSION, "IncorrectCommitRevealVersion")
    ciphertext = bytes.fromhex(args["commit"].removeprefix("0x"))
    ensure(len(ciphertext) <= MAX_COMMIT_BYTES, "CommitPayloadTooLarge")
    (latest,) = tx.db.execute("SELECT COALESCE(MAX(round), 0) FROM pulses").fetchone()
    ensure(args["reveal_round"] > latest, "InvalidRevealRound")
    (waiting,) = tx.db.execute(
        "SELECT COUNT(*) FROM weight_commits WHERE netuid = ? AND hotkey = ?",
        (here.netuid, signer),
    ).fetchone()
    ensure(waiting < MAX_UNREVEALED, "TooManyUnrevealedCommits")
    tx.db.execute(
        "INSERT INTO weight_commits (netuid, epoch, hotkey, block, ciphertext, reveal_round)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (here.netuid, here.epoch_index, signer, tx.head, ciphertext, args["reveal_round"]),
    )
    _mark_update(tx, here.netuid, uid)
    attributes = [signer, here.netuid, "0x" + ciphertext[:32].hex(), args["reveal_round"]]
    return [event("SubtensorModule", "TimelockedWeightsCommitted", attributes)]


def charge_attempt(tx: Tx, signer: str, function: str, netuid: int) -> None:
    """Make a failed weights call count for the rate limit, as a successful one would."""
    if function in _WEIGHTS:
        tx.db.execute(
            "UPDATE neurons SET last_try = ? WHERE netuid = ? AND hotkey = ?",
            (tx.head, netuid, signer),
        )


def _subnet(tx: Tx, netuid: int, error: str) -> Subnet:
    here = subnet(tx, netuid)
    if here is None:
        raise DispatchError(error)
    return here


def _validator(tx: Tx, signer: str, args: Args) -> tuple[Subnet, int]:
    """The subnet and the signer's UID there; only mechanism 0 exists."""
    here = _subnet(tx, args["netuid"], "MechanismDoesNotExist")
    ensure(args.get("mecid", 0) == 0, "MechanismDoesNotExist")
    uid = uid_of(tx, here.netuid, signer)
    if uid is None:
        raise DispatchError("HotKeyNotRegisteredInSubNet")
    return here, uid


def _mark_update(tx: Tx, netuid: int, uid: int) -> None:
    tx.db.execute(
        "UPDATE neurons SET last_update = ?, last_try = ? WHERE netuid = ? AND uid = ?",
        (tx.head, tx.head, netuid, uid),
    )


_WEIGHTS: Mapping[str, Call] = {
    "set_weights": set_mechanism_weights,
    "set_mechanism_weights": set_mechanism_weights,
    "commit_timelocked_mechanism_weights": commit_timelocked_mechanism_weights,
}

CALLS: Mapping[tuple[str, str], Call] = {
    ("SubtensorModule", "burned_register"): burned_register,
    ("SubtensorModule", "serve_axon"): serve_axon,
    ("SubtensorModule", "serve_axon_tls"): serve_axon_tls,
    ("Commitments", "set_commitment"): set_commitment,
    **{("SubtensorModule", name): call for name, call in _WEIGHTS.items()},
}
"""What a call does, by pallet and name."""

ADMISSIONS: Mapping[tuple[str, str], Admission] = {
    ("SubtensorModule", "serve_axon"): admit_axon,
    ("SubtensorModule", "serve_axon_tls"): admit_axon,
    **{("SubtensorModule", name): admit_weights for name in _WEIGHTS},
}
"""What is checked before a call is let into a block; calls without a row are not."""
