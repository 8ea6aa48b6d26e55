"""Mutations of adapter folders by a seed: no traceback, and nothing silent where retain wrote the hashes."""

import json
import random
import shutil

import pytest
import torch

from retain.errors import RetainError
from retain.hf.adapters.attach import attach
from retain.hf.adapters.load import load_adapter
from retain.hf.adapters.save import save_weights
from retain.hf.models.sides import is_adapted
from tiny import make_llama

pytestmark = pytest.mark.slow
IDS = torch.arange(2, 10)[None]
VALUES = [None, True, -1, 0, 1e400, "x", "", [], {}, [None], ["q_proj"], {"a": 1}, 10**9, 0.5, "lora", [[1, 2]]]
KINDS = ["lora", "vefa", "lorfa", "ia3", "loha"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Adapters with their logits, each as retain writes it and as PEFT does."""
    made = {}
    for kind in KINDS:
        model = attach(make_llama(), kind, {"target_modules": ["q_proj", "k_proj"], **_more(kind)})
        torch.manual_seed(1)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data.add_(0.05 * torch.randn_like(parameter))
        for ours in (True, False):
            place = tmp_path_factory.mktemp("adapters") / kind
            save_weights(model, place) if ours else model.save_pretrained(place)
            made[kind, ours] = place, model.eval()(IDS).logits.detach()
    return made


def _more(kind):
    return {"feedforward_modules": []} if kind == "ia3" else {}


def mutate(folder, chance):
    """Change one file of an adapter's folder at random; its name and how."""
    path = chance.choice(sorted(one for one in folder.iterdir() if one.name != "README.md"))
    content = bytearray(path.read_bytes())
    how = chance.choice(["flip", "flip", "cut", "empty", "insert", "delete", "value", "value", "value", "head"])
    if how == "value" and path.suffix == ".json":
        values = json.loads(content)
        key = chance.choice(list(values))
        values[key] = chance.choice(VALUES)
        path.write_text(json.dumps(values), encoding="utf-8")
        return path.name, f"{key} = {values[key]!r}"
    if how == "delete":
        path.unlink()
        return path.name, how
    place = chance.randrange(len(content))
    if how == "cut":
        content = content[:place]
    elif how == "empty":
        content = bytearray()
    elif how == "insert":
        content[place:place] = bytes([chance.randrange(256)]) * chance.choice([1, 8])
    elif how in ("head", "value"):
        content[chance.randrange(8, min(len(content), 2000))] = chance.choice(b'0123456789abF{}[]",')
    else:
        content[place] ^= 1 << chance.randrange(8)
    path.write_bytes(bytes(content))
    return path.name, how


@pytest.mark.filterwarnings("ignore")
def test_a_thousand_mutations(folders, tmp_path):
    chance, silent = random.Random(7), []  # noqa: S311 -- mutations, no secrets
    for number in range(1000):
        (kind, ours), (source, expected) = chance.choice(list(folders.items()))
        folder = tmp_path / str(number)
        shutil.copytree(source, folder)
        what = mutate(folder, chance)
        base = make_llama()
        try:
            logits = load_adapter(base, folder).eval()(IDS).logits
        except RetainError:
            assert not is_adapted(base), (kind, what)
            continue
        finally:
            shutil.rmtree(folder)
        if not torch.equal(logits, expected):
            silent.append((kind, ours, what))
    assert not [one for one in silent if one[1] and one[2] != ("retain_adapter.json", "delete")]
    assert all(name.endswith(".safetensors") for _, _, (name, _) in silent), "only floats that no hash covers"
