"""A forgetting budget from the command line: certified, delivered, refused, resumed, gone on from. On a tiny model."""

import json
import shutil

import pytest
import torch
from peft import PeftModel

from retain.cli.main import main
from retain.records.result import read_result
from tiny import make_llama, write_jsonl


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder for what tests share and do not change."""
    return tmp_path_factory.mktemp("control")


@pytest.fixture(scope="module")
def questions(place):
    """Enough four-way questions that half of them can certify a loose limit."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    rows = [
        {"question": f"{a} {b}", "choices": [letters[(i + k) % 26] for k in (1, 5, 9, 13)], "answer": (i + j) % 4}
        for i, a in enumerate(letters)
        for j, b in enumerate(letters[:8])
    ]
    return write_jsonl(place / "pairs.jsonl", rows)


@pytest.fixture(scope="module")
def text(place):
    """Held-out text in paragraphs enough to be parted."""
    path = place / "long.txt"
    words = [f"word{n % 30} {'abcdefghijklmnopqrstuvwxyz'[n % 26]}" for n in range(7000)]
    path.write_text("\n\n".join(" ".join(words[i : i + 60]) for i in range(0, 7000, 60)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def learned(place):
    """A test of the first task that is large enough to be kept by a second."""
    tests = [{"prompt": f"x {a} {b} =", "completion": f" {a}"} for a in "abcdefghij" for b in "abcdefgh"]
    return str(write_jsonl(place / "learned.jsonl", tests))


@pytest.fixture(scope="module")
def command(tiny_folder, tiny_data, questions, text):
    """A command line that trains a few steps, with a suite that is large enough for a budget."""

    def make(output, *more, method="lora", rate="0.01"):
        return [
            "--model", str(tiny_folder), "--method", method, "--learning-rate", rate,
            "--train", str(tiny_data / "train.jsonl"), "--test", str(tiny_data / "test.jsonl"),
            "--keep", str(questions), "--held-out-text", str(text), "--output", str(output),
            "--max-steps", "4", "--generate", "0", "--drift", "false", "--max-length", "64",
            "--held-out-tokens", "2560", *more,
        ]  # fmt: skip

    return make


@pytest.fixture
def flags(command, tmp_path):
    """The command line with a name for its output."""

    def make(*more, output="run", **given):
        return command(tmp_path / output, *more, **given)

    return make


LOOSE = ("--budget", "pairs:60", "--budget", "kl:5")
TIGHT = {"rate": "0.03"}


@pytest.fixture(scope="module")
def loose(command, learned, place):
    """A run within a loose budget; a test that changes it takes a copy."""
    assert main(["tune", *command(place / "loose", "--test", learned, *LOOSE)]) == 0
    return place / "loose"


@pytest.fixture(scope="module")
def tight(command, place):
    """A run of which a tight budget delivered a part; likewise."""
    assert main(["tune", *command(place / "tight", "--alphas", "0.05,1", "--budget", "kl:0.005", **TIGHT)]) == 0
    return place / "tight"


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


def test_a_loose_budget_delivers_all_that_was_trained(loose):
    result = read_result(loose / "result.json")
    assert result.scaling.alpha == 1
    assert {one.name: one.kept for one in result.budget} == {"pairs": True, "kl": True}
    assert all(one.bound <= one.limit for one in result.budget)
    assert result.cost.scaling_seconds > 0
    assert not (loose / "trained").exists()
    control = next(one.n for one in result.budget if one.name == "pairs")
    reported = next(score.n for score in result.keep if score.name == "pairs")
    assert control == reported == 104
    assert "Budget kept" in (loose / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("method", ["lora", "vefa", "sc-lora"])
def test_a_tight_budget_scales_the_adapter_back(flags, tight, tmp_path, method):
    folder = tight
    if method != "lora":
        more, rate = {"vefa": ((), "0.9"), "sc-lora": (("--rank", "4", "--calibrate-tokens", "200"), "0.03")}[method]
        folder = tmp_path / "run"
        words = flags("--alphas", "0.05,1", "--budget", "kl:0.005", *more, method=method, rate=rate)
        assert main(["tune", *words]) == 0
    result = read_result(folder / "result.json")
    assert result.scaling.alpha == 0.05
    assert result.budget[0].bound <= 0.005
    assert [point.kept for point in result.scaling.curve if point.part == "held-out"] == [True, False]
    assert result.scaling.note.startswith("More of the update, α = 1, was not delivered. kl: could not be shown")
    whole, part = weights(folder / "trained"), weights(folder / "adapter")
    assert whole.keys() == part.keys()
    assert any(not torch.equal(whole[name], part[name]) for name in whole)
    if method == "lora":
        import retain

        model = retain.load_adapter(make_llama(), folder / "adapter")
        assert isinstance(model, PeftModel)
    assert result.drift.kl_nats_per_token < 0.005
    assert "5% of the update" in (folder / "report.md").read_text(encoding="utf-8")


def test_an_impossible_budget_delivers_nothing_and_says_so(flags, tmp_path, capsys):
    assert main(["tune", *flags("--alphas", "0.5,1", "--budget", "kl:0.000001", rate="0.05")]) == 3
    folder = tmp_path / "run"
    assert not (folder / "adapter").exists()
    assert (folder / "trained" / "adapter_model.safetensors").exists()
    result = read_result(folder / "result.json")
    assert result.scaling.alpha == 0
    assert not result.budget[0].kept
    assert any("no adapter was delivered" in note for note in result.provenance.notes)
    assert "Budget not kept" in capsys.readouterr().out.replace("\n", " ")


def test_another_budget_trains_nothing_anew(flags, tight, tmp_path):
    folder = shutil.copytree(tight, tmp_path / "run")
    first, began = weights(folder / "trained"), (folder / "training.json").stat().st_mtime_ns
    assert main(["tune", *flags("--alphas", "0.05,1", "--budget", "kl:50", **TIGHT)]) == 0
    assert (folder / "training.json").stat().st_mtime_ns == began
    now = weights(folder / "adapter")
    assert all(torch.equal(first[name], now[name]) for name in first)
    assert read_result(folder / "result.json").scaling.alpha == 1


def test_problems_of_a_budget_are_told_before_training(flags, tmp_path, capsys):
    assert main(["tune", *flags("--budget", "pairs:1", "cats:3", "--kl-weight", "budget")]) == 2
    told = capsys.readouterr().err
    assert "KL penalty: budget needs a limit of kl" in told
    assert main(["tune", *flags("--budget", "pairs:1", "cats:3")]) == 2
    told = capsys.readouterr().err
    assert "there is no retention suite 'cats'" in told
    assert "not even a model that lost nothing could be certified" in told
    assert main(["tune", *flags("--budget", "pairs")]) == 2
    assert "NAME:NUMBER" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_check_says_what_a_promise_takes(flags, capsys):
    assert main(["check", *flags("--budget", "pairs:5", "kl:0.1")]) == 0
    told = capsys.readouterr().out
    assert "budget pairs:5: 104 control items (or groups); a model that loses nothing needs 59, one that loses" in told
    assert "control blocks of text; one that does not move needs 18" in told


def test_means_act_on_the_training(flags, tiny_data, tmp_path):
    words = [f"word{(7 * n) % 30} {'abcdefghijklmnopqrstuvwxyz'[(11 * n) % 26]}" for n in range(1200)]
    kept = [{"text": " ".join(words[i : i + 20])} for i in range(0, 1200, 20)]
    common = ("--calibrate-keep", str(write_jsonl(tmp_path / "kept.jsonl", kept)), "--kl-monitor", "--max-steps", "10")
    common += ("--keep", str(tiny_data / "letters.jsonl"))  # few questions: what is asked here is in the text
    main(["tune", *flags(*common, output="free", rate="0.05")])
    main(["tune", *flags("--kl-weight", "100", *common, output="trained with the KL penalty", rate="0.05")])
    main(["tune", *flags("--update-limit", "0.001", *common, output="small", rate="0.05")])
    main(["tune", *flags("--replay", "0.5", *common, output="replayed", rate="0.05")])
    found = {
        name: read_result(tmp_path / name / "result.json")
        for name in ("free", "trained with the KL penalty", "small", "replayed")
    }
    kl = {name: result.drift.kl_nats_per_token for name, result in found.items()}
    assert kl["trained with the KL penalty"] < 0.8 * kl["free"]
    assert kl["small"] < 0.7 * kl["free"]
    assert found["replayed"].training["replay"] == 0.5
    assert any(point.kl_nats_per_token is not None for point in found["trained with the KL penalty"].curve)


def test_scaling_a_run_measures_and_writes(flags, tiny_data, tmp_path, capsys):
    assert main(["tune", *flags("--keep", str(tiny_data / "letters.jsonl"), rate="0.02")]) == 0
    run = tmp_path / "run"
    assert main(["scale", str(run), "--alphas", "0.5,1"]) == 0
    record = json.loads((run / "scaled" / "scaling.json").read_text(encoding="utf-8"))
    assert {point["alpha"] for point in record["scaling"]["curve"]} == {0.5, 1}
    assert {point["part"] for point in record["scaling"]["curve"]} == {"task", "keep", "held-out"}
    assert (run / "scaled" / "scaling.png").is_file()
    assert not (run / "scaled" / "adapter").exists()
    assert main(["scale", str(run), "--alpha", "0.25", "--output", str(tmp_path / "quarter")]) == 0
    whole, part = weights(run / "adapter"), weights(tmp_path / "quarter" / "adapter")
    product = {name: whole[name] for name in whole if "lora_B" in name}
    assert all(torch.allclose(part[name], 0.25 * value, rtol=1e-6) for name, value in product.items())
    assert main(["scale", str(run), "--budget", "kl:0.000001", "--alphas", "0.5,1"]) == 3
    assert "Budget not kept" in capsys.readouterr().out.replace("\n", " ")


def test_a_second_task_keeps_the_first(flags, loose, learned, tmp_path):
    shutil.copytree(loose, tmp_path / "first")
    second = write_jsonl(
        tmp_path / "second.jsonl", [{"prompt": f"z {a} =", "completion": f" {a}"} for a in "abcdefghijklmnop"]
    )
    held = write_jsonl(tmp_path / "held.jsonl", [{"prompt": f"y {a} =", "completion": f" {a}"} for a in "abcdefghijkl"])
    said = [
        "--from", str(tmp_path / "first"), "--train", str(second), "--test", str(held), "--method", "lora",
        "--learning-rate", "0.01", "--max-steps", "4", "--generate", "0", "--drift", "false", "--max-length", "64",
        "--budget", "first:9", "--output", str(tmp_path / "second"),
    ]  # fmt: skip
    assert main(["tune", *said]) == 0
    result = read_result(tmp_path / "second" / "result.json")
    assert {one.name for one in result.budget} == {"pairs", "kl", "first"}
    assert {score.name for score in result.keep} == {"pairs", "first"}
    assert (tmp_path / "first" / "merged" / "model.safetensors").is_file()
    origin = json.loads((tmp_path / "second" / "control-base.json").read_text(encoding="utf-8"))
    before = json.loads((tmp_path / "first" / "control-base.json").read_text(encoding="utf-8"))
    assert origin["answers"]["responses"]["pairs"] == before["answers"]["responses"]["pairs"]

    again = flags("--test", learned, "--budget", "pairs:60", "--budget", "kl:4", output="first")
    assert main(["tune", *again]) == 0
    assert not (tmp_path / "first" / "merged").exists(), "what another budget delivered is not gone on from"
    several = [word for word in said if word not in {"--method", "lora", "--learning-rate", "0.01"}]
    third = [*several[:-1], str(tmp_path / "third"), "--methods", "lora", "--learning-rates", "0.01"]
    assert main(["compare", *third]) == 0
    assert (tmp_path / "first" / "merged" / "config.json").is_file()


def test_a_recipe_that_goes_on_can_be_checked_first(flags, loose, tmp_path, capsys):
    shutil.copytree(loose, tmp_path / "first")
    said = flags("--from", str(tmp_path / "first"), output="second")[2:]
    assert main(["check", *said]) == 0
    assert (tmp_path / "first" / "merged" / "config.json").is_file()
    assert main(["check", *said, "--model", "elsewhere"]) == 2
    assert "leave --model out" in capsys.readouterr().err
    assert main(["check", *said, "--budget", "pairs"]) == 2
    assert "NAME:NUMBER" in capsys.readouterr().err


def test_a_setting_that_was_asked_for_is_not_called_kept(loose, tmp_path):
    run = shutil.copytree(loose, tmp_path / "run")
    assert main(["scale", str(run), "--alpha", "0.9"]) == 0
    record = json.loads((run / "scaled" / "scaling.json").read_text(encoding="utf-8"))
    assert record["scaling"]["alpha"] == 0.9
    assert record["budget"] == []
    assert (run / "scaled" / "adapter").is_dir()
    assert main(["scale", str(run), "--budget", "kl:0.000001"]) == 3
    assert not (run / "scaled" / "adapter").exists(), "an adapter of an earlier call would be taken for the kept one"
