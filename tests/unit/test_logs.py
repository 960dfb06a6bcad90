"""No secret reaches a log."""

import json

import structlog

from compute.crypto import sshkeys
from compute.telemetry import logs


def test_secrets_are_masked_by_name_and_by_content(capsys):
    """Fields that are named like secrets, and private keys inside any text, are masked."""
    logs.configure("info", "json", role="test")
    key = sshkeys.generate()
    logs.get("part").info(
        "leased", lease="abc", password="hunter2", ssh_private_key="x", note=f"got {key.private} ok"
    )
    written = capsys.readouterr().err
    assert "hunter2" not in written
    assert key.private.splitlines()[1] not in written
    event = json.loads(written)
    assert event["password"] == logs.MASK
    assert (event["event"], event["lease"], event["role"]) == ("leased", "abc", "test")
    structlog.reset_defaults()
