"""What the workers of a recipe need and is not here."""

from __future__ import annotations

from importlib.util import find_spec

from retain.recipe import Recipe


def worker_problems(recipe: Recipe) -> list[str]:
    """The reason why a recipe's runs cannot be spread as it says, found without starting anything."""
    if recipe.ray is not None and find_spec("ray") is None:
        return ["ray: the package ray is not installed: pip install 'retain[ray]', here and on every machine."]
    return []
