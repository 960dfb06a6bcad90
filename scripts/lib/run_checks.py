"""All checks, then all tests: every one runs, so that one run shows everything that is wrong."""

import sys

from leftovers import adopt_orphans, end_orphans, find_leftovers
from steps import BIN, HERE, interrupted, prepare_base_image, run_step, say

_CHECKS = {
    "ruff check": ("ruff", "check"),
    "ruff format": ("ruff", "format", "--check"),
    "mypy": ("mypy",),
    "import contract": ("lint-imports",),
}
# A test that hangs must not hold up the others for ever.
_TEST_LIMIT_S = 600


def main(arguments: list[str]) -> int:
    """Run everything and return 0 only if nothing failed."""
    failed = []
    for name, (tool, *rest) in _CHECKS.items():
        status = run_step(name, [str(BIN / tool), *rest])
        if interrupted(status):
            return status
        failed += [name] if status else []
    status = prepare_base_image()
    if status:
        return status
    adopt_orphans()
    status = run_step("pytest", [sys.executable, "-m", "pytest", *_test_arguments(arguments)])
    left = end_orphans() + find_leftovers()
    for line in left:
        say(f"left behind by the tests: {line}")
    if failed:
        say(f"failed before the tests: {', '.join(failed)}")
    return status or int(bool(failed or left))


def _test_arguments(arguments: list[str]) -> list[str]:
    return [f"--rootdir={HERE}", f"--timeout={_TEST_LIMIT_S}", "-rs", *arguments]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
