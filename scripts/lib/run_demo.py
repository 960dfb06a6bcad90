"""The demo, on an engine that is ready: prepares the base image, then runs it."""

import os
import sys

from steps import HERE, prepare_base_image

from compute.adapters.engine.private.child import run_child


def main(arguments: list[str]) -> int:
    """Run the demo and return its exit status."""
    return prepare_base_image() or run_child(
        [sys.executable, str(HERE / "scripts" / "demo_run.py"), *arguments], dict(os.environ)
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
