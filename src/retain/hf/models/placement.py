"""Where a base's layers lie: on the accelerator, or spread over devices, memory and disk by Accelerate."""

from __future__ import annotations

import difflib
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

DISK = "disk"


def current_device() -> torch.device:
    """The device that a model is placed on where nothing else is said: the current accelerator, else the CPU.

    Of several accelerators of one kind it is the one that torch has as current, as the Trainer trains on.
    """
    kind = torch.accelerator.current_accelerator(check_available=True)
    if kind is None:
        return torch.device("cpu")
    return kind if kind.type == "mps" else torch.device(kind.type, torch.accelerator.current_device_index())


def computing_device(device_map: str | Mapping[str, Any] | None = None, *, use_cpu: bool = False) -> torch.device:
    """The device that a model computes on.

    Args:
        device_map: places of the layers; one that names the processor alone keeps a model off the accelerator.
        use_cpu: the Trainer is told to leave the accelerator alone.

    Examples:
        >>> computing_device({"": "cpu", "model.layers.0": "disk"})
        device(type='cpu')
    """
    places = set(device_map.values()) if isinstance(device_map, Mapping) else {device_map}
    on_processor = use_cpu or (bool(places) and places <= {"cpu", DISK})
    return torch.device("cpu") if on_processor else current_device()


def random_states_kept() -> AbstractContextManager[None]:
    """Give torch's random states back at the end: the CPU's and those of all GPUs, which `manual_seed` sets too."""
    return torch.random.fork_rng(range(torch.cuda.device_count()))


def as_device(place: Any) -> Any:
    """A place as Accelerate takes it: the number of an accelerator, or a name."""
    return int(place) if isinstance(place, str) and place.isdecimal() else place


def resolved(device_map: str | Mapping[str, Any], model: nn.Module | None = None) -> Any:
    """A device map as transformers takes it: numbers of accelerators as numbers, each module under one key alone.

    Args:
        device_map: a strategy, a device, or a mapping in which the longest name that fits a module counts.
        model: without weights; the modules of a mapping are looked up in it.
    """
    if not isinstance(device_map, Mapping):
        return as_device(device_map)
    places = {name: as_device(place) for name, place in device_map.items()}
    if model is None or len(places) < 2:
        return places
    return {name: place for name, place in _apart("", model, None, places) if place is not None}


def _apart(name: str, module: nn.Module, place: Any, places: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The place of a module, or those of its parts where some of them lie elsewhere."""
    place = places.get(name, place)
    if not any(key != name and (key.startswith(f"{name}.") or not name) for key in places):
        yield name, place
        return
    start = f"{name}." if name else ""
    for own, _ in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
        yield start + own, places.get(start + own, place)
    for own, child in module.named_children():
        yield from _apart(start + own, child, place, places)


def memory_limits(max_memory: Mapping[str, Any]) -> dict[Any, Any] | None:
    """Sizes by device as Accelerate takes them; None where there are none."""
    return {as_device(name): as_device(size) for name, size in max_memory.items()} or None


def map_problems(device_map: Any, max_memory: Mapping[str, Any], model: nn.Module | None = None) -> list[str]:
    """A sentence for each place that there is not here, and each module that the model has not.

    Args:
        device_map: as a recipe gives it.
        max_memory: likewise.
        model: without weights, to look for modules in; None: places are checked alone.
    """
    strategies = {"auto", "balanced", "balanced_low_0", "sequential"}
    mapped = isinstance(device_map, Mapping)
    places = list(device_map.values()) if mapped else [device_map] if device_map not in {None, *strategies} else []
    problems = [
        f"device_map: {fault}" for place in dict.fromkeys(places) if (fault := _place_fault(place, disk=mapped))
    ]
    problems += [f"max_memory: {fault}" for place in max_memory if (fault := _place_fault(place, disk=False))]
    if mapped and model is not None:
        problems += [f"device_map: {fault}" for fault in _name_faults(device_map, model)]
    return problems


def _place_fault(place: Any, *, disk: bool) -> str | None:
    count = torch.accelerator.device_count()
    there = [*(str(number) for number in range(count)), "cpu", *([DISK] if disk else [])]
    if str(place) in there:
        return None
    try:
        device = torch.device(as_device(place))
    except RuntimeError:
        return f"there is no device {place!r}; here are {', '.join(there)}."
    here = torch.accelerator.current_accelerator(check_available=True)
    if here is not None and device.type == here.type and (device.index or 0) < count:
        return None
    return f"there is no device {place!r}; here are {', '.join(there)}."


def _name_faults(device_map: Mapping[str, Any], model: nn.Module) -> list[str]:
    names = [name for name, _ in model.named_modules()] + [name for name, _ in model.named_parameters()]
    faults = []
    for name in device_map:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=2)
            hint = f"did you mean {' or '.join(near)}?" if near else "'' is all of it."
            faults.append(f"no module of the model is named {name!r}; {hint}")
    left = [
        name
        for name, _ in model.named_parameters()
        if not any(key in {"", name} or name.startswith(f"{key}.") for key in device_map)
    ]
    if left and not faults:
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        faults.append(f"{left[0]}{more} are given no device; add '' for all that is not named, as '{{\"\": cpu, …}}'.")
    return faults


class OffloadFolder:
    """A folder of its own for weights that are offloaded to disk; it is removed with the model that they are of."""

    def __init__(self, beside: str | Path | None) -> None:
        """Make the folder.

        Args:
            beside: an existing folder, on whose disk it is made; else where the system has temporary files.
        """
        place = Path(beside).expanduser() if beside is not None else None
        inside = place if place is not None and place.is_dir() else None
        self.path = Path(tempfile.mkdtemp(prefix=".offloaded-", dir=inside))
        self._remove = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def keep_for(self, model: nn.Module) -> None:
        """Keep the folder for as long as a model lives, and no longer; an empty one goes at once.

        Weights of safetensors files are read from where they lie, so most often nothing is written.
        """
        self._remove.detach()
        if not any(self.path.iterdir()):
            self.path.rmdir()
            return
        weakref.finalize(model, shutil.rmtree, self.path, ignore_errors=True)


@contextmanager
def stand_ins(model: nn.Module) -> Iterator[bool]:
    """Let offloaded weights look like weights inside the context, so that PEFT makes adapters beside them.

    PEFT sends an adapter to where the weight of its layer lies; beside a weight without data its values would be lost.
    A stand-in has the shape, the dtype and the device that computes, takes no memory, and holds no number: what is
    computed from it is not finite, and so is found.

    Yields:
        Whether there are offloaded weights.
    """
    held: list[tuple[nn.Module, str, nn.Parameter]] = []
    for module in list(model.modules()):
        for name, parameter in list(module._parameters.items()):  # noqa: SLF001 -- a tied one stands in each module
            if parameter is not None and parameter.device.type == "meta" and hasattr(module, "_hf_hook"):
                held.append((module, name, parameter))
                place = getattr(module._hf_hook, "execution_device", None)  # noqa: SLF001 -- accelerate's
                number = torch.full((), torch.nan, dtype=parameter.dtype, device="cpu" if place is None else place)
                one = nn.Parameter(number.expand(parameter.shape), requires_grad=parameter.requires_grad)
                module._parameters[name] = one  # noqa: SLF001 -- likewise
    try:
        yield bool(held)
    finally:
        for module, name, parameter in held:
            parameter.requires_grad_(module._parameters[name].requires_grad)  # type: ignore[union-attr]  # noqa: SLF001 -- likewise; it was put there
            module._parameters[name] = parameter  # noqa: SLF001 -- likewise


def is_spread(model: Any) -> bool:
    """Tell whether Accelerate fetches a model's layers from elsewhere as they are computed."""
    places = getattr(model, "hf_device_map", None) or {}
    return len({str(place) for place in places.values()}) > 1


def offloaded(model: Any) -> bool:
    """Tell whether some of a model's layers wait in memory or on disk for the device that computes."""
    places = {str(place) for place in (getattr(model, "hf_device_map", None) or {}).values()}
    return DISK in places or ("cpu" in places and len(places) > 1)


def placement_note(model: Any) -> list[str]:
    """A note on where a base's layers lay, for its record; none where all lie on one device."""
    if not is_spread(model):
        return []
    count: dict[str, int] = {}
    for place in (getattr(model, "hf_device_map", None) or {}).values():
        count[str(place)] = count.get(str(place), 0) + 1
    parts = ", ".join(f"{number} on {place}" for place, number in count.items())
    return [f"The base's parts were spread by Accelerate: {parts}."]
