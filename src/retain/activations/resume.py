"""The state of an interrupted collection, from which the same call goes on.

Parts of the layers that are done lie in their final files and are noted in `unfinished-RANK.json`; the sums of the part
in hand lie in `unfinished-RANK.safetensors` together with the number and hash of their batches, in one file, so that
the two cannot disagree.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from retain.activations.capture import Capture
from retain.activations.moments import Moments
from retain.activations.sequences import Sequences
from retain.activations.store import Source, digest_of, own_tensor
from retain.errors import InputError
from retain.records.files import write_bytes, write_text
from retain.records.manifest import check_unchanged
from retain.records.reading import parse_json, read_json_mapping


@dataclass
class Part:
    """A part of the layers that is done, and the hash of this process's data that were summed."""

    leaders: dict[str, str]
    sources: dict[str, Source]
    notes: list[str]
    data_hash: str


@dataclass
class Unfinished:
    """The state of a collection in its folder.

    Attributes:
        folder: of the second moments.
        rank: of this process.
        plan: identity of the collection; a state of another plan is refused.
        division: of the work; where it has changed, the work begins anew.
        share: whether layers share sums; taken from the state where there is one.
        parts: the parts that are done.
    """

    folder: Path
    rank: int
    plan: str
    division: str
    share: bool
    parts: list[Part] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Read the state of an interrupted collection, if there is one.

        Raises:
            InputError: the folder holds an interrupted collection of something else.
        """
        if not self._state.exists():
            return
        try:
            check_unchanged(self._state)
            found = read_json_mapping(self._state)
            plan, division, share = found["plan"], found["division"], found["share"]
            parts = [
                Part(p["leaders"], {k: Source(**v) for k, v in p["sources"].items()}, p["notes"], p["data_hash"])
                for p in found["parts"]
            ]
        except (InputError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{self._state}: damaged ({error}); remove {self.folder} to begin anew.") from error
        if plan != self.plan:
            raise InputError(
                f"{self.folder}: holds an interrupted calibration of another model or with other settings; give "
                "another folder, or remove that one."
            )
        if division != self.division:  # a smaller limit after memory ran out, for one
            self.remove()
            return
        self.share, self.parts = share, parts

    def end_part(self, part: Part) -> None:
        """Record that one more part is done and lies in its final file."""
        self.parts.append(part)
        self._write_state()
        self._sums.unlink(missing_ok=True)

    def save(self, capture: Capture, sequences: Sequences, batches: int) -> None:
        """Write the sums of the part in hand, over its first `batches` batches."""
        self._write_state()
        tensors = {f"{key}.gram": m.gram.cpu() for key, m in capture.moments.items()}
        tensors |= {f"{key}.total": m.total.cpu() for key, m in capture.moments.items()}
        numbers = {key: [m.weight, m.tokens, m.energy] for key, m in capture.moments.items()}
        what = {
            "part": len(self.parts),
            "batches": batches,
            "data_hash": sequences.data_hash,
            "leader": capture.leader,
            "notes": list(capture.notes),
            "numbers": numbers,
            "digest": digest_of(*tensors.values()),
        }
        write_bytes(self._sums, save(tensors, metadata={"format": "pt", "what": json.dumps(what)}))

    def resume(self, capture: Capture, device: torch.device) -> tuple[int, str]:
        """Give a capture the sums of the part in hand; return the number of their batches, and their hash."""
        if not self._sums.exists():
            return 0, ""
        try:
            check_unchanged(self._sums)
            with safe_open(str(self._sums), framework="pt", device=str(device)) as file:
                what = parse_json(file.metadata()["what"], str(self._sums))
                if what["part"] != len(self.parts):
                    return 0, ""
                sums = {
                    key: Moments(own_tensor(file, f"{key}.gram"), own_tensor(file, f"{key}.total"), *numbers)
                    for key, numbers in what["numbers"].items()
                }
            grams, totals = ([getattr(m, name).cpu() for m in sums.values()] for name in ("gram", "total"))
            if digest_of(*grams, *totals) != what["digest"]:
                raise InputError("its sums are not those that were written")
        except (InputError, OSError, SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{self._sums}: damaged ({error}); remove it to begin this part anew.") from error
        capture.moments |= sums
        capture.leader |= what["leader"]
        capture.notes |= dict.fromkeys(what["notes"])
        capture.resumed()
        return int(what["batches"]), str(what["data_hash"])

    def remove(self) -> None:
        """Remove the state; finished parts stay."""
        remove_state(self.folder, self.rank)

    def remove_sums(self) -> None:
        """Remove the sums of the part in hand."""
        self._sums.unlink(missing_ok=True)

    def _write_state(self) -> None:
        parts = [
            asdict(part) | {"sources": {k: v.model_dump() for k, v in part.sources.items()}} for part in self.parts
        ]
        write_text(
            self._state, json.dumps({"plan": self.plan, "division": self.division, "share": self.share, "parts": parts})
        )

    @property
    def _state(self) -> Path:
        return _state_file(self.folder, self.rank)

    @property
    def _sums(self) -> Path:
        return _sums_file(self.folder, self.rank)


def remove_state(folder: Path, rank: int) -> None:
    """Remove the state of an interrupted collection from its folder."""
    for path in (_state_file(folder, rank), _sums_file(folder, rank)):
        path.unlink(missing_ok=True)


def _state_file(folder: Path, rank: int) -> Path:
    return folder / f"unfinished-{rank}.json"


def _sums_file(folder: Path, rank: int) -> Path:
    return folder / f"unfinished-{rank}.safetensors"
