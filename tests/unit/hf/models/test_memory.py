"""Out of memory, on any device and wherever it was taken for something else, is told with what to try."""

import pytest
import torch

from retain.errors import InputError, OutOfMemoryError
from retain.hf.models.memory import is_out_of_memory, telling_memory

RAISED = {
    "CUDA": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. If reserved but unallocated …"),
    "CPU": RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried"),
    "CPU, not enough": RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    "MPS": RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    "Python": MemoryError(),
}


@pytest.mark.parametrize("error", RAISED.values(), ids=RAISED)
@pytest.mark.parametrize(
    ("doing", "cure"),
    [("loading", "--quantization 4bit"), ("measuring", "--evaluation-batch-size"), ("training", "checkpointing true")],
)
def test_it_is_told_with_what_to_try(error, doing, cure):
    with (
        pytest.raises(OutOfMemoryError, match=f"^out of memory while {doing}.*{cure}.*--device-map auto"),
        telling_memory(doing),
    ):
        raise error


def test_what_was_taken_for_another_fault_is_told_too_and_once():
    taken = InputError("model: no model could be loaded")
    taken.__cause__ = RAISED["CUDA"]
    told = pytest.raises(OutOfMemoryError, match="while loading")
    with told as caught, telling_memory("training"), telling_memory("loading"):
        raise taken
    assert "If reserved" not in str(caught.value)


def test_other_errors_pass():
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))
    with pytest.raises(RuntimeError, match="shapes"), telling_memory("training"):
        raise RuntimeError("shapes")
