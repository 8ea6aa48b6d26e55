"""Our methods are PEFT's whichever of the two is imported first, and importing retain stays light."""

import copy
import pickle
import subprocess
import sys
import textwrap

import pytest
from peft import PeftConfig, PeftType
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING

import retain
from children import light
from retain import LoRFAConfig, VeFAConfig
from retain.errors import RetainError
from retain.hf.tuners.registration import peft_type, register
from retain.methods.table import METHODS, register_all


def fresh(code):
    text = textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


PROOF = """
from peft import PeftConfig, PeftType
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
for name in ("VEFA", "LORFA"):
    assert PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(name)]().peft_type is PeftType[name]
    assert PEFT_TYPE_TO_TUNER_MAPPING[name].prefix == name.lower() + "_"
"""


ORDERS = (
    "import retain",
    "import peft; import retain",
    "from retain import VeFAConfig",
    "import retain.methods.vefa.config",
    "import retain.methods.lorfa.layer",
    "import retain.methods.table",
    "import retain.hf.adapters.attach",
    "import retain; from transformers.integrations import PeftAdapterMixin",
    "import retain; from retain import LoRFAConfig; import peft; import importlib; importlib.reload(retain)",
)
FORKS = """
import contextlib, importlib, os, sys, traceback
for name in (  # what is slow, and does not import PEFT
    "torch", "accelerate", "datasets", "transformers.models.bloom.modeling_bloom", "bitsandbytes",
    "torchao", "scipy.signal", "scipy.stats", "sklearn.linear_model", "sacrebleu", "pydantic", "jsonargparse",
):
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
assert not {"peft", "retain"} & set(sys.modules)
for number, code in enumerate(sys.argv[1:]):
    if os.fork() == 0:
        try:
            exec(code, {})
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        print(number, flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def forks():
    """Which orders of import ended well, each in a process that had imported neither of the two before."""
    command = [sys.executable, "-c", FORKS, *(f"{first}\n{PROOF}" for first in ORDERS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=light())
    return {ORDERS[int(line)] for line in done.stdout.split()}, done.stderr[-3000:]


@pytest.mark.parametrize("first", ORDERS)
def test_methods_are_registered_in_every_order_of_imports(first, forks):
    good, errors = forks
    assert first in good, errors


def test_importing_retain_is_light():
    fresh("""
        import sys, retain
        assert retain.InputError.__name__ == "InputError" and retain.__version__
        heavy = {"torch", "peft", "transformers", "numpy"} & set(sys.modules)
        assert not heavy, heavy
    """)


def test_every_public_name_of_the_stub_is_there():
    assert len(retain.__all__) > 25
    for name in set(retain.__all__) - {"measure"}:
        assert getattr(retain, name) is not None
        assert name in {*dir(retain), "__version__"}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("tune", "`retain tune` is a verb of the command line.* functions are .*measure"),
        ("advise", "`retain advise` is a verb"),
        ("kl_penalty", "did you mean KLPenalty"),
        ("VefaConfig", "did you mean VeFAConfig"),
        ("nothing", "retain has no nothing; functions are .*guard"),
        ("_hidden", "_hidden"),
    ],
)
def test_a_name_that_is_not_there_is_told_with_what_is(name, told):
    with pytest.raises(AttributeError, match=told):
        getattr(retain, name)


def test_the_table_of_contents_is_short():
    from pathlib import Path

    assert len(Path(retain.__file__).read_text(encoding="utf-8").splitlines()) < 60


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_the_member_behaves_like_pefts_own(method):
    member = PeftType(method.name.upper())
    assert member is PeftType[method.name.upper()] is getattr(PeftType, method.name.upper())
    assert member == method.name.upper()
    assert member.value == member.name == method.name.upper()
    assert member in list(PeftType)
    assert list(PeftType).count(member) == 1
    assert copy.deepcopy(member) is member
    assert pickle.loads(pickle.dumps(member)) is member  # noqa: S301 -- our own bytes
    assert PEFT_TYPE_TO_PREFIX_MAPPING[member] == f"{method.name}_"
    assert PEFT_TYPE_TO_CONFIG_MAPPING[method.name.upper()] is method.config
    assert PEFT_TYPE_TO_TUNER_MAPPING[member] is method.tuner
    config = pickle.loads(pickle.dumps(method.config(target_modules=["x"])))  # noqa: S301 -- our own bytes
    assert config == method.config(target_modules=["x"])


def test_registering_twice_is_harmless():
    before = dict(PEFT_TYPE_TO_CONFIG_MAPPING)
    register_all()
    assert before == PEFT_TYPE_TO_CONFIG_MAPPING
    assert peft_type("vefa") is PeftType.VEFA


def test_a_reloaded_module_replaces_its_older_self():
    newer = type("VeFAConfig", (VeFAConfig,), {"__module__": VeFAConfig.__module__})
    try:
        register("vefa", newer, PEFT_TYPE_TO_TUNER_MAPPING[PeftType.VEFA])
        assert PEFT_TYPE_TO_CONFIG_MAPPING[PeftType.VEFA] is newer
    finally:
        PEFT_TYPE_TO_CONFIG_MAPPING[PeftType.VEFA] = VeFAConfig


def test_somebody_elses_method_of_the_name_is_not_replaced():
    stranger = type("VeFAConfig", (PeftConfig,), {"__module__": "peft.tuners.vefa"})
    PEFT_TYPE_TO_CONFIG_MAPPING[PeftType.VEFA] = stranger
    try:
        with pytest.raises(RetainError, match=r"already has a method 'vefa', from peft\.tuners\.vefa"):
            register_all()
    finally:
        PEFT_TYPE_TO_CONFIG_MAPPING[PeftType.VEFA] = VeFAConfig


def test_every_field_has_its_help():
    import dataclasses

    for config in (VeFAConfig, LoRFAConfig):
        assert all(field.metadata.get("help") for field in dataclasses.fields(config) if field.name != "auto_mapping")
