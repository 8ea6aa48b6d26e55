"""The contract runs over every method of the table; a new row is tested with no line written here."""

import warnings

import pytest
import torch
from contract_models import ARCHITECTURES, METHODS

warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
torch.set_num_threads(1)

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@pytest.fixture(params=METHODS, ids=lambda method: method.name)
def method(request):
    return request.param


@pytest.fixture(params=ARCHITECTURES.values(), ids=lambda architecture: architecture.name)
def architecture(request):
    return request.param


@pytest.fixture(params=DTYPES.values(), ids=DTYPES.keys())
def dtype(request):
    return request.param


@pytest.fixture
def llama():
    return ARCHITECTURES["llama"]


@pytest.fixture
def gpt2():
    return ARCHITECTURES["gpt2"]
