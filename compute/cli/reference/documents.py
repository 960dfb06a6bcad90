"""The OpenAPI documents of what speaks HTTP, without anything that has to run for them."""

import json
from collections.abc import Callable, Mapping
from typing import Any, cast

from compute.protocol import openapi
from compute.protocol.synapses import ALLOCATE, CHALLENGE, LEASE, SPECS
from compute.validator.api.app import create_app
from compute.validator.api.rentals import RentalParts, mount_rentals
from compute.validator.api.weights import weights_router
from compute.version import __version__

SYNAPSES = (SPECS, ALLOCATE, LEASE, CHALLENGE)
_UNUSED = cast("Any", None)  # routes are described without being called


def axon() -> dict[str, Any]:
    """What a miner's axon publishes at `/openapi.json`."""
    return openapi.document(SYNAPSES, title="compute miner", version=__version__)


def validator() -> dict[str, Any]:
    """What a validator with tenants publishes at `/openapi.json`."""
    app = create_app(weights_router(_UNUSED))
    mount_rentals(app, RentalParts(_UNUSED, _UNUSED, _UNUSED))
    return app.openapi()


DOCUMENTS: Mapping[str, Callable[[], dict[str, Any]]] = {"axon": axon, "validator": validator}


def as_json(document: Mapping[str, Any]) -> str:
    """A document as it stands in `docs/`."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
