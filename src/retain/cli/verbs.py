"""The verbs of the command line."""

from __future__ import annotations

from retain.cli import (
    advise,
    calibrate,
    check,
    compare,
    export,
    gate,
    inspect,
    judge,
    measure,
    report,
    scale,
    sequence,
    suites,
    tune,
)

VERBS = {
    "suites": suites,
    "check": check,
    "advise": advise,
    "calibrate": calibrate,
    "inspect": inspect,
    "tune": tune,
    "compare": compare,
    "scale": scale,
    "export": export,
    "measure": measure,
    "judge": judge,
    "gate": gate,
    "report": report,
    "sequence": sequence,
}
"""Verbs in the order of work."""
