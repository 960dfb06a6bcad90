"""Metrics, and that docs, alerts and the Grafana dashboard speak of the same ones."""

import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from compute.domain.evidence import EvidenceKind, Outcome, Reason
from compute.domain.measurement import ProbeContent, ProofContent
from compute.protocol.meters import Meters
from compute.telemetry.metrics import MinerMetrics, ValidatorMetrics
from compute.testing.evidence import Log, proven
from compute.validator.policies import load_policy

HERE = Path(__file__).resolve().parents[2]
NAME = re.compile(r"\bcompute_(?:validator|miner|axon)_[a-z_]+")
SUFFIXES = ("_bucket", "_count", "_sum", "_created")


def every_metric() -> dict[str, tuple[str, ...]]:
    """Name, as Prometheus shows it, to its labels."""
    registry = CollectorRegistry()
    made = (ValidatorMetrics(registry), MinerMetrics(registry), Meters(registry))
    del made
    return {
        metric._name + ("_total" if metric._type == "counter" else ""): metric._labelnames
        for metric in registry._collector_to_names
    }


def plain(name: str) -> str:
    for suffix in SUFFIXES:
        if name.removesuffix(suffix) in every_metric():
            return name.removesuffix(suffix)
    return name


def test_docs_name_every_metric_with_its_labels():
    """The tables in docs/telemetry.md are what the code registers: no more, no less."""
    text = (HERE / "docs/telemetry.md").read_text()
    rows = re.findall(r"^\| `(compute_\w+)` \| \w+ \| ([^|]*)\|", text, re.MULTILINE)
    told = {name: tuple(re.findall(r"\w+", labels)) for name, labels in rows}
    assert told == every_metric()


@pytest.mark.parametrize("path", ["deploy/prometheus/alerts.yaml", "deploy/grafana/compute.json"])
def test_what_is_deployed_asks_for_metrics_that_exist(path):
    """No alert and no panel waits for a metric that nobody serves."""
    asked = set(NAME.findall((HERE / path).read_text()))
    assert len(asked) > 10
    assert {plain(name) for name in asked} <= set(every_metric())


def test_alerts_are_whole():
    """Every rule has a name of its own, an expression, a severity and words for a person."""
    groups = yaml.safe_load((HERE / "deploy/prometheus/alerts.yaml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 15
    for rule in rules:
        assert rule["expr"]
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert rule["annotations"]["summary"].endswith(".")


def test_panels_do_not_cover_each_other():
    """The Grafana dashboard's panels lie beside each other on its grid of 24 columns."""
    panels = json.loads((HERE / "deploy/grafana/compute.json").read_text())["panels"]
    seen: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & seen, panel["title"]
        assert at["x"] + at["w"] <= 24
        seen |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_a_validator_counts_what_it_records():
    """Measurements count by outcome, proofs by their figures, and only those that passed."""
    registry = CollectorRegistry()
    metrics = ValidatorMetrics(registry)
    log = Log()
    gpu = proven("GPU-1").model_copy(update={"tops_milli": 1_500_000})
    log.write(EvidenceKind.PROOF, "a", ProofContent(gpus=(gpu,), seconds_ms=4000, verify_ms=12))
    late = (Outcome.FAILED, Reason.LATE)
    log.write(EvidenceKind.PROOF, "b", ProofContent(seconds_ms=9000), outcome=late)
    log.write(EvidenceKind.PROBE, "a", ProbeContent(ready_ms=1500))
    for record in log.records:
        metrics.measured(record)
    value = registry.get_sample_value
    counted = "compute_validator_measurements_total"
    assert value(counted, {"kind": "proof", "outcome": "passed", "reason": "ok"}) == 1
    assert value(counted, {"kind": "proof", "outcome": "failed", "reason": "late"}) == 1
    labels = {"gpu_class": "h100-sxm"}
    assert value("compute_validator_proof_seconds_sum", labels) == 4
    assert value("compute_validator_proof_tops", labels) == 1500
    assert value("compute_validator_probe_ready_seconds_sum") == 1.5
    assert value("compute_validator_evidence_seq") == 3


def test_who_is_no_longer_paid_disappears():
    """A share of an earlier vector is not shown beside the new one."""
    registry = CollectorRegistry()
    metrics = ValidatorMetrics(registry)
    policy = load_policy("dev")
    both = Log().proven("a", "GPU-1").proven("b", "GPU-2").board("a", "b", policy=policy)
    metrics.scored(both, 10, {"h100-sxm": 2})
    one = Log().proven("a", "GPU-1").board("a", "b", policy=policy)
    metrics.scored(one, 20, {"h100-sxm": 1})
    value = registry.get_sample_value
    assert value("compute_validator_miner_share", {"uid": "0"}) == 1
    assert value("compute_validator_miner_share", {"uid": "1"}) is None
    assert value("compute_validator_miners", {"state": "earning"}) == 1
    assert value("compute_validator_miners", {"state": "unpaid"}) == 1


def test_a_miner_tells_how_late_leases_end():
    """Only ends by deadline count as late or not; other ends are counted by their reason."""
    registry = CollectorRegistry()
    metrics = MinerMetrics(registry)
    metrics.ended("rental", "deadline", 0.8)
    metrics.ended("rental", "released", None)
    value = registry.get_sample_value
    assert value("compute_miner_lease_end_late_seconds_count") == 1
    assert value("compute_miner_lease_ends_total", {"kind": "rental", "reason": "released"}) == 1
    metrics.leases({("rental", "active"): 2}, overdue=1)
    metrics.leases({}, overdue=0)
    assert b"compute_miner_leases{" not in generate_latest(registry)
