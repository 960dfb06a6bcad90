"""The suite's own set-up."""

import os
import subprocess
import sys

from tests.command import ROOT
from tests.scheduling import is_on_engine


def test_every_process_of_a_session_knows_the_engines_state(tmp_path):
    """The state folder that was named is that of the tests, whichever process runs them."""
    test = tmp_path / "test_state.py"
    test.write_text(
        "def test_state(engine_state):\n    assert str(engine_state) == '/named/state'\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [*command, f"--rootdir={tmp_path}", "-n", "1", "--dist", "loadscope", str(test)],
        env={**os.environ, "COMPUTE_STATE": "/named/state", "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout


def test_modules_on_the_engine_are_known_by_what_they_ask_for():
    """One process has them all; what never touches the engine runs beside it."""
    assert is_on_engine(ROOT / "tests/integration/test_lease_crash.py")
    assert is_on_engine(ROOT / "tests/contract/test_engine_contract.py")
    assert not is_on_engine(ROOT / "tests/unit/test_score.py")
    assert not is_on_engine(ROOT / "tests/integration/test_axon_http.py")
