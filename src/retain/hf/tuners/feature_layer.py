"""The layer of every method that shifts a frozen linear layer's input: y = base(x + Σᵢ sᵢ Tᵢ(x)).

The sum runs over the active adapters, so their order is of no matter, and W0·(I + Σᵢ sᵢ Tᵢ), merged, is the same.
A method's subclass defines an adapter's parameters, T(x), and W0·T as a matrix; nothing else.
Symbols: x (..., n) the layer's input, W0 (m, n) its weight, T the shift, linear in x, and s its scale.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from torch import Tensor, nn
from torch.nn.functional import linear

from retain.errors import AdapterError, MergeError
from retain.hf.tuners import forward as forms
from retain.hf.tuners.base_weight import Original, as_matrix, at_least_float32, features
from retain.hf.tuners.feature_config import FeatureConfig
from retain.hf.tuners.forward import FrozenMatrix
from retain.kernels import eligibility

BASE = "__base__"
"""The name that stands for no adapter in a mixed batch; PEFT's convention."""

MIXED_DIMENSIONS = 2
"""Dimensions that an input has at least that is a batch of rows."""

Group = tuple[Sequence[str], Tensor | None]
"""Adapters, and the rows of the batch that they act on (None: all rows)."""


class FeatureLayer(nn.Module, BaseTunerLayer):  # type: ignore[misc]  # PEFT ships no types
    """A linear layer with adapters on its input. Not made by users: the tuner puts it in the layer's place.

    Args:
        base_layer: the linear layer (m, n), plain or quantised; it stays as it is.
        adapter_name: the first adapter.
        config: that adapter's configuration.
        key: the layer's name in the model, to which per-layer patterns of the config refer.
        backend: PEFT's helper for a quantised base layer.
    """

    adapter_layer_names: tuple[str, ...] = ()
    other_param_names: tuple[str, ...] = ("scaling", "preserve_small_shifts")
    module_names: ClassVar[tuple[str, ...]] = ()
    """The `nn.ModuleDict`s, keyed by adapter, that the method keeps. Modules, not bare parameters: sharding and
    offloading act on modules that own a `.weight`."""

    def __init__(
        self, base_layer: nn.Module, adapter_name: str, *, config: FeatureConfig, key: str = "", backend: Any = None
    ) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.quantization_backend = backend
        self.in_features, self.out_features = features(base_layer)
        for name in self.module_names:
            self.add_module(name, nn.ModuleDict())
        self.scaling: dict[str, float] = {}
        self.preserve_small_shifts: dict[str, bool] = {}
        self.merged_adapters: list[str] = []
        self.rounded_away: tuple[float, float] | None = None
        self._original: Original | None = None
        self.cast_input_dtype_enabled = True  # PEFT switches it; an input is cast here only where the sum needs it
        self._disable_adapters = False
        self._active_adapter = adapter_name
        self.update_layer(adapter_name, config=config, key=key)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...  # submodules by name, and what PEFT's untyped base has

    shrunk_by: ClassVar[tuple[str, ...]] = ()
    """The `nn.ModuleDict`s that a smaller update in training is made by, going to 0, where that is not the last of
    `adapter_layer_names`: the update then keeps a form that scaling would take from it."""

    part_types: ClassVar[tuple[type[nn.Module], ...]] = (nn.Linear, nn.Identity, nn.Dropout)
    """The types of an adapter's modules; a fused form reads no others, such as one that is wrapped to be sharded."""

    # What a method defines.

    @classmethod
    def problems(cls, config: Any, key: str, in_features: int) -> list[str]:  # noqa: ARG003 -- for subclasses
        """The reasons why this method cannot adapt the layer `key` of `in_features` inputs; none if it can."""
        return []

    @abstractmethod
    def parts(self, config: Any, key: str) -> dict[str, nn.Module]:
        """A new adapter's modules, by the name of the `ModuleDict` that will hold each; T = 0 as they are made."""

    def scale(self, config: Any, key: str) -> float:  # noqa: ARG002 -- for subclasses
        """The adapter's scale s."""
        return 1.0

    @abstractmethod
    def shift(self, name: str, x: Tensor) -> Tensor:
        """T(x) of one adapter, without its scale: (..., n) to (..., n), in at least the adapter's precision."""

    @abstractmethod
    def combine(self, name: str, adapters: dict[str, float]) -> None:
        """Give the adapter `name` the weighted sum of other adapters' scaled shifts, exactly."""

    @abstractmethod
    def change(self, name: str, weight: Tensor) -> Tensor:
        """W0·T of one adapter, without its scale: (m, n) to (m, n), in the precision of `weight`."""

    def low_rank_change(self, name: str, weight: Tensor) -> tuple[Tensor, Tensor] | None:  # noqa: ARG002 -- for subclasses
        """W0·T of one adapter, without its scale, as B (m, k) and A (k, n); None where it has no low rank."""
        return None

    def projected(self, name: str, x: Tensor, weight: Tensor) -> Tensor:
        """W0·T(x) of one adapter, without its scale: (..., n) to (..., m); overridden where there is a cheaper way.

        T(x) is rounded once, to the weight's dtype: to 8 bits of its own size in bf16, not of the size of x.
        """
        return linear(self.shift(name, x).to(weight.dtype), weight)

    def fused(self, names: Sequence[str], x: Tensor, base: FrozenMatrix) -> Tensor | None:  # noqa: ARG002 -- likewise
        """The layer with these adapters in one function, (..., n) to (..., m); None where the method has none."""
        return None

    def shifted_rows(
        self,
        names: Sequence[str],  # noqa: ARG002 -- likewise
        rows: Tensor,  # noqa: ARG002 -- likewise
        x: Tensor,  # noqa: ARG002 -- likewise
        *,
        stochastic: bool,  # noqa: ARG002 -- likewise
    ) -> Tensor | None:
        """The input x + s·T(x) with an adapter for each row of x, in the type of x.

        Args:
            names: the adapters that there are, each once.
            rows: int64 (rows,): which of them each row has; their number for none.
            x: (rows, S, n).
            stochastic: over 16 bits, round stochastically, and not to the nearest.

        Returns:
            (rows, S, n); None where it has to be computed adapter by adapter.
        """
        return None

    # Adapters.

    def update_layer(self, adapter_name: str, *, config: FeatureConfig, key: str = "", **_: Any) -> None:
        """Add an adapter; it changes nothing until it is trained."""
        for container, module in self.parts(config, key).items():
            getattr(self, container)[adapter_name] = module
        self.scaling[adapter_name] = self.scale(config, key)
        self.preserve_small_shifts[adapter_name] = config.preserve_small_shifts
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def _move_adapter_to_device_of_base_layer(self, adapter_name: str, device: torch.device | None = None) -> None:
        """Place an adapter where its layer computes, in float32 (or float64) also over a 16-bit base.

        PEFT would round it to the base's dtype and, in some paths only, cast it back. A layer whose weight is offloaded
        computes where its hook says.
        """
        own_device, _ = self._get_base_layer_device_and_dtype(self.base_layer)
        target = device or own_device
        if target is None or target.type == "meta":
            target = getattr(getattr(self.base_layer, "_hf_hook", None), "execution_device", None) or "cpu"
        dtype = forms.adapter_dtype(self.base_layer)
        for name in self.module_names:
            if adapter_name in (modules := getattr(self, name)):
                on_meta = any(p.device.type == "meta" for p in modules[adapter_name].parameters())
                modules[adapter_name].to(device=None if on_meta else target, dtype=dtype)

    # Forward.

    def forward(self, x: Tensor, *args: Any, adapter_names: list[str] | None = None, **kwargs: Any) -> Tensor:
        """Compute y = base(x + Σᵢ sᵢ Tᵢ(x)) over the active adapters, or for each row with the adapter named for it.

        Args:
            x: (..., n).
            args: passed on to the base layer.
            adapter_names: one adapter a row of x, `__base__` for none.
            kwargs: passed on to the base layer.

        Returns:
            (..., m), in the dtype that the base layer gives.
        """
        if self.disable_adapters:
            if self.merged:
                self.unmerge()
            return self._base(x, *args, **kwargs)
        if adapter_names is not None:
            self._check_rows(x, adapter_names)
            mixed = None if args or kwargs else self._mixed(x, adapter_names)
            return self._adapted(x, self._rows(x, adapter_names), *args, **kwargs) if mixed is None else mixed
        present = [name for name in self.active_adapters if name in self.scaling]
        if self.merged or not present:
            return self._base(x, *args, **kwargs)
        fused = None if args or kwargs else self._fused(present, x)
        return self._adapted(x, [(present, None)], *args, **kwargs) if fused is None else fused

    def _base(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        y: Tensor = self.base_layer(x, *args, **kwargs)
        return y

    def _fused(self, names: Sequence[str], x: Tensor) -> Tensor | None:
        """The fused form, where the tensors are eligible."""
        if torch.compiler.is_compiling() or x.dim() == 0:  # first: the rest cannot be traced
            return None
        base = forms.frozen_matrix(self.base_layer, x)
        if base is None or not self._open(names) or not eligibility.eligible(x, *base, *self._tensors_of(names)):
            return None
        return self.fused(names, x, base)

    def _open(self, names: Sequence[str]) -> bool:
        """Tell whether the adapters' parts may be read instead of being called."""
        modules = self._modules_of(names)
        return all(type(module) in self.part_types and not forms.is_watched(module) for module in modules)

    def _modules_of(self, names: Sequence[str]) -> list[nn.Module]:
        return [getattr(self, kind)[name] for kind in self.module_names for name in names]

    def _tensors_of(self, names: Sequence[str]) -> list[Tensor]:
        return [tensor for module in self._modules_of(names) for tensor in module.parameters(recurse=False)]  # no parts

    def _mixed(self, x: Tensor, adapter_names: Sequence[str]) -> Tensor | None:
        """All rows at once, each with its own adapter, where the tensors are eligible."""
        if torch.compiler.is_compiling():
            return None
        present = list(dict.fromkeys(name for name in adapter_names if name in self.scaling))
        if not present or x.dim() < MIXED_DIMENSIONS:
            return None
        if not self._open(present) or not eligibility.eligible(x, *self._tensors_of(present)):
            return None
        place = {name: index for index, name in enumerate(present)}
        rows = torch.tensor([place.get(name, len(present)) for name in adapter_names], device=x.device)
        stochastic = all(self.preserve_small_shifts[name] for name in present)
        shifted = self.shifted_rows(present, rows, x.reshape(len(x), -1, self.in_features), stochastic=stochastic)
        return None if shifted is None else self._base(shifted.view(x.shape))

    def _adapted(self, x: Tensor, groups: list[Group], *args: Any, **kwargs: Any) -> Tensor:
        weight = forms.residual_weight(self.base_layer, x)
        if weight is None or not all(self.preserve_small_shifts[name] for names, _ in groups for name in names):
            return self._base(self._add(x, x, groups, None).to(x.dtype), *args, **kwargs)
        y = self._base(x, *args, **kwargs)
        return self._add(y, x, groups, weight).to(y.dtype)

    def _add(self, total: Tensor, x: Tensor, groups: list[Group], weight: Tensor | None) -> Tensor:
        """`total` plus the contribution of each group's adapters: T(x) (weight None) or W0·T(x), scaled."""
        for names, rows in groups:
            part = x if rows is None else x.index_select(0, rows)
            for name in names:
                added = self.shift(name, part) if weight is None else self.projected(name, part, weight)
                scale = self.scaling[name]
                added = added if scale == 1.0 else added * scale
                total = total + added if rows is None else total.index_add(0, rows, added.to(total.dtype))
        return total

    def _check_rows(self, x: Tensor, adapter_names: Sequence[str]) -> None:
        if len(x) != len(adapter_names):
            raise AdapterError(
                "Length of `adapter_names` should be the same as the number of inputs, but got "
                f"{len(adapter_names)} and {len(x)} respectively. adapter_names has {len(adapter_names)} entries for a "
                f"batch of {len(x)}; give one for each row, {BASE!r} for none."
            )
        if self.merged:
            raise AdapterError(
                "Cannot pass `adapter_names` when there are merged adapters, please call `unmerge_adapter` first. "
                "adapter_names cannot be used while adapters are merged."
            )

    def _rows(self, x: Tensor, adapter_names: list[str]) -> list[Group]:
        rows: dict[str, list[int]] = {}
        for row, name in enumerate(adapter_names):
            rows.setdefault(name, []).append(row)
        return [([n], torch.tensor(r, device=x.device)) for n, r in rows.items() if n in self.scaling]

    # Merging.

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Write W0·(I + Σᵢ sᵢ Tᵢ) into the base layer, over all adapters merged by now, always from the original W0.

        It is computed in float32 or better and rounded once to the base's dtype; `unmerge` gives the original bits
        back, for which they are kept until then.

        Args:
            safe_merge: refuse a result that is not finite.
            adapter_names: which adapters; None for the active ones.

        Raises:
            MergeError: the result is not finite, or the base cannot be rewritten.
        """
        names = [name for name in check_adapters_to_merge(self, adapter_names) if name in self.scaling]
        if not names:
            return
        original = self._original or Original(self)
        matrix = at_least_float32(original.matrix())
        merged = matrix + sum(self._changes([*self.merged_adapters, *names], matrix))
        if safe_merge and not torch.isfinite(merged).all():
            raise MergeError(  # PEFT's words, which tools look for
                f"NaNs detected in the merged weights. The adapter {', '.join(names)} seems to be broken. Merging "
                f"{', '.join(names)} gives weights that are not finite; the adapter is broken."
            )
        original.write(self, merged)
        self.rounded_away = original.rounded_away(self, merged)
        self._original = original
        self.merged_adapters.extend(names)

    def unmerge(self) -> None:
        """Put the original weight back, bit for bit; nothing to do if nothing is merged."""
        if self._original is not None:
            self._original.restore(self)
        self._original = None
        self.merged_adapters.clear()

    def get_delta_weight(self, adapter: str) -> Tensor:
        """s·W0·T of one adapter, in the base weight's layout, in float32 or better."""
        matrix = at_least_float32((self._original or Original(self)).matrix())
        return as_matrix(self.base_layer, next(self._changes([adapter], matrix)))

    @torch.no_grad()
    def _change(self, name: str, matrix: Tensor) -> Tensor:
        return self.scaling[name] * self.change(name, matrix)

    def _changes(self, names: Sequence[str], matrix: Tensor) -> Iterator[Tensor]:
        return (self._change(name, matrix) for name in names)
