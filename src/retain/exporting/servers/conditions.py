"""The conditions that a rule can state: a fixed set of predicates, each with parameters from the rules' file.

A predicate answers with what it found, in words for the user, or with None where it does not hold. One that cannot be
judged, because the base is not at hand for instance, does not hold.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from retain.exporting.servers.phrases import listed, shown
from retain.exporting.servers.served import PREFIX, Served, kind_of, layer_of, text_value


@dataclass(frozen=True)
class Found:
    """What a condition found.

    Attributes:
        words: clauses for the user, as `use_dora is true`.
        values: what a rule's texts can name beside what they always can.
    """

    words: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)


_LAYER_NUMBER = re.compile(r"\.\d+\.")

Condition = Callable[[Served], Found | None]
Predicate = Callable[..., Found | None]

PREDICATES: dict[str, Predicate] = {}
"""The predicates by the name that rules use."""


def _predicate(function: Predicate) -> Predicate:
    PREDICATES[function.__name__] = function
    return function


def condition(stated: Mapping[str, Any]) -> Condition:
    """A condition from a rule's text: all of its predicates must hold.

    Args:
        stated: predicates with their parameters; `not: {…}` and `any: [{…}, …]` hold others.

    Raises:
        ValueError: there is no such predicate.
    """
    parts = [_part(name, given) for name, given in stated.items()]

    def holds(served: Served) -> Found | None:
        found = [part(served) for part in parts]
        if not all(found):
            return None
        kept = [one for one in found if one is not None]
        return Found(
            tuple(word for one in kept for word in one.words),
            {name: value for one in kept for name, value in one.values.items()},
        )

    return holds


def _part(name: str, given: Any) -> Condition:
    if name == "not":
        inner = condition(given)
        return lambda served: None if inner(served) else Found()
    if name == "any":
        alternatives = [condition(one) for one in given]
        return lambda served: next((found for one in alternatives if (found := one(served))), None)
    if name not in PREDICATES:
        raise ValueError(f"there is no predicate {name!r}; there are {', '.join(PREDICATES)}")
    predicate, parameters = PREDICATES[name], given if isinstance(given, Mapping) else {}
    return lambda served: predicate(served, **parameters)


@_predicate
def always(_: Served) -> Found | None:
    """Hold for everything."""
    return Found()


@_predicate
def field_is(
    served: Served,
    *,
    name: str,
    value: Any = None,
    any_of: Sequence[Any] = (),
    none_of: Sequence[Any] = (),
    of: str = "own",
    form: str = "",
) -> Found | None:
    """Hold where a field of a configuration has some value.

    Args:
        served: what is served.
        name: of the field.
        value: that it has; texts are compared without regard to capitals.
        any_of: values of which it has one.
        none_of: a text that is none of these, which are in small letters.
        of: `own` configuration, or the `model`'s.
        form: instead of a value `set` (neither null, false nor empty), `fraction` (written as no whole number), or
            `text` (a text, and `none_of`).
    """
    config = served.config if of == "own" else served.model_config
    actual = (config or {}).get(name) if of == "own" else text_value(config, name)
    if actual is None or not _has(actual, form or ("text" if none_of else ""), tuple(any_of) or (value,), none_of):
        return None
    return Found((f"{name} is {shown(actual)}",), {"value": shown(actual)})


def _has(actual: Any, form: str, wanted: tuple[Any, ...], none_of: Sequence[Any]) -> bool:
    low = actual.lower() if isinstance(actual, str) else actual
    if form == "set":
        return bool(actual)
    if form == "fraction":
        return isinstance(actual, float)
    if form == "text":
        return isinstance(actual, str) and low not in none_of
    return any(type(low) is type(one) and low == one for one in wanted)


@_predicate
def method(served: Served, *, any_of: Sequence[str] = (), none_of: Sequence[str] = ()) -> Found | None:
    """Hold where the adapter's PEFT method is one of some, or none of some."""
    holds = served.method in any_of if any_of else served.method not in none_of
    told = () if served.method == "LORA" else (f"peft_type is {served.method or 'missing'}",)
    return Found(told, {"method": served.method}) if holds else None


@_predicate
def architecture(served: Served, *, any_of: Sequence[str] = (), none_of: Sequence[str] = ()) -> Found | None:
    """Hold where the model's class is known and one of some, or none of some."""
    name = served.architecture
    if name is None or (name not in any_of if any_of else name in none_of):
        return None
    return Found((f"the model's class is {name}",), {"architecture": name})


@_predicate
def tensors(served: Served, *, like: str, unless: str = r"(?!)") -> Found | None:
    """Hold where tensors have names that a pattern finds, and another does not."""
    names = [name for name in served.tensors if re.search(like, name) and not re.search(unless, name)]
    if not names:
        return None
    told = listed([_LAYER_NUMBER.sub(".*.", name.removeprefix(PREFIX)) for name in names])
    return Found((f"there {'is' if len(names) == 1 else 'are'} {told}",), {"names": told})


@_predicate
def rank(served: Served, *, above: int = 0, up_to: int = 0, allowed: Sequence[int] = ()) -> Found | None:
    """Hold where the largest rank is above a number, and not above another; tells the next that is allowed."""
    largest = served.largest_rank
    if largest is None or largest <= above or (up_to and largest > up_to):
        return None
    fitting = next((one for one in sorted(allowed) if one >= largest), largest)
    return Found((f"its largest rank is {largest}",), {"rank": str(largest), "allowed": str(fitting)})


@_predicate
def ranks_padded(served: Served, *, smallest: int, block: int) -> Found | None:
    """Hold where a rank is padded and more than one kind of module has it, so that a later one is scaled wrongly."""
    r = served.config.get("r")
    kinds = {kind_of(module) for module in served.ranks}
    if not isinstance(r, int) or r < 1 or len(kinds) < 2:
        return None
    padded = smallest if r <= smallest else -(-r // block) * block
    if padded == r:
        return None
    return Found((f"r is {r}",), {"rank": str(r), "padded": str(padded)})


@_predicate
def ranks_differ(served: Served, *, within: str) -> Found | None:
    """Hold where ranks differ: `kind` within one kind of module, `config` from the configuration's `r`."""
    by_kind: dict[str, set[int]] = {}
    for module, own in served.ranks.items():
        by_kind.setdefault(kind_of(module), set()).add(own)
    r = served.config.get("r")
    odd = [
        f"{kind} has rank {listed([str(one) for one in sorted(ranks)])}"
        for kind, ranks in by_kind.items()
        if (len(ranks) > 1 if within == "kind" else ranks != {r})
    ]
    return Found((listed(odd),), {"rank": str(max(served.ranks.values()))}) if odd else None


@_predicate
def rank_above_width(served: Served) -> Found | None:
    """Hold where a factor is wider than the layer: its rank is above the layer's inputs or outputs."""
    odd = [
        one.module
        for one in served.lora("lora_A", "lora_B")
        if len(one.header.shape) == 2
        and (
            one.header.shape[0] > one.header.shape[1]
            if one.part == "lora_A"
            else one.header.shape[0] < one.header.shape[1]
        )
    ]
    return Found((f"the rank is above the width of {listed(odd)}",)) if odd else None


@_predicate
def some_layers(served: Served) -> Found | None:
    """Hold where a kind of module is adapted in some of the model's layers and not in others."""
    total = text_value(served.model_config, "num_hidden_layers")
    by_kind: dict[str, set[int]] = {}
    for module in served.ranks:
        layer = layer_of(module)
        if layer is not None:
            by_kind.setdefault(kind_of(module), set()).add(layer)
    layers = total if isinstance(total, int) else len(set().union(*by_kind.values()))
    odd = [f"{kind} in {len(have)} of {layers} layers" for kind, have in by_kind.items() if len(have) < layers]
    return Found((f"adapted are {listed(odd)}",)) if odd else None


@_predicate
def in_one_layer(served: Served, *, has: str, lacks: str) -> Found | None:
    """Hold where a layer has one kind of module adapted and not another that goes with it."""
    by_parent: dict[str, set[str]] = {}
    for module in served.ranks:
        parent, _, kind = module.rpartition(".")
        by_parent.setdefault(parent, set()).add(kind)
    odd = [parent for parent, kinds in by_parent.items() if has in kinds and lacks not in kinds]
    return Found((f"{has} is adapted without {lacks}, in {listed(odd)}",)) if odd else None


@_predicate
def kinds(served: Served, *, none_of: Sequence[str]) -> Found | None:
    """Hold where a kind of module is adapted that is none of some."""
    odd = [kind for module in served.ranks if (kind := kind_of(module)) not in none_of]
    return Found((f"adapted are {listed(odd)}",), {"names": listed(odd)}) if odd else None


@_predicate
def dtypes(served: Served, *, any_of: Sequence[str]) -> Found | None:
    """Hold where tensors are of one of some types."""
    odd = [header.dtype for header in served.tensors.values() if header.dtype in any_of]
    return Found((f"its tensors are {listed(odd)}",), {"dtype": listed(odd)}) if odd else None


@_predicate
def files(served: Served, *, like: str, unlike: str = "", there: bool = True) -> Found | None:
    """Hold where files of some names lie in the folder, or where none does."""
    names = [name for name in served.files if fnmatch.fnmatch(name, like) and not (unlike and name == unlike)]
    if there:
        return Found((f"in its folder there is {listed(names)}",), {"names": listed(names)}) if names else None
    return None if names else Found((f"in its folder there is no {like}",))


@_predicate
def base_place(served: Served, *, any_of: Sequence[str]) -> Found | None:
    """Hold where the adapter names its base in one of some ways; see `BasePlace`."""
    if served.base_place not in any_of:
        return None
    return Found((f"base_model_name_or_path is {shown(served.base_name or None)}",))


@_predicate
def adds_tokens(served: Served) -> Found | None:
    """Hold where the tokenizer beside the weights has tokens that the base does not have."""
    size = text_value(served.base, "vocab_size")
    if served.base_own is not None and served.base_own.there:
        new = [token for token in served.own.added if token not in served.base_own.added]
    else:
        new = [token for token, number in served.own.added.items() if isinstance(size, int) and number >= size]
    return Found((f"its tokenizer adds {listed(new)}",), {"names": listed(new)}) if new else None


@_predicate
def template(served: Served, *, state: str) -> Found | None:
    """Hold where there is a chat template `other` than the base's, or that is `unknown`; or where one is `missing`."""
    if state == "missing":
        return Found(("no chat template lies beside it",)) if served.own.template is None else None
    if served.own.template is None:
        return None
    known = served.base_own is not None and served.base_own.there
    if state == "unknown":
        return None if known else Found(("a chat template lies beside it, and the base's is not at hand",))
    other = known and served.base_own is not None and served.base_own.template != served.own.template
    return Found(("the chat template beside it is not the base's",)) if other else None
