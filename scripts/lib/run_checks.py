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
_TESTS_FAILED = 1  # pytest's own exit status
_MOST_AGAIN = 5  # more than so many are no coincidence
# What may run beside what is in tests/scheduling.py.
_SIDE_BY_SIDE = ("-n", "2", "--dist", "loadscope", "--no-loadscope-reorder")
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
    status = _run_tests(arguments)
    left = end_orphans() + find_leftovers()
    for line in left:
        say(f"left behind by the tests: {line}")
    if failed:
        say(f"failed before the tests: {', '.join(failed)}")
    return status or int(bool(failed or left))


def _run_tests(arguments: list[str]) -> int:
    """Run the tests; a few that fail are run once more, by themselves and in sight.

    Real engines share one host's packet filter, ports and clock with whatever else runs there. A
    test that fails for such a reason passes alone; one that is broken fails again.
    """
    command = [sys.executable, "-m", "pytest", *_test_arguments(arguments)]
    status = run_step("pytest", [*command, *_SIDE_BY_SIDE])
    if status != _TESTS_FAILED:
        return status
    again = [
        *command,
        "--last-failed",
        "--last-failed-no-failures=none",
        f"--maxfail={_MOST_AGAIN}",
    ]
    status = run_step("pytest, what failed once more", again)
    if status == 0:
        say("passed at the second try only: see above which, and why")
    return status


def _test_arguments(arguments: list[str]) -> list[str]:
    return [f"--rootdir={HERE}", f"--timeout={_TEST_LIMIT_S}", "-rs", *arguments]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
