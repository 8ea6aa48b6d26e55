"""A tiny Llama with an adapter that is no longer the identity, for the tests of the update scaling."""

import torch

from retain.hf.adapters.attach import attach
from retain.methods.initialisations.adapter import sc_lora
from retain.methods.initialisations.config import SCLoRAConfig
from tiny import make_llama

IDS = torch.arange(2, 18).view(2, 8)


def trained(name="lora", fields=None, base=None):
    model = attach(base or make_llama(), name, fields or {}).eval()
    return disturb(model)


def disturb(model, seed=3):
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator).to(parameter)
    return model


@torch.no_grad()
def run(model):
    return model(input_ids=IDS).logits


def residual():
    model = make_llama()
    return disturb(sc_lora(model, SCLoRAConfig(r=2, initialisation="random-start")).eval())
