"""How models are loaded: by one value, with refusals that name the cure."""

import json
from types import SimpleNamespace

import pytest
import torch
from transformers import BertForSequenceClassification, Gemma3Config, Gemma3ForConditionalGeneration, Gemma3TextConfig

from retain.data.preprocess import ImagePreprocessor, TextPreprocessor
from retain.errors import InputError
from retain.jobs.inputs.classes_told import brings_head
from retain.jobs.inputs.model_inputs import input_problem
from retain.jobs.inputs.models import ModelSpec
from tiny import SMALL, make_bert, make_image_processor, make_llama, make_tokenizer, make_vit


@pytest.fixture
def folder(tmp_path):
    make_llama().save_pretrained(tmp_path / "llama")
    make_tokenizer().save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


def test_the_base_of_a_recipe(recipe, tiny_folder):
    spec = ModelSpec.of(recipe(dtype="bfloat16", attention="eager", max_length=33), "causal-lm", ["a"])
    assert spec == ModelSpec(str(tiny_folder), "causal-lm", ("a",), "bfloat16", "eager", max_length=33)
    assert spec.at("elsewhere").source == "elsewhere"
    model, head_is_new = spec.load()
    assert not head_is_new
    assert (model.dtype, model.config._attn_implementation, model.training) == (torch.bfloat16, "eager", False)


def test_structure_without_weights(folder):
    assert {parameter.device.type for parameter in ModelSpec(str(folder)).empty().parameters()} == {"meta"}


def test_the_family_decides_the_preprocessor(folder, tmp_path):
    text = ModelSpec(str(folder), max_length=9).preprocessor()
    assert isinstance(text, TextPreprocessor)
    assert text.max_length == 9
    make_vit().save_pretrained(tmp_path / "vit")
    make_image_processor().save_pretrained(tmp_path / "vit")
    assert isinstance(ModelSpec(str(tmp_path / "vit"), "image-features").preprocessor(), ImagePreprocessor)


def test_a_tokenizer_without_padding_pads_with_its_end(folder):
    tokenizer = make_tokenizer()
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings.pop("pad_token", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    assert ModelSpec(str(folder)).preprocessor().tokenizer.pad_token_id == 1


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    for what in ("load", "empty", "preprocessor"):
        with pytest.raises(InputError, match="there is no folder"):
            getattr(ModelSpec(str(tmp_path / "none")), what)()


@pytest.mark.parametrize("what", ["load", "empty", "preprocessor"])
def test_offline_a_hub_id_is_told_as_not_in_the_cache_with_the_download(what, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set, so the hub was not asked") as error:
        getattr(ModelSpec("nobody/never-cached"), what)()
    assert "run `hf download nobody/never-cached`" in str(error.value)
    assert "connection" not in str(error.value)


def test_a_folder_that_holds_no_such_model_is_refused_with_the_cure(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no model could be loaded .* AutoModelForCausalLM"):
        ModelSpec(str(tmp_path / "empty")).load()
    with pytest.raises(InputError, match="no image processor could be loaded"):
        ModelSpec(str(folder), "image-classifier").preprocessor()
    with pytest.raises(InputError, match="no tokenizer could be loaded"):
        ModelSpec(str(tmp_path / "empty")).preprocessor()


@pytest.fixture
def own_code(folder):
    """A model that brings code of its own, which is this."""

    def write(code):
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        classes = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
        settings |= {"model_type": "of-its-own", "auto_map": classes}
        (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
        own = "from transformers import LlamaConfig, LlamaForCausalLM\nclass Config(LlamaConfig):\n    model_type = "
        (folder / "own.py").write_text(f"{own}'of-its-own'\n{code}", encoding="utf-8")
        return str(folder)

    return write


MODEL = "class Model(LlamaForCausalLM):\n    config_class = Config\n"


def test_code_of_a_model_is_not_run_unasked_and_its_failures_are_its_own(own_code):
    source = own_code(MODEL)
    assert type(ModelSpec(source, trust_remote_code=True).load().model).__name__ == "Model"
    with pytest.raises(InputError, match=r"brings code of its own.* say --trust-remote-code true\.$"):
        ModelSpec(source).load()
    for code in (f"{MODEL}    def __init__(self, config):\n        config.gone_by_now()\n", "def f(:"):
        spec = ModelSpec(own_code(code), trust_remote_code=True)
        for load in (spec.empty, spec.load):
            with pytest.raises(InputError, match=r"the code that .* brings fails here \((AttributeError|SyntaxError)"):
                load()


def test_values_that_a_configuration_cannot_have_are_a_refusal(folder):
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**settings, "num_attention_heads": 5}), encoding="utf-8")
    with pytest.raises(InputError, match="not a multiple of the number of attention heads"):
        ModelSpec(str(folder)).load()


def test_random_numbers_of_others_are_left_alone(folder):
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    ModelSpec(str(folder), "text-classifier", ["a", "b"]).load()
    assert torch.equal(torch.rand(1), expected)


def test_an_adapter_with_trained_modules_brings_its_head(tmp_path):
    assert brings_head(str(tmp_path))
    for modules, brings in ((None, False), (["classifier"], True)):
        (tmp_path / "adapter_config.json").write_text(json.dumps({"modules_to_save": modules}), encoding="utf-8")
        assert brings_head(str(tmp_path)) == brings


@pytest.mark.parametrize("family", ["causal-lm", "text-features"])
@pytest.mark.parametrize("kind", ["T5", "Bart", "Marian"])
def test_an_encoder_decoder_gets_one_sentence(kind, family, tmp_path):
    import transformers

    getattr(transformers, f"{kind}Config")().save_pretrained(tmp_path)
    spec = ModelSpec(str(tmp_path), family)
    for load in (spec.empty, spec.load):
        with pytest.raises(InputError, match=r"is an encoder-decoder \(\w+\), and retain does not support") as error:
            load()
        assert len(error.value.problems) == 1


def test_a_model_of_another_kind_is_refused_without_a_list_of_all_kinds(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llava"}), encoding="utf-8")
    with pytest.raises(InputError, match=r"cannot load .* \(llava\) as a causal lm; give a decoder") as raised:
        ModelSpec(str(tmp_path)).empty()
    assert "GPT2Config" not in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "family", "told"),
    [
        (
            "vit",
            "text-classifier",
            r"\(vit\) reads images, and the data are texts; give a model of text .* images",
        ),
        ("dinov2", "causal-lm", r"\(dinov2\) reads images, and the data are texts; give a decoder"),
        ("resnet", "text-features", "reads images, and the data are texts"),
        ("roberta", "image-classifier", "reads texts, and the data are images; give a model of images"),
        ("qwen2", "image-features", "reads texts, and the data are images"),
        ("distilbert", "causal-lm", r"cannot load .* an encoder, as a causal lm; .* or data .* labelled texts"),
        ("modernbert", "causal-lm", r"an encoder, as a causal lm"),
        ("clip", "text-classifier", "which compares images with texts, as a text classifier: CLIP and its kin learn"),
        ("siglip", "causal-lm", "CLIP and its kin learn images with their classes only; give a decoder"),
        ("wav2vec2", "text-classifier", r"cannot load .* \(wav2vec2\) as a text classifier; give a model of text"),
    ],
)
def test_a_model_that_does_not_read_the_data_is_told_in_words(kind, family, told, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}), encoding="utf-8")
    for load in (ModelSpec(str(tmp_path), family).empty, ModelSpec(str(tmp_path), family).load):
        with pytest.raises(InputError, match=told) as raised:
            load()
        assert "Unrecognized" not in str(raised.value)


@pytest.mark.parametrize("problem", ["regression", "multi_label_classification"])
@pytest.mark.parametrize("names", [["a", "b", "c"], ["x", "y", "z"], ["score"]])
def test_whatever_a_head_was_trained_for_the_data_have_one_class(problem, names, tmp_path):
    labels = dict(enumerate(names))
    base = make_bert(id2label=labels, label2id={name: index for index, name in labels.items()}, problem_type=problem)
    BertForSequenceClassification(base.config).save_pretrained(tmp_path)
    model, head_is_new = ModelSpec(str(tmp_path), "text-classifier", ("a", "b", "c")).load()
    assert head_is_new == (names != ["a", "b", "c"])
    loss = model(torch.tensor([[2, 4, 5, 3], [2, 6, 7, 3]]), labels=torch.tensor([0, 2])).loss
    assert loss.ndim == 0
    assert loss.isfinite()


def test_a_model_of_texts_and_images_classifies_texts_in_batches(tmp_path):
    sizes = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = Gemma3TextConfig(**{**SMALL, "head_dim": 8, "pad_token_id": None})
    config = Gemma3Config(text_config=text, vision_config={**sizes, "image_size": 16, "patch_size": 8})
    Gemma3ForConditionalGeneration(config).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    model, _ = ModelSpec(str(tmp_path), "text-classifier", ("a", "b", "c")).load()
    assert model.config.get_text_config().pad_token_id == 0
    assert model(torch.tensor([[6, 7, 0], [8, 9, 10]])).logits.shape == (2, 3)


def test_every_type_that_transformers_loads_as_a_family_is_let_through():
    from transformers.models.auto import modeling_auto as auto

    loaded = {
        "causal-lm": auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        "text-classifier": auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
        "image-classifier": auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
        "image-features": ["vit", "clip", "siglip", "clip_vision_model", "gemma3"],
        "text-features": ["bert", "clip", "clip_text_model", "gemma3", "modernbert"],
    }
    told = [
        input_problem(SimpleNamespace(model_type=kind), family, "model", "m")
        for family, kinds in loaded.items()
        for kind in kinds
    ]
    assert set(told) == {None}
    assert input_problem(SimpleNamespace(model_type="my-own"), "causal-lm", "model", "m") is None


@pytest.mark.parametrize(("kind", "family"), [("embedding_gemma2", "text-features"), ("modernvbert", "image-features")])
def test_a_model_with_a_tower_for_the_data_reads_them(kind, family):
    towers = {"text_config": object(), "vision_config": object()}
    assert input_problem(SimpleNamespace(model_type=kind, **towers), family, "model", "m") is None
    assert input_problem(SimpleNamespace(model_type=kind), family, "model", "m") is not None
