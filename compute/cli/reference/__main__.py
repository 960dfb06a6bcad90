"""Writes `docs/api.md`, or one of the OpenAPI documents beside it.

::

    python -m compute.cli.reference > docs/api.md
    python -m compute.cli.reference axon > docs/openapi-axon.json
    python -m compute.cli.reference validator > docs/openapi-validator.json
"""

import sys

from compute.cli.reference.documents import DOCUMENTS, as_json
from compute.cli.reference.page import page

if __name__ == "__main__":
    wanted = sys.argv[1:]
    sys.stdout.write(as_json(DOCUMENTS[wanted[0]]()) if wanted else page())
