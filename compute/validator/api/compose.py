"""The application of a whole validator: weights for anybody, rentals where tenants rent."""

from fastapi import FastAPI

from compute.validator.api.app import create_app
from compute.validator.api.rentals import RentalParts, mount_rentals
from compute.validator.api.weights import weights_router
from compute.validator.service import ValidatorService


def validator_app(service: ValidatorService) -> FastAPI:
    """What a validator serves; see `compute.validator.api.server.serving`."""
    app = create_app(weights_router(service.shelf))
    if service.office is not None:
        office = service.office
        mount_rentals(app, RentalParts(office.desk, office.tenants, office.webhooks))
    return app
