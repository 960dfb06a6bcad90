"""Settings of the dashboard and the metrics that a neuron serves."""

from typing import Annotated

from pydantic import Field

from compute.settings.common import Names, Settings

Days = Annotated[int, Field(ge=1, le=3650)]


class DashboardSettings(Settings):
    """Where a neuron shows what it does: pages for people and metrics for Prometheus."""

    host: str = Field("127.0.0.1", description="address that the dashboard listens on")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        0, description="port of the dashboard and of /metrics; 0 serves neither"
    )
    names: Names = Field(
        (), description="host names under which others reach the dashboard, such as a proxy's"
    )
    scores_days: Days = Field(400, description="days that scores are kept for the dashboard")
    measures_days: Days = Field(90, description="days that measurements are kept for it")
