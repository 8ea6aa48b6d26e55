"""What the verbs hand to their jobs, print and return; the jobs themselves are stood in for."""

from types import SimpleNamespace

import pytest

from retain.cli import advise, calibrate, check, compare, gate, inspect, measure, report, scale, screen, tune
from retain.cli.flags import read_arguments
from retain.jobs import calibrate as calibrate_job
from retain.jobs import compare as compare_job
from retain.jobs import inspect as inspect_job
from retain.jobs import measure as measure_job
from retain.jobs import report as report_job
from retain.jobs import scale as scale_job
from retain.jobs import tune as tune_job
from retain.jobs.sweep import advise as advise_job

KEPT, BROKEN = (SimpleNamespace(kept=kept, budget=(), scaling=None) for kept in (True, False))
BASIC = ["--model", "m", "--test", "e", "--output", "o"]
TRAIN = [*BASIC, "--train", "t"]
TUNED = [*BASIC, "--tuned", "t"]


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """No tables: a stood-in result has none."""
    for name in ("show_run", "show_comparison", "show_scaling"):
        monkeypatch.setattr(screen, name, lambda *shown: None)


@pytest.fixture
def job(monkeypatch):
    """Stand in for a job; `seen` is what it was given first."""
    seen = []

    def make(module, name, result):
        def run(given, *rest):
            seen.append(given)
            return result

        monkeypatch.setattr(module, name, run)
        return seen

    return make


def run(verb, words):
    return verb.run(read_arguments(verb.make_parser(), words))


@pytest.mark.parametrize(("budget", "code"), [([], 0), ([KEPT], 0), ([KEPT, BROKEN], 3)])
def test_tune_ends_with_3_where_a_limit_could_not_be_kept(job, budget, code):
    seen = job(tune_job, "tune", SimpleNamespace(budget=budget))
    assert run(tune, [*TRAIN, "--method", "lora", "--rank", "3"]) == code
    assert (seen[0].method_name, seen[0].rank) == ("lora", 3)


@pytest.mark.parametrize(("budgets", "code"), [([[KEPT], [BROKEN]], 0), ([[BROKEN], [KEPT, BROKEN]], 3), ([[]], 0)])
def test_compare_ends_with_3_where_no_run_kept_its_budget(job, budgets, code):
    results: list = [SimpleNamespace(budget=budget) for budget in budgets]
    seen = job(compare_job, "compare", compare_job.Compared(results, []))
    assert run(compare, [*TRAIN, "--methods", "lora,vefa", "--seeds", "2"]) == code
    assert len(seen[0].runs()) == 4
    job(compare_job, "compare", compare_job.Compared(results, [], {"lora-lr1-seed0": "the loss became nan"}))
    assert run(compare, [*TRAIN, "--methods", "lora,vefa"]) == 1
    job(compare_job, "compare", compare_job.Compared([], [], share="share 1/2 of 4 runs"))
    assert run(compare, [*TRAIN, "--methods", "lora,vefa", "--run", "1/2"]) == 0


@pytest.mark.parametrize(("outcome", "code"), [(KEPT, 0), (BROKEN, 3)])
def test_scale_ends_with_3_where_the_budget_could_not_be_kept(job, outcome, code):
    seen = job(scale_job, "scale_recipe", (outcome, []))
    assert run(scale, [*TUNED, "--alpha", "0.5"]) == code
    assert seen[0].alpha == 0.5


@pytest.mark.parametrize("verdict", gate.EXIT_CODES)
def test_measure_ends_with_the_gates_code_only_where_that_is_asked_for(job, verdict):
    seen = job(
        measure_job,
        "measure_recipe",
        SimpleNamespace(judgement=SimpleNamespace(overall=verdict, suites=(), gone=(), forgot=None)),
    )
    assert run(measure, TUNED) == 0
    assert run(measure, [*TUNED, "--gate"]) == gate.EXIT_CODES[verdict]
    assert [recipe.gate for recipe in seen] == [False, True]


def test_measure_without_a_verdict_ends_with_0(job):
    job(measure_job, "measure_recipe", SimpleNamespace(judgement=None))
    assert run(measure, [*TUNED, "--gate"]) == 0


def test_advise_names_the_next_command(job, monkeypatch, tmp_path, capsys):
    from retain.cli.views import advice_view

    monkeypatch.setattr(advice_view, "advice_view", lambda sweep: sweep)
    seen = job(advise_job, "advise", ("the advice", [tmp_path / "advice.yaml"]))
    assert run(advise, [*TRAIN, "--sweep-steps", "3"]) == 0
    assert seen[0].sweep_steps == 3
    told = capsys.readouterr().out
    assert "the advice" in told
    assert f"next: retain tune {tmp_path / 'advice.yaml'}" in told.replace("\n", "")


def test_calibrate_counts_what_was_read(job, capsys):
    manifest = SimpleNamespace(sequences=[1, 2], layers=[1], sources=[1])
    made = {"keep": SimpleNamespace(tokens=12345, manifest=manifest)}
    job(calibrate_job, "calibrate", (made, ["few tokens"]))
    run(calibrate, ["--model", "m", "--output", "o"])
    told = capsys.readouterr().out
    assert "12,345 tokens in 2 sequences, 1 layers" in told
    assert "note: few tokens" in told


def test_inspect_writes_beside_what_it_inspects(job, monkeypatch, tmp_path, capsys):
    from retain.cli.views import inspection_view
    from retain.report.page import inspection

    monkeypatch.setattr(inspection_view, "inspection_table", lambda view: view)
    monkeypatch.setattr(inspection, "write_inspection", lambda folder, view: [folder / "inspect.md"])
    seen = job(inspect_job, "inspect", "the table")
    run(inspect, [str(tmp_path), "--rank", "4"])
    assert seen == [str(tmp_path)]
    assert str(tmp_path / "inspect.md") in capsys.readouterr().out.replace("\n", "")


def test_report_prints_where_it_wrote(job, tmp_path, capsys):
    seen = job(report_job, "report", [tmp_path / "report.md"])
    run(report, ["runs/a", "runs/b"])
    assert seen == [["runs/a", "runs/b"]]
    assert capsys.readouterr().out.startswith("md ")


@pytest.mark.parametrize(
    ("words", "prepared"),
    [([], 1), (["--method", "lora"], 1), (["--method", "lora", "--methods", "lora,vefa"], 2)],
)
def test_check_prepares_a_comparison_and_the_method_that_is_named_beside_it(monkeypatch, capsys, words, prepared):
    from retain.budget import split
    from retain.jobs import comparison_runs
    from retain.jobs.inputs import cautions, evidence_told, prepare

    suite = SimpleNamespace(part="keep", name="letters", items=[1, 2], task_type="choice")
    suites = SimpleNamespace(all=[suite], held_out_text={"news": "a b"})
    near = ["test: 1 item nearly repeats the training data."]
    data = SimpleNamespace(
        train=[1, 2, 3], rows=3, sample=None, family="causal-lm", suites=suites, control=None, near_duplicates=near
    )
    seen = []

    def prepare_it(recipe, limit):
        seen.append(recipe)
        return SimpleNamespace(data=data, preprocessor=None, notes=["no adapter touches the experts."])

    monkeypatch.setattr(prepare, "prepare", prepare_it)
    monkeypatch.setattr(comparison_runs, "planned_conflicts", lambda recipe, prepared: [])
    monkeypatch.setattr(prepare, "truncations", lambda recipe, found: ["two will be cut."])
    monkeypatch.setattr(prepare, "fields_told", lambda recipe, found: ["beta is not read"])
    monkeypatch.setattr(cautions, "cautions", lambda data, preprocessor: ["the template writes the date"])
    monkeypatch.setattr(evidence_told, "evidence_told", lambda train, suites, batch, sample: [f"batches of {batch}"])
    monkeypatch.setattr(split, "limit_words", lambda *limits: ["needs 80 items"])
    run(check, [*TRAIN, *words])
    told = capsys.readouterr().out
    assert len(seen) == prepared
    assert f"no problems: {prepared} run(s) on 3 training examples" in told
    assert "keep letters: 2 items of task type choice" in told
    assert "beta is not read" in told
    assert "writes the date" in told
    assert "batches of 8" in told
    assert all(
        part in told
        for part in (
            "held-out text news: 3 characters",
            "needs 80 items",
            "two will be cut.",
            "touches the experts",
            *near,
        )
    )
