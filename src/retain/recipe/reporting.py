"""Settings of a Trainer that say where a run is reported to: none of them changes what is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REPORTING = {"report_to", "run_name", "project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id"}
"""Settings under `training` by which no run differs from another: where it is reported to, and under which name."""


def without_reporting(training: Mapping[str, Any]) -> dict[str, Any]:
    """The Trainer's settings that decide what is trained: without those that say where it is reported to."""
    return {name: value for name, value in training.items() if name not in REPORTING}
