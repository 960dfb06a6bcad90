"""The class table: which GPUs can be proven, what is asked of them and what is expected.

An unknown GPU has no class, and therefore an explicit zero; nothing is ever guessed.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from compute.errors import UsageError
from compute.proof.sizes import LEAF_ROWS_B, MAX_N, Sizes, blocks_for
from compute.proof.verifier import Limits

MIB = 1 << 20
_LEAF_HASH_S = 3e-6
"""Host time of one sweep leaf and its share of the tree, for references that are derived."""

Text = Annotated[str, Field(min_length=1, max_length=200)]


class Source(StrEnum):
    """Where a figure of the table comes from."""

    MEASURED = "measured"
    DATASHEET = "datasheet"
    NOMINAL = "nominal"


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(_Row):
    """A figure with its provenance.

    Attributes:
        value: the figure, in the unit of its field.
        source: where it comes from.
        device: on what it was measured.
        date: when it was measured, as YYYY-MM-DD.
        note: what else a reader should know.
    """

    value: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    source: Source
    device: Annotated[str, Field(max_length=200)] = ""
    date: Annotated[str, Field(pattern=r"^(\d{4}-\d{2}-\d{2})?$")] = ""
    note: Annotated[str, Field(max_length=500)] = ""


class _ClassRow(_Row):
    """One `[[class]]` of the file."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]
    models: Annotated[tuple[Text, ...], Field(min_length=1, max_length=64)]
    n: Annotated[int, Field(ge=LEAF_ROWS_B, le=MAX_N, multiple_of=LEAF_ROWS_B)]
    memory_mib: Annotated[int, Field(gt=0, le=1 << 30)]
    reference_tops: Figure
    sweep_reference_s: Figure | None = None
    blocks: Annotated[int, Field(ge=2, le=1 << 16)] | None = None
    group: Annotated[str, Field(max_length=64)] = ""
    development: bool = False


class _Table(_Row):
    """The file."""

    version: Literal[1]
    sweep_width: Annotated[int, Field(ge=64, le=4096, multiple_of=64)]
    classes: Annotated[tuple[_ClassRow, ...], Field(alias="class", min_length=1, max_length=1000)]


@dataclass(frozen=True, slots=True)
class GpuClass:
    """One class of GPU.

    Attributes:
        name: the class's name.
        models: product names that belong to it.
        sizes: what a GPU of the class is asked to do.
        memory_mib: device memory by which M was chosen.
        reference_tops: sustained throughput that is expected; the slowest of its group.
        sweep_reference_s: time that the memory sweep is expected to take; the slowest of its group.
        group: name of the tolerance group, or empty.
        development: true where a pass proves nothing about hardware.
    """

    name: str
    models: tuple[str, ...]
    sizes: Sizes
    memory_mib: int
    reference_tops: Figure
    sweep_reference_s: Figure
    group: str = ""
    development: bool = False

    @property
    def limits(self) -> Limits:
        """Deadlines beyond which the class is certainly missed: four times what would pass.

        A slow device is thereby measured and told so; a stuck one does not hold the slot.
        """
        chain = self.sizes.operations / (self.reference_tops.value * 1e12)
        return Limits(chain_s=4 * chain + 5.0, sweep_s=4 * self.sweep_reference_s.value + 5.0)


class ClassTable:
    """All classes, found by name or by a GPU's product name."""

    def __init__(self, classes: Sequence[GpuClass]) -> None:
        self.classes = tuple(classes)
        self._names = {each.name: each for each in self.classes}
        self._models = {model: each for each in self.classes for model in each.models}

    def named(self, name: str) -> GpuClass | None:
        """Return the class of that name, or None."""
        return self._names.get(name)

    def of_model(self, model: str) -> GpuClass | None:
        """Return the class of a product name as the driver reports it, or None if unknown."""
        return self._models.get(model)


def load_classes(text: str) -> ClassTable:
    """Read and validate a class table.

    Raises:
        UsageError: it is not TOML, breaks the schema, names something twice, gives a measured
            figure no device or date, or asks for sizes that no session may use.
    """
    try:
        table = _Table.model_validate(tomllib.loads(text))
        classes = [_gpu_class(row, table.sweep_width) for row in table.classes]
    except (tomllib.TOMLDecodeError, ValidationError, ValueError) as error:
        raise UsageError(f"the class table is not valid: {error}") from error
    names = [each.name for each in classes]
    models = [model for each in classes for model in each.models]
    if len(set(names)) < len(names) or len(set(models)) < len(models):
        raise UsageError("the class table names a class or a model twice")
    return ClassTable([_levelled(each, classes) for each in classes])


@cache
def known_classes() -> ClassTable:
    """Return the table that is shipped with the product."""
    return load_classes(
        resources.files("compute.proof").joinpath("classes.toml").read_text(encoding="utf-8")
    )


def _gpu_class(row: _ClassRow, sweep_width: int) -> GpuClass:
    blocks = row.blocks or blocks_for(row.memory_mib * MIB, row.n)
    sizes = Sizes(row.n, blocks, sweep_width)
    if not sizes.challengeable():
        raise ValueError(f"{row.name}: its memory holds no round of that n")
    sweep = row.sweep_reference_s or _derived_sweep(sizes, row.reference_tops)
    for figure in (row.reference_tops, sweep):
        if figure.source is Source.MEASURED and not (figure.device and figure.date):
            raise ValueError(f"{row.name}: a measured figure needs its device and date")
    return GpuClass(
        name=row.name,
        models=row.models,
        sizes=sizes,
        memory_mib=row.memory_mib,
        reference_tops=row.reference_tops,
        sweep_reference_s=sweep,
        group=row.group,
        development=row.development,
    )


def _derived_sweep(sizes: Sizes, tops: Figure) -> Figure:
    compute = 2 * sizes.history_bytes * sizes.sweep_width / (tops.value * 1e12)
    hashing = sizes.rows / LEAF_ROWS_B * _LEAF_HASH_S
    note = "derived from reference_tops"
    return Figure(value=compute + hashing, source=Source.DATASHEET, note=note)


def _levelled(each: GpuClass, classes: Sequence[GpuClass]) -> GpuClass:
    """Give a class the references of the slowest of its tolerance group."""
    if not each.group:
        return each
    group = [other for other in classes if other.group == each.group]
    return GpuClass(
        name=each.name,
        models=each.models,
        sizes=each.sizes,
        memory_mib=each.memory_mib,
        reference_tops=min((g.reference_tops for g in group), key=lambda figure: figure.value),
        sweep_reference_s=max(
            (g.sweep_reference_s for g in group), key=lambda figure: figure.value
        ),
        group=each.group,
        development=each.development,
    )
