"""The feature penalty: numbers of related work's oracle, a Trainer's loss made by hand, probes, and what it refuses."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from sklearn.exceptions import ConvergenceWarning
from torch.nn.functional import kl_div, normalize
from transformers import (
    BertForSequenceClassification,
    CLIPConfig,
    CLIPForImageClassification,
    CLIPModel,
    Trainer,
    TrainingArguments,
    ViTForImageClassification,
)

from retain.errors import InputError
from retain.hf.models.features import features_read
from retain.hf.models.head import head_names
from retain.train.regularise.callback import fingerprint
from retain.train.regularise.feature_penalty import FeatureDivergence, FeaturePenalty, feature_kl
from retain.train.regularise.kl_penalty import KLPenalty
from retain.train.regularise.probes import CONTEXTS, SPREAD, cluster_centres, text_prototypes
from tiny import make_bert, make_llama, make_text_tokenizer, make_vit

TWO = torch.eye(2)


def test_known_numbers_of_the_loss():
    """softmax(1, 0) = (.7311, .2689); KL to its mirror image is .4621. By hand."""
    before = torch.tensor([[3.0, 0.0]])
    after = torch.tensor([[0.0, 2.0]], requires_grad=True)
    loss = feature_kl(TWO, before, after)
    assert loss.item() == pytest.approx(0.46212, abs=1e-5)
    assert feature_kl(TWO, before, 7 * after).item() == pytest.approx(loss.item(), abs=1e-6)
    same = torch.tensor([[0.2, -1.0, 3.0]], requires_grad=True)
    nothing = feature_kl(torch.eye(3), same.detach(), same)
    nothing.backward()
    assert nothing.item() == pytest.approx(0, abs=1e-7)
    assert same.grad.abs().max() < 1e-6


def test_the_published_factor_is_a_weight_of_one():
    """FD-Align: 20 times a mean over batch and 20 contexts is once the KL an item."""
    generator = torch.Generator().manual_seed(0)
    probe, before, after = (torch.randn(shape, generator=generator) for shape in ((20, 6), (4, 6), (4, 6)))
    mine = feature_kl(probe, before, after)
    log_p = (normalize(after, dim=1) @ probe.T).log_softmax(-1)
    theirs = kl_div(log_p, (normalize(before, dim=1) @ probe.T).softmax(-1), reduction="mean")
    torch.testing.assert_close(mine, 20 * theirs)


def images(rows):
    return {
        "pixel_values": torch.stack([row["pixels"] for row in rows]),
        "labels": torch.tensor([0, 1] * 8)[: len(rows)],
    }


def texts(rows):
    ids = torch.tensor([[5, 6 + row["number"], 7, 0] for row in rows])
    return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": torch.tensor([0, 1] * 8)[: len(rows)]}


ROWS = [{"pixels": torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(i)), "number": i} for i in range(8)]


def vit():
    torch.manual_seed(0)
    return ViTForImageClassification(make_vit(num_labels=2).config)


def bert():
    torch.manual_seed(0)
    return BertForSequenceClassification(make_bert(num_labels=2).config)


def adapted(model):
    model = get_peft_model(model, LoraConfig(target_modules="all-linear"))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def trainer(model, collator, folder, **more):
    given = {"max_steps": 12, "per_device_train_batch_size": 4, "report_to": [], "logging_steps": 1, "use_cpu": True}
    given |= {"disable_tqdm": True, "save_strategy": "no", "learning_rate": 2e-2, "remove_unused_columns": False}
    arguments = TrainingArguments(output_dir=str(folder), **given | more)
    return Trainer(model, arguments, train_dataset=ROWS, data_collator=collator)


@pytest.mark.parametrize(("make", "collator"), [(vit, images), (bert, texts)])
def test_the_loss_is_the_tasks_and_the_kl_of_features_and_training_lowers_it(make, collator, tmp_path):
    model, batch = adapted(make()), collator(ROWS[:4])
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    mask = inputs.get("attention_mask")
    with torch.no_grad(), features_read(model, mask) as read:
        with model.disable_adapter():
            model.eval()(**inputs)
            before = read()
        model(**inputs)
        after = read()
    hidden = model.get_base_model().base_model(**inputs).last_hidden_state  # adapted
    mean = hidden.mean(dim=1) if mask is None else (hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
    torch.testing.assert_close(after, mean)
    probe = cluster_centres(torch.cat([before, after]))
    expected = feature_kl(probe, before, after)
    assert expected > 1e-3
    run = trainer(model, collator, tmp_path)
    plain = run.compute_loss(model.train(), dict(batch))
    FeaturePenalty(probe, weight=3.0).attach(run)
    torch.testing.assert_close(run.compute_loss(model, dict(batch)), plain + 3 * expected, rtol=1e-5, atol=1e-6)
    run.train()
    kl = [entry["retain_feature_kl"] for entry in run.state.log_history if "retain_feature_kl" in entry]
    assert len(kl) == 12
    assert kl[-1] < 0.7 * kl[0]


@pytest.mark.parametrize(("make", "collator"), [(vit, images), (bert, texts)])
def test_on_data_to_keep_a_kl_penalty_holds_the_features(make, collator, tmp_path):
    model, kept = adapted(make()), collator(ROWS[4:])
    inputs = {name: value for name, value in kept.items() if name != "labels"}
    with torch.no_grad(), features_read(model.eval(), inputs.get("attention_mask")) as read:
        model(**inputs)
        after = read()
        with model.disable_adapter():
            model(**inputs)
        before = read()
    probe = cluster_centres(torch.cat([before, after]))
    held = FeatureDivergence(probe)
    penalty = KLPenalty([kept], weight=3.0, divergence=held)
    found = penalty.loss(model.train())
    torch.testing.assert_close(found, feature_kl(probe, before, after), rtol=1e-5, atol=1e-6)
    assert found.requires_grad
    assert model.training
    assert held.units(kept) == 4
    run = trainer(model, collator, tmp_path)
    penalty.attach(run)
    KLPenalty([kept], weight=1e-3).attach(run)  # of the predictions on the same batches
    run.train()
    assert len({callback.key for callback in run.callback_handler.callbacks if hasattr(callback, "key")}) == 2
    logged = [entry for entry in run.state.log_history if "retain_feature_kl" in entry]
    assert [entry["retain_feature_weight"] for entry in logged] == [3.0] * 12
    assert all(entry["retain_penalty_kl"] != entry["retain_feature_kl"] for entry in logged)
    assert logged[-1]["retain_feature_kl"] < 0.7 * logged[0]["retain_feature_kl"]


def test_processes_share_the_items_of_a_batch_to_keep(monkeypatch):
    model, kept = adapted(vit()), images(ROWS[:3])
    held = FeatureDivergence(torch.eye(3, 24))

    def loss(rank, world):
        monkeypatch.setattr("retain.train.regularise.shares.rank_and_world", lambda: (rank, world))
        return KLPenalty([kept], divergence=held).loss(model)

    whole = loss(0, 1)
    assert whole > 0
    for world in (2, 4):
        torch.testing.assert_close(sum(loss(rank, world) for rank in range(world)) / world, whole, rtol=1e-5, atol=1e-8)


def test_on_data_to_keep_it_is_refused_where_a_penalty_of_features_is(tmp_path, monkeypatch):
    penalty = KLPenalty([images(ROWS[:2])], divergence=FeatureDivergence(TWO))
    run = trainer(adapted(vit()), images, tmp_path)
    monkeypatch.setattr("retain.train.regularise.callback.FSDPModule", type(run.model))
    monkeypatch.setattr("retain.train.regularise.callback.is_sharded", lambda *_: True)
    given = (run.args, run.state, run.control)
    KLPenalty([images(ROWS[:2])]).on_train_begin(*given, model=run.model)
    with pytest.raises(InputError, match="a feature penalty runs the model outside"):
        penalty.on_train_begin(*given, model=run.model)
    run.args.fp16 = True
    with pytest.raises(InputError, match="the gradient of a feature penalty cannot be scaled"):
        penalty.on_train_begin(*given, model=run.model)


def test_what_a_penalty_on_predictions_remembers_is_found_under_the_name_it_always_had():
    kept = images(ROWS[:2])
    assert KLPenalty([kept]).key == f"retain.KLPenalty:{fingerprint([kept])}"


def test_a_model_whose_output_is_a_number_has_features_to_hold():
    model = adapted(BertForSequenceClassification(make_bert(num_labels=1).config))
    kept = {name: value for name, value in texts(ROWS[:2]).items() if name != "labels"}
    assert KLPenalty([kept], divergence=FeatureDivergence(torch.eye(2, 32))).loss(model) > 0
    with pytest.raises(InputError, match="is a number"):
        KLPenalty([kept]).loss(model)


@pytest.mark.parametrize("given", [{"teacher": torch.nn.Identity()}, {"temperature": 2.0}, {"vocabulary": 7}])
def test_what_is_of_predictions_is_refused_beside_a_divergence(given):
    with pytest.raises(InputError, match="give the teacher to the divergence"):
        KLPenalty([images(ROWS[:2])], divergence=FeatureDivergence(TWO), **given)


def test_a_whole_model_has_its_base_beside_it(tmp_path):
    model = vit()
    run = trainer(model, images, tmp_path, max_steps=1)
    FeaturePenalty(torch.eye(3, 24), teacher=vit()).attach(run)
    run.train()
    [entry] = [entry for entry in run.state.log_history if "retain_feature_kl" in entry]
    assert entry["retain_feature_kl"] == pytest.approx(0, abs=1e-6)


def test_centres_are_directions_by_which_items_differ_and_the_same_each_time():
    generator = torch.Generator().manual_seed(0)
    ways = torch.eye(3, 8)
    features = torch.cat([4 * way + 0.1 * torch.randn(10, 8, generator=generator) for way in ways])
    found = cluster_centres(features, count=3)
    cosines = normalize(found, dim=1) @ ways.T
    assert sorted(cosines.argmax(dim=1).tolist()) == [0, 1, 2]
    assert cosines.amax(dim=1).min() > 0.99
    assert torch.equal(found, cluster_centres(features, count=3))
    logits = normalize(features, dim=1) @ found.T
    assert logits.std(dim=1).mean().item() == pytest.approx(SPREAD, rel=1e-4)
    assert len(cluster_centres(features[:6])) == 3
    with pytest.raises(InputError, match="3 items are too few"):
        cluster_centres(features[:3])
    with pytest.warns(ConvergenceWarning), pytest.raises(InputError, match="point one way"):
        cluster_centres(torch.ones(8, 4))


def clip():
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**sizes, "vocab_size": 64, "max_position_embeddings": 32, "eos_token_id": 1, "bos_token_id": 2}
    vision = {**sizes, "image_size": 16, "patch_size": 8}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).eval()


def test_a_text_tower_names_contexts_and_images_are_put_into_its_space():
    joint, tokenizer = clip(), make_text_tokenizer()
    probe, projection = text_prototypes(joint, tokenizer, ["a", "b_c"])
    assert (probe.shape, projection.shape) == ((len(CONTEXTS), 12), (12, 16))
    inputs = tokenizer([CONTEXTS[4].format(name) for name in ("a", "b c")], padding=True, return_tensors="pt")
    with torch.no_grad():
        text = joint.text_projection(joint.text_model(**inputs).pooler_output)
    expected = joint.logit_scale.exp() * normalize(normalize(text, dim=1).mean(dim=0), dim=0)
    torch.testing.assert_close(probe[4], expected.detach(), rtol=1e-5, atol=1e-5)
    student = CLIPForImageClassification(joint.config).eval()
    assert head_names(student) == ["classifier"]
    student.vision_model.load_state_dict(joint.vision_model.state_dict())
    pixels = torch.stack([row["pixels"] for row in ROWS[:3]])
    with torch.no_grad(), features_read(student, projection=projection) as read:
        student(pixels)
        found = read()
        theirs = joint.get_image_features(pixels)
    torch.testing.assert_close(found, getattr(theirs, "pooler_output", theirs), rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="need a text tower"):
        text_prototypes(vit(), tokenizer, ["a"])


def test_what_cannot_be_is_refused(tmp_path):
    for probe, weight in ((torch.zeros(1, 4), 1.0), (torch.full((3, 4), float("nan")), 1.0), (TWO, 0.0)):
        with pytest.raises(InputError):
            FeaturePenalty(probe, weight=weight)
    run = trainer(get_peft_model(make_llama(), LoraConfig(target_modules="all-linear")), texts, tmp_path)
    FeaturePenalty(TWO).attach(run)
    with pytest.raises(InputError, match="for encoders and vision models"):
        run.train()
    with pytest.raises(InputError, match="for encoders and vision models"):
        FeatureDivergence(TWO)(adapted(make_llama()), {"input_ids": torch.tensor([[1, 2]])})
    run = trainer(adapted(vit()), images, tmp_path)
    run.add_callback(FeaturePenalty(TWO))
    with pytest.raises(InputError, match=r"FeaturePenalty\(…\)\.attach\(trainer\)"):
        run.train()


@pytest.mark.parametrize(
    ("probe", "projection", "told"),
    [
        ([[1.0, 2.0], [2.0, 1.0]], None, "probe: list"),
        (torch.eye(2, 8, dtype=torch.int64), None, r"probe: \(2, 8\)"),
        (torch.eye(2, 8), torch.eye(4, 32), "directions have 8 numbers, and the projection gives 4"),
        (torch.eye(2, 8), torch.full((8, 32), float("nan")), r"projection: \(8, 32\)"),
    ],
)
def test_tables_that_do_not_fit_one_another_are_refused(probe, projection, told):
    with pytest.raises(InputError, match=told):
        FeaturePenalty(probe, projection=projection)


def test_directions_of_another_width_than_the_features_are_refused():
    for width in (8, 33):
        with pytest.raises(InputError, match=f"have {width} numbers and this model's features 32"):
            feature_kl(torch.eye(2, width), torch.ones(3, 32), torch.ones(3, 32))


@pytest.mark.parametrize(
    ("features", "more", "told"),
    [
        (torch.full((10, 8), float("nan")), {}, "all finite"),
        (torch.randn(10), {}, r"features: \(10,\)"),
        ([[1.0, 2.0]] * 10, {}, "features: list"),
        (torch.randn(10, 8), {"count": 1}, "count: 1"),
        (torch.randn(10, 8), {"count": 2.0}, "count: 2.0"),
        (torch.arange(1.0, 11)[:, None] * torch.ones(8), {}, "point one way"),  # to rounding: other lengths
        (torch.ones(10, 8) + 1e-9 * torch.randn(10, 8).double(), {}, "point one way"),
    ],
)
def test_features_that_have_no_centres_are_refused(features, more, told):
    with pytest.raises(InputError, match=told):
        cluster_centres(features, **more)
