"""The suite's own set-up."""

import os
import subprocess
import sys
import threading

from tests.command import ROOT
from tests.scheduling import Part, engine_shared, part_of


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


def test_modules_are_told_apart_by_what_they_ask_for():
    """Whoever starts engines is alone, subnets and engine are heaps, the rest runs beside them."""
    parts = {
        "integration/test_scripts_engine.py": Part.OWN_ENGINES,
        "adversary/test_lease_hostile.py": Part.OWN_ENGINES,
        "integration/test_lease_crash.py": Part.ENGINE,
        "contract/test_engine_contract.py": Part.ENGINE,
        "integration/test_neurons.py": Part.SUBNETS,
        "integration/test_docs_commands.py": Part.SUBNETS,
        "integration/test_axon_http.py": Part.LIGHT,
        "adversary/test_proof_zoo.py": Part.HEAVY,
    }
    assert {name: part_of(ROOT / "tests" / name) for name in parts} == parts


def test_who_starts_engines_waits_for_all_who_use_one(tmp_path):
    """Users share; an engine is started only when nobody uses one."""
    file, order = tmp_path / "lock", []

    def start_engine() -> None:
        with engine_shared(file, Part.OWN_ENGINES):
            order.append("alone")

    with engine_shared(file, Part.ENGINE):
        with engine_shared(file, Part.SUBNETS):
            starting = threading.Thread(target=start_engine)
            starting.start()
            starting.join(0.2)
        order.append("shared")
    starting.join(5)
    assert order == ["shared", "alone"]
