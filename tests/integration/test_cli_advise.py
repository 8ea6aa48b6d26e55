"""A sweep from the command line: chooses within the limit, leaves the base alone, resumes, is bounded. Tiny models."""

import random

import pytest
import yaml

from retain.cli.main import main
from retain.jobs.sweep import advise as advising
from retain.jobs.sweep import bench as sweep
from retain.recipe import Recipe, load_recipe
from retain.records.numbers import learning_rate
from retain.records.recommended import shipped
from retain.records.sweep_record import Recommendation, SweepRecord
from tiny import WORDS, make_bert, make_text_tokenizer, write_jsonl


@pytest.fixture
def flags(tiny_folder, tiny_data, tmp_path):
    """A command line that pilots LoRA for a few steps."""
    draw = random.Random(0)  # noqa: S311 -- words drawn, not a secret
    kept = [{"text": " ".join(draw.choices(WORDS, k=20))} for _ in range(24)]
    path = write_jsonl(tmp_path / "kept.jsonl", kept)

    def make(*more, output="advice"):
        return [
            "advise", "--model", str(tiny_folder), "--train", str(tiny_data / "train.jsonl"),
            "--test", str(tiny_data / "test.jsonl"), "--calibrate-keep", str(path), "--output", str(tmp_path / output),
            "--methods", "lora", "--learning-rates", "0.003,0.03", "--sweep-steps", "4", "--sweep-items", "8",
            "--max-length", "64", "--generate", "0", "--drift", "false", *more,
        ]  # fmt: skip

    return make


def read(folder):
    return SweepRecord.model_validate_json((folder / "advice.json").read_text(encoding="utf-8"))


@pytest.fixture
def counted(monkeypatch):
    """How often a candidate is trained, and whether the base was bit-equal when each was done."""
    done, seals = [], []
    made, train = sweep.Seal, sweep.train

    def sealed(base):
        seals.append(made(base))
        return seals[-1]

    def learn(model, training_set, run, *rest):
        found = train(model, training_set, run, *rest)
        done.append((run.method_name, run.rate, run.replay or 0.0, seals[-1].holds()))
        return found

    monkeypatch.setattr(sweep, "Seal", sealed)
    monkeypatch.setattr(sweep, "train", learn)
    return done


def test_chooses_within_the_limit_and_writes_a_recipe(flags, tmp_path, counted, capsys):
    assert main(flags()) == 0
    found = read(tmp_path / "advice")
    assert [one[:3] for one in counted[:2]] == [("lora", 0.03, 0.0), ("lora", 0.003, 0.0)]
    assert [one[2] for one in counted[2:]] == [0.25]
    assert all(one[3] for one in counted)
    free = [
        (point.gain, candidate, point)
        for candidate in found.candidates
        for point in candidate.points
        if point.kl <= 0.1
    ]
    assert found.best_point.gain == max(gain for gain, _, _ in free)
    assert not found.limit_stated
    assert found.base_loss - found.best_point.loss == pytest.approx(found.best_point.gain)
    for candidate in found.candidates:
        half, whole = candidate.points
        assert 0 < half.kl < whole.kl
        assert candidate.step_seconds > 0
    told = (tmp_path / "advice" / "advice.md").read_text(encoding="utf-8")
    assert "a start and not evidence" in told
    assert "default of 0.1 nats was used" in told
    assert "next: retain tune" in capsys.readouterr().out


def test_a_combination_is_trained_as_it_says_and_the_advice_holds_it(flags, tmp_path, counted, monkeypatch, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"methods": ["lora", {"name": "lora", "kl_weight": 30.0}]}), encoding="utf-8")
    said = [one for one in flags("--replays", "0") if one not in {"--methods", "lora"}]
    monkeypatch.setattr(advising, "limit_of", lambda _: 100.0)
    assert main([said[0], str(recipe), *said[1:]]) == 0
    found = read(tmp_path / "advice")
    assert [(one.own, one.learning_rate) for one in found.candidates] == [
        ({}, 0.03), ({"kl_weight": 30.0}, 0.03), ({}, 0.003), ({"kl_weight": 30.0}, 0.003),
    ]  # fmt: skip
    assert len(counted) == 4
    plain, penalised = (one.points[1] for one in found.candidates[:2])
    assert 0 < penalised.kl < plain.kl
    told = " ".join(capsys.readouterr().out.split())
    assert "lora + KL penalty 30" in told
    assert "Beside lora" in told
    best = found.best_point
    assert sum(best.gains) / sum(found.held_weights) == pytest.approx(best.gain)
    monkeypatch.setattr(advising, "limit_of", lambda _: (penalised.kl + plain.kl) / 2)
    monkeypatch.setattr(advising, "choose", lambda *_: Recommendation(candidate=1, alpha=1.0, within=True))
    main([said[0], str(recipe), *said[1:]])
    assert len(counted) == 4  # read again
    advised = load_recipe(Recipe, str(tmp_path / "advice" / "advice.yaml"), {})
    assert (advised.method_name, advised.kl_weight, advised.rate) == ("lora", 30.0, 0.03)
    assert read(tmp_path / "advice").fields == {"method": "lora", "kl_weight": 30.0, "learning_rate": 0.03}
    assert "    kl_weight: 30.0\n" in capsys.readouterr().out


def test_what_the_benchmark_has_first_is_tried_beside_lora_unless_methods_are_listed(flags, tmp_path, capsys):
    listed = flags("--sweep-minutes", "0.000001", "--replays", "0")
    apart = {"--methods", "lora", "--learning-rates", "0.003,0.03"}
    usual = [*(one for one in listed if one not in apart), "--rank", "2"]
    assert main(usual) == 0
    best = shipped().of("language").best
    found = read(tmp_path / "advice")
    assert found.candidates[0].method == "lora"
    rate = learning_rate(best.rates[0])
    assert found.untried[:2] == (f"lora at {rate}", f"lora + KL penalty 3 at {rate}")
    assert not any(note.startswith(best.title) for note in found.notes)
    assert main(listed) == 0
    found = read(tmp_path / "advice")
    assert not any("KL penalty" in one for one in found.untried)
    assert any(f"{best.title}, which the benchmark has first" in note for note in found.notes)
    capsys.readouterr()


def test_a_limit_of_the_budget_counts(flags, tmp_path, monkeypatch):
    main(flags("--replays", "0"))
    first = read(tmp_path / "advice")
    by_rate = {candidate.learning_rate: candidate for candidate in first.candidates}
    low, high = by_rate[0.003].points[1], by_rate[0.03].points[0]
    assert low.kl < high.kl
    assert low.gain < high.gain
    monkeypatch.setattr(advising, "limit_of", lambda _: (low.kl + high.kl) / 2)
    main(flags("--replays", "0"))
    second = read(tmp_path / "advice")
    assert second.best.learning_rate == 0.003
    assert second.candidates == first.candidates  # read again, not trained again: even the times are equal
    advice = yaml.safe_load((tmp_path / "advice" / "advice.yaml").read_text(encoding="utf-8"))
    assert (advice["method"], advice["learning_rate"]) == ({"name": "lora"}, 0.003)
    assert not advice.keys() & {"sweep_steps", "methods", "learning_rates", "replays", "replay"}
    recipe = load_recipe(Recipe, str(tmp_path / "advice" / "advice.yaml"), {})
    assert recipe.max_length == 64


def test_the_bound_of_time_holds_and_the_same_command_goes_on(flags, tmp_path, counted, capsys):
    little = flags("--sweep-minutes", "0.000001", "--replays", "0")
    assert main(little) == 0
    assert len(counted) == 1
    first = read(tmp_path / "advice")
    assert first.untried == ("lora at 3e-3",)
    assert "Not tried: lora at 3e-3" in capsys.readouterr().out.replace("\n", " ")
    assert main(little) == 0
    assert [one[1] for one in counted] == [0.03, 0.003]
    second = read(tmp_path / "advice")
    assert second.candidates[0] == first.candidates[0]
    assert not second.untried


def test_an_adapter_used_again_is_a_fresh_one(flags, tmp_path):
    """The second rate of a method gives the very numbers that it gives alone, on a base of its own."""
    held = ("--replays", "0", "--sweep-steps", "3", "--ewc", "5")
    main(flags(*held))
    assert len(list((tmp_path / "advice").rglob("fisher-*.safetensors"))) == 1  # which both rates read
    both = {candidate.learning_rate: candidate for candidate in read(tmp_path / "advice").candidates}
    alone = flags(*held, output="alone")
    alone[alone.index("--learning-rates") + 1] = "0.003,0.9"
    main(alone)
    again = next(t for t in read(tmp_path / "alone").candidates if t.learning_rate == 0.003)
    assert again.points == both[0.003].points


def test_a_classifier(tmp_path):
    make_bert().save_pretrained(tmp_path / "bert")
    make_text_tokenizer().save_pretrained(tmp_path / "bert")
    draw = random.Random(1)  # noqa: S311 -- words drawn, not a secret
    pools = {"calm": WORDS[:9], "loud": WORDS[9:18]}
    rows = [
        {"text": " ".join(draw.choices(pools[label], k=4) + draw.choices(WORDS[18:], k=3)), "label": label}
        for label in ("calm", "loud") * 40
    ]
    for name, part in (("train", rows[:40]), ("test", rows[40:60]), ("keep", rows[60:])):
        write_jsonl(tmp_path / f"{name}.jsonl", part)
    penalised = {"name": "lora", "feature_weight": 10.0}
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"methods": ["lora", penalised, "sc-lora"]}), encoding="utf-8")
    said = [
        "advise", str(recipe), "--model", str(tmp_path / "bert"), "--train", str(tmp_path / "train.jsonl"),
        "--test", str(tmp_path / "test.jsonl"), "--calibrate-keep", str(tmp_path / "keep.jsonl"),
        "--output", str(tmp_path / "out"), "--rank", "2", "--learning-rates", "0.001,0.01",
        "--sweep-steps", "3", "--sweep-items", "8", "--max-length", "60", "--drift", "false",
    ]  # fmt: skip
    assert main(said) == 0
    found = read(tmp_path / "out")
    assert found.unit == "nats per item"
    assert [candidate.method for candidate in found.candidates] == ["lora", "lora", "sc-lora"] * 2
    free, held = found.candidates[:2]
    assert held.own == {"feature_weight": 10.0}
    assert held.points != free.points  # as they would be, bit for bit, if the penalty were left out
    assert all(
        0 <= point.accuracy <= 1 and point.kl > 0 for candidate in found.candidates for point in candidate.points
    )
    assert any("only language models can replay" in note for note in found.notes)
    assert load_recipe(Recipe, str(tmp_path / "out" / "advice.yaml"), {}).method_name == found.best.method


def test_problems_are_told_at_once_before_anything_is_trained(flags, tmp_path, capsys, counted):
    assert main(flags("--methods", "lora,lorra", "--train", str(tmp_path / "nothing.jsonl"))) == 2
    told = capsys.readouterr().err
    assert "lorra" in told
    assert "nothing.jsonl" in told
    assert main(flags("--methods", "full")) == 2
    assert "name an adapter" in capsys.readouterr().err
    assert not counted
    assert not (tmp_path / "advice").exists()
