"""Between a lease and its row: the only place that knows both forms."""

import json
from dataclasses import asdict
from typing import Any

from sqlalchemy import RowMapping

from compute.domain.capacity import Assignment
from compute.domain.lease import EndReason, Lease, LeaseKind, LeaseState, Teardown
from compute.domain.requirement import Requirement
from compute.domain.timeline import Deadline

_AS_THEY_ARE = (
    "id",
    "owner",
    "created_at",
    "trace",
    "image",
    "container",
    "renter_public_key",
    "ssh_public_key",
    "idempotency_key",
    "request_sha256",
    "idle_stop_s",
    "credentials",
    "nonce",
    "ready_at",
    "ended_at",
    "error",
    "detail",
)


def to_row(lease: Lease) -> dict[str, Any]:
    """Column values of a lease."""
    return {
        **{name: getattr(lease, name) for name in _AS_THEY_ARE},
        "kind": lease.kind.value,
        "state": lease.state.value,
        "managers": json.dumps(lease.managers),
        "requirement": lease.requirement.model_dump_json(),
        "assignment": lease.assignment.model_dump_json(),
        "expires_at": lease.deadline.wall,
        "expires_uptime": lease.deadline.uptime,
        "expires_boot": lease.deadline.boot,
        "environment": json.dumps(dict(lease.environment)),
        "reason": lease.reason.value if lease.reason else None,
        "teardown": json.dumps(asdict(lease.teardown)) if lease.teardown else None,
    }


def from_row(row: RowMapping) -> Lease:
    """The lease of column values."""
    return Lease(
        **{name: row[name] for name in _AS_THEY_ARE},
        kind=LeaseKind(row["kind"]),
        state=LeaseState(row["state"]),
        managers=tuple(json.loads(row["managers"])),
        requirement=Requirement.model_validate_json(row["requirement"]),
        assignment=Assignment.model_validate_json(row["assignment"]),
        deadline=Deadline(row["expires_at"], row["expires_uptime"], row["expires_boot"]),
        environment=json.loads(row["environment"]),
        reason=EndReason(row["reason"]) if row["reason"] else None,
        teardown=_teardown(row["teardown"]),
    )


def _teardown(text: str | None) -> Teardown | None:
    if text is None:
        return None
    fields = json.loads(text)
    return Teardown(**{**fields, "checks": tuple(fields["checks"])})
