"""Packs the prover into one file that any Python 3.9 with NumPy can run.

The file is a zip archive of the prover's modules; the same sources always give the same bytes, so
that its hash can be published and compared.
"""

import io
import zipfile
from functools import cache
from importlib import resources

MODULES = (
    "chain",
    "engine",
    "engine_numpy",
    "engine_torch",
    "engines",
    "exact",
    "holder",
    "known_answer",
    "prf",
    "prover",
    "service",
    "sizes",
    "torch_paths",
    "torch_steps",
    "trees",
    "wire",
)
"""Modules of `compute.proof` that the program holds; they import nothing else of the product."""

_MAIN = """\
import sys

from compute.proof.service import main

sys.exit(main(sys.argv[1:], [sys.executable, "-I", sys.argv[0]]))
"""
_EPOCH = (1980, 1, 1, 0, 0, 0)


@cache
def prover_program() -> bytes:
    """Return the program; run it as `python3 -I prover.pyz [--device auto|cuda|cpu|numpy]`."""
    package = resources.files("compute.proof")
    parts = {"__main__.py": _MAIN, "compute/__init__.py": "", "compute/proof/__init__.py": ""}
    for module in MODULES:
        source = package.joinpath(f"{module}.py").read_text(encoding="utf-8")
        parts[f"compute/proof/{module}.py"] = source
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:
        for name, source in parts.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            target.writestr(entry, source)
    return archive.getvalue()
