"""The options in which `up` and `quote` take a wish."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from compute.renter.words import Words

P = ParamSpec("P")
Miner = Annotated[
    str, typer.Option(help="UID or hotkey; else the quickest that fits.", metavar="UID")
]
# Of these fields of `Words`, which has their types and defaults.
OPTIONS = {
    "ttl": typer.Option(help="How long: 90s, 20m, 2h, 7d.", metavar="TIME"),
    "gpu": typer.Option(help="Part of the GPU's name, for example H100.", metavar="NAME"),
    "count": typer.Option(min=0, help="GPUs; 1 when --gpu is given.", metavar="N"),
    "gpu_memory": typer.Option(help="Least memory of each GPU: 40g.", metavar="SIZE"),
    "cpus": typer.Option(min=1, help="Processors.", metavar="N"),
    "memory": typer.Option(help="Memory: 512m, 8g.", metavar="SIZE"),
    "disk": typer.Option(help="Disk: 10g; 0 takes the miner's default.", metavar="SIZE"),
    "shm": typer.Option(help="Shared memory: 64m, 8g.", metavar="SIZE"),
}


def wishing(verb: Callable[Concatenate[typer.Context, Words, P], None]) -> Callable[..., None]:
    """Give a verb the options of a wish; what was said comes as its second argument."""
    ctx, _, *others = inspect.signature(verb).parameters.values()

    def asked(ctx: typer.Context, *args: P.args, **given: P.kwargs) -> None:
        said: Any = {name: given.pop(name) for name in OPTIONS}
        verb(ctx, Words(**said), *args, **given)

    parameters = [ctx, *(_parameter(name) for name in OPTIONS), *others]
    asked.__doc__ = verb.__doc__
    asked.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    asked.__annotations__ = {each.name: each.annotation for each in parameters}
    return asked


def _parameter(name: str) -> inspect.Parameter:
    field = Words.__dataclass_fields__[name]
    return inspect.Parameter(
        name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=field.default,
        annotation=Annotated[field.type, OPTIONS[name]],
    )
