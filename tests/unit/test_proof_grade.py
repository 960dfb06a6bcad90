"""The class table, and what a session's result is worth by it."""

from dataclasses import replace
from typing import Any

import pytest

from compute.errors import UsageError
from compute.proof.calibrate import calibrate
from compute.proof.classes import ClassTable, Source, known_classes, load_classes
from compute.proof.engine_numpy import NumpyEngine
from compute.proof.grade import GradeReason, grade
from compute.proof.result import GpuResult, ProofResult, Reason
from compute.proof.sizes import Sizes, blocks_for
from compute.proof.wire import Mode
from tests.adversary.proof_arena import arena_class, entropy

CLASS = arena_class()
ROW = """
version = 1
sweep_width = 64
[[class]]
name = "a"
models = ["A"]
n = 256
memory_mib = 4096
reference_tops = { value = 100, source = "datasheet" }
"""


def _gpu(tops_share: float = 1.0, sweep_s: float = 0.1, **changes: Any) -> GpuResult:
    seconds = CLASS.sizes.operations / (CLASS.reference_tops.value * tops_share * 1e12)
    result = GpuResult(
        gpu=0,
        sizes=CLASS.sizes,
        reason=Reason.PASSED,
        chain_s=seconds,
        sweep_s=sweep_s,
        opened=32,
        root_a=b"",
        root_b=b"",
        path="",
        device="",
        memory_bytes=0,
    )
    return replace(result, **changes)


def _result(*gpus: GpuResult) -> ProofResult:
    return ProofResult(True, Reason.PASSED, "", Mode.FREIVALDS, gpus)  # noqa: FBT003


@pytest.mark.parametrize(
    ("share", "credit", "reason"),
    [
        (2.0, 1.0, GradeReason.PASSED),
        (1.0, 1.0, GradeReason.PASSED),
        (0.9, 0.9, GradeReason.PASSED),
        (0.801, 0.801, GradeReason.PASSED),
        (0.799, 0.0, GradeReason.SLOW),
        (0.1, 0.0, GradeReason.SLOW),
    ],
)
def test_credit_follows_speed_from_four_fifths_on(
    share: float, credit: float, reason: GradeReason
) -> None:
    """A GPU has its share of the reference as credit, capped at 1, and nothing below 0.80."""
    found = grade(_result(_gpu(share)), [CLASS])
    assert found.credit == pytest.approx(credit)
    assert found.reason is reason


@pytest.mark.parametrize(("seconds", "passes"), [(0.549, True), (0.551, False)])
def test_the_sweep_decides_about_memory(seconds: float, passes: bool) -> None:
    """A sweep passes up to one and a half times its reference and a quarter of a second."""
    found = grade(_result(_gpu(sweep_s=seconds)), [CLASS])
    assert (found.reason is GradeReason.PASSED) == passes
    assert passes or found.reason is GradeReason.MEMORY


def test_an_unknown_gpu_is_an_explicit_zero() -> None:
    """What is not in the table has no credit, with that as its reason."""
    found = grade(_result(_gpu(5.0)), [known_classes().of_model("NVIDIA Imaginary 9000")])
    assert (found.credit, found.reason) == (0.0, GradeReason.UNKNOWN_CLASS)


def test_other_sizes_than_the_class_asks_count_nothing() -> None:
    """A result for other sizes says nothing about the class."""
    found = grade(_result(_gpu(sizes=Sizes(128, 2, 64), chain_s=1e-9)), [CLASS])
    assert found.reason is GradeReason.OTHER_SIZES


def test_a_node_has_the_mean_of_its_gpus() -> None:
    """One slow GPU of two halves the node's credit."""
    found = grade(_result(_gpu(), _gpu(0.5)), [CLASS, CLASS])
    assert found.credit == pytest.approx(0.5)
    assert [each.credit for each in found.gpus] == [1.0, 0.0]


def test_the_shipped_table_is_valid() -> None:
    """Every shipped row asks for the memory formula's M and tells where its figures come from."""
    table = known_classes()
    assert {"h100-sxm", "h200", "a100-sxm-80gb", "l4", "t4", "rtx-4090", "cpu-dev"} <= {
        each.name for each in table.classes
    }
    for each in table.classes:
        if not each.development:
            assert each.sizes.blocks == blocks_for(each.memory_mib << 20, each.sizes.n)
            assert each.reference_tops.source is not Source.NOMINAL
            assert each.sizes.sweep_width == 1024
            assert 1 < each.limits.chain_s < 60
    assert table.of_model("NVIDIA H100 80GB HBM3") is table.named("h100-sxm")


def test_the_resident_set_leaves_the_reserve() -> None:
    """M = floor((0.92 · memory - 1.5 GB) / n²), and none where nothing fits."""
    assert blocks_for(80_000_000_000, 16384) == int((0.92 * 80e9 - 1.5e9) / 16384**2) == 268
    assert blocks_for(1_000_000_000, 16384) == 0


def test_a_tolerance_group_has_its_slowest_references() -> None:
    """Near-identical classes are graded alike, by the slowest of them."""
    first = ROW.replace('"a"', '"a"\ngroup = "g"')
    second = ROW.split("[[class]]")[1].replace('"a"', '"b"\ngroup = "g"')
    second = second.replace('"A"', '"B"').replace("100", "90")
    table = load_classes(first + "[[class]]" + second)
    references = {each.name: each.reference_tops.value for each in table.classes}
    assert references == {"a": 90, "b": 90}
    assert len({each.sweep_reference_s.value for each in table.classes}) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version = 1", "version = 2"),
        ("n = 256", "n = 250"),
        ("n = 256", "n = 65536"),
        ("memory_mib = 4096", "memory_mib = 100"),
        ("value = 100", "value = -1"),
        ("value = 100", "value = inf"),
        ('source = "datasheet"', 'source = "hearsay"'),
        ('source = "datasheet"', 'source = "measured"'),
        ('models = ["A"]', 'models = ["A", "A"]'),
        ('name = "a"', 'name = "a"\nsurprise = 1'),
        ("[[class]]", "[[class"),
    ],
)
def test_a_table_that_is_wrong_is_refused(old: str, new: str) -> None:
    """A mistake in the table is an error that names the table, never a silent default."""
    assert isinstance(load_classes(ROW), ClassTable)
    with pytest.raises(UsageError, match="class table"):
        load_classes(ROW.replace(old, new))


def test_calibration_gives_a_row_that_loads() -> None:
    """A measured device's row is valid, carries its provenance, and asks for what was run."""
    ticks = iter(range(1000))
    engine = NumpyEngine()
    found = calibrate(engine, CLASS.sizes, entropy("c"), lambda: float(next(ticks)), runs=3)
    assert (found.chain_s, found.sweep_s, found.spread) == ((1.0,) * 3, (1.0,) * 3, 0.0)
    row = found.row("mine", "2025-01-31").replace("memory_mib = ", "memory_mib = 1 # ")
    (mine,) = load_classes("version = 1\nsweep_width = 64\n" + row).classes
    assert mine.sizes == CLASS.sizes
    assert mine.reference_tops.source is Source.MEASURED
    assert mine.reference_tops.device == engine.device
    assert mine.reference_tops.value == pytest.approx(CLASS.sizes.operations / 1e12, rel=1e-3)
