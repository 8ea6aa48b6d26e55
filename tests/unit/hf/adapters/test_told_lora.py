"""LoRAs merged into a quantised base, as people merge: the warning has the share of the update that is lost."""

import copy
import math
import re
import warnings

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraModel
from peft.utils.integrations import dequantize_module_weight
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

import retain
from retain.hf.adapters.attach import attach
from retain.hf.adapters.save import save_weights
from retain.hf.models.quantization_config import quantization_config
from retain.hf.tuners.merge_loss import MergeLossWarning

pytest.importorskip("bitsandbytes", reason="the extra 'quant' is not installed")
pytest.importorskip("torchao", reason="the extra 'quant' is not installed")

LAYERS = ["q_proj", "down_proj"]
IDS = {"input_ids": torch.arange(2, 34).view(2, 16)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    place = tmp_path_factory.mktemp("base")
    LlamaForCausalLM(LlamaConfig(vocab_size=64, **sizes)).save_pretrained(place)
    return place


def base(folder, kind):
    config = None if kind is None else quantization_config(kind)
    return AutoModelForCausalLM.from_pretrained(folder, quantization_config=config, dtype=torch.float32).eval()


def disturbed(model):
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.1)
    return model


def lora(model, _):
    return attach(model, "lora", {"r": 4, "target_modules": LAYERS})


def loaded(model, folder):
    again = copy.deepcopy(model)
    save_weights(disturbed(lora(model, folder)), folder / "adapter")
    return retain.load_adapter(again, folder / "adapter", trainable=True)


@pytest.mark.filterwarnings("ignore::retain.CalibrationWarning")
def initialised(model, _):
    config = retain.SCLoRAConfig(r=2, target_modules=LAYERS)
    return retain.sc_lora(model, config, learn=[IDS], keep=[{"input_ids": IDS["input_ids"].flip(1)}])


def weights(model):
    """The weights of the adapted layers, dequantised by somebody else."""
    found = {}
    for name, module in model.named_modules():
        if name.rpartition(".")[2] in LAYERS or name.endswith(".base_layer"):
            layer = getattr(module, "base_layer", module)
            kept = layer.weight
            plain = kept.dequantize() if "torchao" in type(kept).__module__ else dequantize_module_weight(layer)
            found[name.removesuffix(".base_layer").removeprefix("base_model.model.")] = plain.detach().float().clone()
    return found


@pytest.mark.parametrize("kind", ["4bit", "8bit", "torchao-int8"])
@pytest.mark.parametrize(("make", "unloads"), [(lora, False), (lora, True), (loaded, False), (initialised, True)])
@pytest.mark.filterwarnings("ignore::retain.CalibrationWarning", "ignore:.*different generations")
def test_the_share_that_is_lost_is_told(folder, kind, make, unloads):
    model = disturbed(make(base(folder, kind), folder))
    before = weights(model)
    change = {
        name.removeprefix("base_model.model."): module.get_delta_weight("default").float()
        for name, module in model.named_modules()
        if hasattr(module, "get_delta_weight")
    }
    assert before.keys() == change.keys()
    with pytest.warns(MergeLossWarning) as caught:
        merged = model.merge_and_unload() if unloads else model.merge_adapter() or model
    after = weights(merged)
    lost = sum(float((before[name] + change[name] - after[name]).square().sum()) for name in change)
    share = math.sqrt(lost / sum(float(one.square().sum()) for one in change.values()))
    (told,) = [str(one.message) for one in caught if one.category is MergeLossWarning]
    assert int(re.search(r"(\d+)%", told).group(1)) == pytest.approx(100 * share, abs=1)


@pytest.mark.parametrize("kind", ["4bit", "8bit"])
@pytest.mark.parametrize("make", [lora, loaded])
def test_a_model_that_was_used_before_is_merged_and_unmerged_alike(folder, kind, make):
    """In eval mode, bitsandbytes lays 4-bit weights out anew on CPUs that have units for bfloat16, to which it rounds
    their scales; read as if nothing had happened they are noise, which is as far off as the weights are large.
    """

    def assert_alike():
        for name, weight in weights(used).items():
            expected = weights(fresh)[name]
            assert (weight - expected).norm() < 0.1 * expected.norm()

    fresh, used = (disturbed(make(base(folder, kind), folder)).eval() for _ in range(2))
    with pytest.warns(MergeLossWarning):
        fresh.merge_adapter()
    with torch.no_grad():
        used(**IDS)
    with pytest.warns(MergeLossWarning):
        used.merge_adapter()
    assert_alike()
    with torch.no_grad():
        used(**IDS)
    fresh.unmerge_adapter()
    used.unmerge_adapter()
    assert_alike()


def test_plain_bases_and_pefts_own_models_are_left_as_they_are(folder):
    assert type(lora(base(folder, None), folder).base_model) is LoraModel
    assert type(get_peft_model(base(folder, "4bit"), LoraConfig(target_modules=LAYERS)).base_model) is LoraModel
    model = disturbed(lora(base(folder, "4bit"), folder))
    with warnings.catch_warnings():
        warnings.simplefilter("error", MergeLossWarning)
        model.unload()
