"""Make and arrange a development chain from the command line.

::

    python -m compute.adapters.chain.devchain create --file chain.sqlite --netuid 1 --block-s 0.5
    python -m compute.adapters.chain.devchain register --file chain.sqlite --netuid 1 \
        --wallet-path wallets --wallet-name validator --stake 1000
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bittensor as bt
from pydantic import ValidationError

from compute.adapters.chain.devchain.params import ChainParams, SubnetParams
from compute.adapters.chain.devchain.provision import Provision, create
from compute.adapters.chain.failures import FAILURES, translate
from compute.adapters.chain.network import DevNetwork, open_subtensor, parse_network
from compute.adapters.chain.wallets import make_wallet
from compute.errors import ComputeError, UsageError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    args = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], object] = args.run
    try:
        said = run(args)
    except ComputeError as error:
        return _complain(error)
    except FAILURES as error:
        return _complain(translate(error))
    sys.stdout.write(json.dumps(said) + "\n")
    return 0


def _complain(error: ComputeError) -> int:
    sys.stderr.write(error.diagnostics() + "\n")
    return error.code.spec.exit_code


def _create(args: argparse.Namespace) -> object:
    given = dict(_setting(text) for text in args.set)
    try:
        chain = ChainParams(block_s=args.block_s, manual=args.manual)
        subnet = SubnetParams.model_validate({"tempo": args.tempo, **given})
        create(args.file, chain, {args.netuid: subnet})
    except FileExistsError:
        raise UsageError("there is a file of this name already") from None
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{name}: {first['msg']}") from None
    return {"network": f"dev:{args.file}", "netuid": args.netuid}


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"'{text}' is not of the form name=value")
    return name, value


def _register(args: argparse.Namespace) -> object:
    wallet = make_wallet(args.wallet_path, args.wallet_name, args.wallet_hotkey)
    hotkey, coldkey = wallet.hotkey.ss58_address, wallet.coldkeypub.ss58_address
    provision = Provision(args.file)
    provision.fund(coldkey, args.fund)
    uid = provision.register(args.netuid, hotkey, coldkey, stake=args.stake)
    return {"uid": uid, "hotkey": hotkey, "coldkey": coldkey}


def _fund(args: argparse.Namespace) -> object:
    Provision(args.file).fund(args.address, args.tao)
    return {"address": args.address}


def _advance(args: argparse.Namespace) -> object:
    return {"block": Provision(args.file).advance(args.blocks)}


def _pulse(args: argparse.Namespace) -> object:
    Provision(args.file).add_pulse(args.round, args.signature)
    return {"round": args.round}


def _show(args: argparse.Namespace) -> object:
    with open_subtensor(f"dev:{args.file}") as sub:
        graph: bt.Metagraph | None = sub.subnets.metagraph(args.netuid)
    if graph is None:
        raise UsageError(f"there is no subnet {args.netuid}")
    neurons = [
        {
            "uid": one.uid,
            "hotkey": one.hotkey,
            "axon": one.axon,
            "stake": one.total_stake.rao / 1e9,
            "validator_permit": one.validator_permit,
            "incentive": one.incentive,
            "dividends": one.dividends,
            "last_update": one.last_update,
        }
        for one in graph
    ]
    return {"block": graph.block, "tempo": graph.tempo, "neurons": neurons}


def _parser() -> argparse.ArgumentParser:
    default = parse_network("dev")
    file = default.path if isinstance(default, DevNetwork) else Path("devchain.sqlite")
    parser = argparse.ArgumentParser(prog="python -m compute.adapters.chain.devchain")
    commands = parser.add_subparsers(required=True)

    def command(name: str, run: Callable[[argparse.Namespace], object], text: str) -> Any:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("--file", type=Path, default=file, help="the chain's file")
        sub.set_defaults(run=run)
        return sub

    making = command("create", _create, "make a chain with one subnet")
    making.add_argument("--netuid", type=int, default=1, help="number of the subnet")
    making.add_argument("--block-s", type=float, default=12.0, help="seconds per block")
    making.add_argument("--tempo", type=int, default=360, help="blocks per epoch")
    making.add_argument("--manual", action="store_true", help="blocks come only by 'advance'")
    making.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a hyperparameter"
    )
    joining = command("register", _register, "register a wallet, which is made if missing")
    joining.add_argument("--netuid", type=int, default=1, help="number of the subnet")
    joining.add_argument("--wallet-path", type=Path, default=Path("~/.bittensor/wallets"))
    joining.add_argument("--wallet-name", default="default", help="name of the coldkey")
    joining.add_argument("--wallet-hotkey", default="default", help="name of the hotkey")
    joining.add_argument("--stake", type=float, default=0.0, help="stake in alpha")
    joining.add_argument("--fund", type=float, default=100.0, help="TAO for the coldkey")
    funding = command("fund", _fund, "give an account TAO")
    funding.add_argument("--address", required=True, help="the account (ss58)")
    funding.add_argument("--tao", type=float, default=100.0, help="how much")
    passing = command("advance", _advance, "let blocks pass at once")
    passing.add_argument("--blocks", type=int, default=1, help="how many")
    opening = command("pulse", _pulse, "put in a drand signature, which opens sealed weights")
    opening.add_argument("--round", type=int, required=True, help="round of drand quicknet")
    opening.add_argument("--signature", required=True, help="its signature in hex")
    showing = command("show", _show, "print a subnet")
    showing.add_argument("--netuid", type=int, default=1, help="number of the subnet")
    return parser


if __name__ == "__main__":
    sys.exit(main())
