"""What PEFT's own tests ask of a method: its kinds of error, its sentences, and sums of adapters."""

import peft
import pytest
import torch
from peft import get_peft_model
from torch import nn

import retain
from retain.errors import AdapterError, InputError, TargetError
from retain.hf.adapters.attach import attach
from retain.hf.tuners.targets import linear_names, lora_targets
from tiny import make_llama

CONFIGS = [retain.VeFAConfig, retain.LoRFAConfig]


class Small(nn.Module):
    """Two linear layers, the second of four inputs, and a convolution."""

    def __init__(self):
        super().__init__()
        self.lin0 = nn.Linear(10, 4)
        self.lin1 = nn.Linear(4, 2)
        self.conv = nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, x):
        return self.lin1(self.conv(self.lin0(x)[:, None])[:, 0].relu())


def adapted(config, *names, **fields):
    torch.manual_seed(0)
    if config is retain.LoRFAConfig:
        fields = {"r": 2, **fields}
    model = get_peft_model(Small(), config(target_modules=["lin0", "lin1"], **fields), adapter_name=names[0])
    for name in names[1:]:
        model.add_adapter(name, config(target_modules=["lin0", "lin1"], **fields))
    for key, parameter in model.named_parameters():
        if any(part in key for part in ("vefa_lambda", "lorfa_B")):
            parameter.data.normal_(std=0.3)
    return model.eval()


X = torch.linspace(-1, 1, 30).reshape(3, 10)


@pytest.mark.parametrize("config", CONFIGS)
def test_refusals_of_mixed_batches_are_value_errors(config):
    model = adapted(config, "one", "two")
    with pytest.raises(ValueError, match="Length of `adapter_names` should be the same as the number of inputs"):
        model(X, adapter_names=["one"])
    with pytest.raises(ValueError, match="Trying to infer with non-existing adapter"):
        model(X, adapter_names=["one", "two", "three"])
    model.train()
    with pytest.raises(ValueError, match="Cannot pass `adapter_names` when the model is in training mode"):
        model(X, adapter_names=["one", "two", "one"])
    model.eval().merge_adapter()
    with pytest.raises(AdapterError, match="Cannot pass `adapter_names` when there are merged adapters") as error:
        model(X, adapter_names=["one", "two", "one"])
    assert isinstance(error.value, InputError)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize(
    "arguments",
    [
        {"adapters": ["one", "nobody"], "weights": [1, 1]},
        {"adapters": ["one", "two"], "weights": [1]},
        {"adapters": ["one", "two"], "weights": [1, 1], "combination_type": "ties", "density": 0.5},
        {"adapters": ["one", "two"], "weights": [1, 1], "svd_rank": 3},
        {"adapters": ["one", "two"], "weights": [1, 1], "majority_sign_method": "frequency"},
        {"adapters": ["one", "two"], "weights": [1, 1], "nonsense": 3},
    ],
)
def test_sums_that_cannot_be_made_are_refused_in_words_as_value_errors(config, arguments):
    model = adapted(config, "one", "two")
    with pytest.raises(ValueError, match=r"\w+ .*[.]"):
        model.add_weighted_adapter(**arguments, adapter_name="sum")
    assert "sum" not in model.peft_config


@pytest.mark.parametrize("config", CONFIGS)
def test_arguments_of_lora_at_their_defaults_are_taken(config):
    model = adapted(config, "one", "two")
    model.add_weighted_adapter(["one", "two"], [1, 1], "sum", svd_rank=None, svd_full_matrices=True, density=None)
    assert "sum" in model.peft_config


@pytest.mark.parametrize(("r", "names"), [(4, ["one", "two"]), (3, ["one", "two", "three"]), (1, ["one", "two"])])
def test_lorfa_adds_adapters_beyond_a_layers_width(r, names, tmp_path):
    model = adapted(retain.LoRFAConfig, *names, r=r)
    weights = [0.5, -2.0, 1.5][: len(names)]
    deltas = {
        key: sum(w * layer.get_delta_weight(name) for w, name in zip(weights, names, strict=True))
        for key, layer in model.base_model._layers().items()
    }
    model.add_weighted_adapter(names, weights, "sum")
    for key, layer in model.base_model._layers().items():
        assert torch.allclose(layer.get_delta_weight("sum"), deltas[key], atol=1e-5)
        assert layer.lorfa_A["sum"].out_features == min(layer.in_features, r * len(names))
    model.set_adapter("sum")
    expected = model(X)
    model.save_pretrained(tmp_path, selected_adapters=["sum"])
    torch.manual_seed(0)
    again = peft.PeftModel.from_pretrained(Small(), tmp_path / "sum").eval()
    assert torch.allclose(again(X), expected, atol=1e-6)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("make", [lambda: nn.Conv1d(3, 4, 3), lambda: nn.Conv1d(2, 2, 1)])
def test_a_convolution_is_called_one(config, make):
    model = nn.ModuleDict({"lin": nn.Linear(3, 3), "conv": make()})
    with pytest.raises(TargetError, match="Conv1d is not a linear layer") as error:
        get_peft_model(model, config(target_modules=["conv"]))
    assert "experts" not in str(error.value)


@pytest.mark.parametrize("config", CONFIGS)
def test_names_offered_on_an_adapted_model_are_the_bases(config):
    model = adapted(config, "one")
    with pytest.raises(ValueError, match="named lin0, lin1;") as error:
        model.add_adapter("two", config(target_modules=["nothing"]))
    assert "base_layer" not in str(error.value)
    other = attach(make_llama(), "lora", {"target_modules": ["q_proj"]})
    assert linear_names(other) == linear_names(make_llama())
    with pytest.raises(TargetError, match="named down_proj, gate_proj"):
        lora_targets(other, {"target_modules": ["nothing"]})


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize(
    "fields",
    [
        {"target_modules": ["nothing"]},
        {"target_modules": ["lin0"], "exclude_modules": ["lin0"]},
        {"target_modules": r".*\.nowhere"},
    ],
)
def test_no_match_is_pefts_error_and_ours(config, fields):
    with pytest.raises(peft.NoMatchingPeftModuleError) as error:
        get_peft_model(Small(), config(**fields))
    assert isinstance(error.value, TargetError)
    assert "lin0, lin1" in str(error.value)


@pytest.mark.parametrize("config", CONFIGS)
def test_weights_that_are_not_finite_are_refused_in_pefts_words(config):
    model = adapted(config, "default")
    for key, parameter in model.named_parameters():
        if "vefa_lambda" in key or "lorfa_B" in key:
            parameter.data[0] = float("nan")
    with pytest.raises(ValueError, match="NaNs detected in the merged weights. The adapter default seems to be broken"):
        model.merge_adapter(safe_merge=True)


@pytest.mark.parametrize("config", CONFIGS)
def test_missing_targets_and_layers_of_a_pattern_are_refused_in_pefts_words_too(config):
    with pytest.raises(ValueError, match="Please specify `target_modules` in `peft_config`"):
        get_peft_model(Small(), config())
    sentence = "`layers_to_transform` cannot be used when `target_modules` is a str."
    for targets in ("all-linear", r".*q_proj"):
        with pytest.raises(ValueError, match=sentence):
            config(target_modules=targets, layers_to_transform=[0])
    with pytest.raises(ValueError, match="When `layers_pattern` is specified, `layers_to_transform` must also"):
        config(target_modules=["q_proj"], layers_pattern="layers")
    model = get_peft_model(make_llama(), config(target_modules=["q_proj"], layers_to_transform=[1]))
    assert list(model.base_model._layers()) == ["model.layers.1.self_attn.q_proj"]
