"""A teacher of a run: another model or an earlier run, asked or kept beside, on record, and refused where it cannot."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertForSequenceClassification

from retain.cli.main import main
from retain.errors import InputError
from retain.events import SILENT
from retain.jobs import record
from retain.jobs.adapt import train_or_load, training_set_of
from retain.jobs.inputs.prepare import prepare
from retain.jobs.run import Run
from retain.jobs.run_folder import RunFolder
from retain.recipe import Recipe
from retain.records.result import read_result
from retain.train import callbacks
from retain.train.regularise import distillation
from tiny import WORDS, make_bert, make_llama, make_text_tokenizer, make_tokenizer, write_jsonl

BATCH = {"kl_on": "batch", "kl_weight": 0.5, "task_weight": 0.5, "kl_temperature": 2.0}
NAMES = {0: "calm", 1: "loud"}


@pytest.fixture(scope="module", autouse=True)
def no_report():
    """Reports are tested elsewhere; drawing one takes longer than such a run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "write_run_report", lambda *_: None)
        yield


def weights(folder):
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.fixture
def larger(tmp_path):
    """A folder with a model of another seed and a padded vocabulary, and the same tokenizer."""
    folder = tmp_path / "larger"
    make_llama(seed=3, vocabulary=80).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def test_a_run_with_a_teacher_from_the_command_line(tiny_folder, tiny_data, larger, tmp_path):
    """A model teaches; then the run that came of it does. What was asked stands in the record."""
    data = [f"--{name}={tiny_data}/{file}.jsonl" for name, file in
            (("train", "train"), ("test", "test"), ("keep", "letters"))]  # fmt: skip
    flags = ["--model", str(tiny_folder), *data, "--max-steps", "2", "--generate", "0", "--drift", "false"]
    flags += ["--method", "lora", "--training.logging_steps", "1"]
    flags += ["--kl-on", "batch", "--kl-weight", "0.5", "--task-weight", "0.5", "--kl-temperature", "2"]
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["tune", *flags, "--teacher", str(larger), "--output", str(first)]) == 0
    assert main(["tune", *flags, "--teacher", str(first), "--output", str(second)]) == 0
    for folder, teacher in ((first, larger), (second, first)):
        result = read_result(folder / "result.json")
        assert result.training["teacher"] == str(teacher)
        assert {name: result.training[name] for name in BATCH} == BATCH
        assert result.curve[0].kl_nats_per_token > 0
        assert len(json.loads((folder / "run.json").read_text())["training"]["teacher files"]) == (
            2 if teacher == first else 1
        )
    assert not same(weights(first), weights(second))


def test_a_run_that_was_stopped_goes_on_bit_for_bit(make_run, larger, tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    fields = {"teacher": str(larger), "max_steps": 5, "learning_rate": 1e-2, "training": {"logging_steps": 1}, **BATCH}
    compared, seen = distillation.Distillation._compared, []

    def breaking(self, *given):
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return compared(self, *given)

    monkeypatch.setattr(distillation.Distillation, "_compared", breaking)
    broken = make_run(output=str(tmp_path / "broken"), **fields)
    with pytest.raises(KeyboardInterrupt):
        train_or_load(broken, broken.base(), "weights")
    assert list((tmp_path / "broken" / "checkpoints").glob("checkpoint-*"))
    monkeypatch.undo()
    records = []
    for name in ("broken", "whole"):
        run = make_run(output=str(tmp_path / name), **fields)
        records.append(train_or_load(run, run.base(), "weights")[1])
    assert same(weights(tmp_path / "broken"), weights(tmp_path / "whole"))
    assert [point.kl_nats_per_token for point in records[0].curve] == [
        point.kl_nats_per_token for point in records[1].curve
    ]


def test_a_language_models_teacher_is_asked_once_and_all_its_tokens_teach_as_it_does(make_run, larger, tmp_path):
    """61 of 62 tokens leave one, which stands alone: that is the whole KL. Fewer are less, and in another file."""
    fields = {"teacher": str(larger), "max_steps": 3, "learning_rate": 1e-2, "training": {"logging_steps": 1}, **BATCH}
    curves, shared = {}, tmp_path / "shared"
    for top in (None, 1000, 4):
        run = make_run(shared=shared, output=str(tmp_path / str(top)), teacher_top=top, **fields)
        curves[top] = train_or_load(run, run.base(), "weights")[1].curve
    for field in ("loss", "kl_nats_per_token"):
        one, other = ([getattr(point, field) for point in curves[top]] for top in (None, 1000))
        assert one == pytest.approx(other, rel=1e-4)
    assert 0 < curves[4][0].kl_nats_per_token < curves[None][0].kl_nats_per_token
    files = sorted(shared.glob("teacher-*.safetensors"))
    assert len(files) == 2
    sizes = [file.stat().st_size for file in files]
    again = make_run(shared=shared, output=str(tmp_path / "again"), teacher_top=4, seed=1, **fields)
    train_or_load(again, again.base(), "weights")
    assert sorted(shared.glob("teacher-*.safetensors")) == files  # another seed reads what was asked
    assert [file.stat().st_size for file in files] == sizes


@pytest.mark.parametrize("change", [{"replay": 0.2}, {"kl_on": "keep"}, {"teacher": None}])
def test_a_teacher_is_kept_for_the_training_data_alone(recipe, larger, change):
    with pytest.raises(ValueError, match="teacher_top: the teacher is asked of the training data alone"):
        recipe(**{"teacher": str(larger), "teacher_top": 8, **BATCH, **change})


def test_the_base_on_the_batch_needs_no_text_and_another_teacher_is_another_run(make_run, larger):
    run = make_run(**BATCH)
    assert (run.recipe.needs_keep_text, run.data.texts) == (False, {})
    other = make_run(**BATCH, teacher=str(larger))
    assert "teacher files" not in run.identity["training"]
    before = other.identity["training"]["teacher files"]
    make_llama(seed=4, vocabulary=80).save_pretrained(larger)
    assert make_run(**BATCH, teacher=str(larger)).identity["training"]["teacher files"] != before


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A body of a BERT; a classifier of the same classes in the other order, with another tokenizer; labelled texts."""
    place = tmp_path_factory.mktemp("teaching")
    make_bert().save_pretrained(place / "bert")
    make_text_tokenizer().save_pretrained(place / "bert")
    torch.manual_seed(1)
    config = make_bert(seed=1, num_labels=2, id2label={0: "loud", 1: "calm"}).config
    BertForSequenceClassification(config).save_pretrained(place / "teacher")
    make_text_tokenizer().save_pretrained(place / "teacher")
    for name, count in (("train", 24), ("test", 12)):
        rows = [{"text": f"{WORDS[i % 18]} word{i} {WORDS[(i * 5) % 26]} {name}", "label": NAMES[i % 2]}
                for i in range(count)]  # fmt: skip
        write_jsonl(place / f"{name}.jsonl", rows)
    return place


def of_texts(texts, output, **fields):
    given = {"model": str(texts / "bert"), "train": str(texts / "train.jsonl"), "test": str(texts / "test.jsonl")}
    given |= {"max_steps": 2, "batch_size": 6, "method": "lora", "rank": 2, "drift": False, "max_length": 30}
    given |= {"training": {"logging_steps": 1}}
    made = Recipe(**given | {"output": str(output), "teacher": str(texts / "teacher")} | BATCH | fields)
    return Run.of(made, prepare(made), SILENT)


def test_a_classifier_is_asked_once_and_its_classes_are_found_by_name(texts, tmp_path, monkeypatch):
    run = of_texts(texts, tmp_path / "run")
    from retain.jobs import teaching

    base = run.base()
    learned = training_set_of(base, run.preprocessor, run.data.train)
    asked = teaching.penalty_teacher(run, base, learned)
    file = next((tmp_path / "run").glob("teacher-*.json"))
    taught = json.loads(file.read_text())
    assert (taught["labels"], len(taught["log_probabilities"])) == (["loud", "calm"], 24)
    teacher = BertForSequenceClassification.from_pretrained(texts / "teacher").eval()
    batch = run.preprocessor.batch(run.data.train[3:7])
    with torch.no_grad():
        expected = teacher(**batch).logits.log_softmax(-1)[:, [1, 0]]
    torch.testing.assert_close(asked.of(batch), expected, rtol=0, atol=1e-5)
    monkeypatch.setattr(teaching, "_asked", None)  # the second time it is read
    assert torch.equal(teaching.penalty_teacher(run, base, learned).of(batch), asked.of(batch))
    model, done = train_or_load(run, base, "weights")
    assert done.curve[0].kl_nats_per_token > 0
    assert RunFolder(tmp_path / "run").weights("lora").is_dir()
    assert model is not None


def test_accumulated_batches_of_a_classifier_weigh_the_task_and_what_regularises_it_as_one_batch_does(texts, tmp_path):
    """The Trainer left out its division of a classifier's loss: the penalties, which are right, then counted half."""
    curves = []
    for size, steps in ((6, 1), (3, 2)):
        more = {"training": {"logging_steps": 1, "gradient_accumulation_steps": steps}, "feature_weight": 1.0}
        run = of_texts(texts, tmp_path / str(size), batch_size=size, **more)
        curves.append(train_or_load(run, run.base(), "weights")[1].curve)
    for field in ("loss", "kl_nats_per_token", "feature_kl_nats"):
        one, other = ([getattr(point, field) for point in curve] for curve in curves)
        assert one == pytest.approx(other, rel=1e-4, abs=1e-7), field


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"teacher": "nowhere/at/all"}, "teacher: there is no folder nowhere/at/all"),
        ({"teacher": "bert"}, "has no trained head for the classes calm, loud"),
        ({"teacher": "others"}, "tells the classes a, b apart, and the data have calm, loud"),
        ({"kl_on": "keep", "calibrate_keep": "train.jsonl"}, "has the classes in another order (loud, calm)"),
        ({"teacher_top": 4}, "teacher_top: is for language models"),
        ({"teacher": "adapter"}, "is an adapter, and its base is not beside it"),
        ({"teacher": "empty"}, "delivered no weights: finish that run"),
    ],
)
def test_a_classifier_that_cannot_teach_is_refused_before_weights_are_loaded(texts, tmp_path, change, told):
    if change.get("teacher") == "others":
        shutil.copytree(texts / "teacher", texts / "others", dirs_exist_ok=True)
        config = json.loads((texts / "others" / "config.json").read_text())
        config |= {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}}
        (texts / "others" / "config.json").write_text(json.dumps(config))
    for name, file in (("adapter", "adapter_config.json"), ("empty", "recipe.json")):
        (texts / name).mkdir(exist_ok=True)
        given = {"peft_type": "LORA"} if name == "adapter" else {"model": "m", "train": "t", "test": "e", "output": "o"}
        (texts / name / file).write_text(json.dumps(given))
    inside = {key: str(texts / value) if (texts / str(value)).exists() else value for key, value in change.items()}
    with pytest.raises(InputError) as caught:
        of_texts(texts, tmp_path / "run", **inside)
    assert told in str(caught.value)


def test_a_language_model_of_another_vocabulary_is_refused(make_run, tmp_path):
    folder = tmp_path / "other"
    make_llama().save_pretrained(folder)
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["novel"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(InputError, match=r"has another vocabulary than .*'novel' is the first that differs"):
        make_run(**BATCH, teacher=str(folder))


def test_a_budget_of_kl_is_to_the_base_on_text_to_keep(recipe):
    with pytest.raises(ValueError, match="--kl-on batch"):
        recipe(kl_weight="budget", kl_on="batch", budget={"kl": 0.1})
    with pytest.raises(ValueError, match="with --teacher"):
        recipe(kl_weight="budget", teacher="x", budget={"kl": 0.1})


def test_features_of_a_text_classifier_are_held_among_centres_that_are_kept(texts, tmp_path):
    fields = {"teacher": None, "kl_weight": None, "task_weight": 1.0, "feature_weight": 2.0}
    run = of_texts(texts, tmp_path / "run", **fields)
    _, done = train_or_load(run, run.base(), "weights")
    assert any("place among 12 centres of the base's own" in note for note in done.notes)
    assert len(json.loads(next((tmp_path / "run").glob("probe-*.json")).read_text())["directions"]) == 12
    assert run.identity["training"]["feature_probe"] == "auto"
    plain = of_texts(texts, tmp_path / "plain", **fields | {"feature_weight": None})
    train_or_load(plain, plain.base(), "weights")
    assert not same(weights(tmp_path / "run"), weights(tmp_path / "plain"))
    with pytest.raises(InputError, match="has no text tower beside that of its images"):
        of_texts(texts, tmp_path / "text", **fields, feature_probe="text")


def test_a_language_model_has_no_feature_penalty(make_run):
    with pytest.raises(InputError, match="feature_weight: a feature penalty is for encoders and vision models"):
        make_run(feature_weight=1.0)
