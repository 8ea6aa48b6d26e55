"""What the workers of a recipe need and is not here."""

from __future__ import annotations

from importlib.util import find_spec

from retain.recipe import Recipe


def worker_problems(recipe: Recipe) -> list[str]:
    """The reason why a recipe's runs cannot be spread as it says, found without starting anything."""
    problems = []
    if recipe.ray is not None and find_spec("ray") is None:
        problems.append("ray: the package ray is not installed: pip install 'retain[ray]', here and on every machine.")
    if recipe.is_launched and (recipe.workers is not None or recipe.ray is not None):
        problems.append(
            "launch: runs that --workers or --ray spreads are done in one process and on one device each; leave launch "
            "out, or do the runs one after another, without --workers and --ray."
        )
    return problems
