"""The verdict at the top of a page: one sentence, one row a suite, and never a claim that nothing was lost."""

from __future__ import annotations

import re

import pytest

from full_samples import full_run, judgement, suite_verdict
from report_samples import eighteen, items, judged, named, sample_run
from retain.records.metrics_table import ACCURACY
from retain.records.scores import TaskScore
from retain.records.verdicts import AACheck
from retain.report.cautions import cautions
from retain.report.claims import headline as headline_of_readings
from retain.report.comparison import compare_runs
from retain.report.page.markdown import run_markdown
from retain.report.page.model_card import model_card
from retain.report.page.run_page import run_page
from retain.report.verdict_words import MEANING, VERDICTS, aa_line, headline, verdict_table


def test_the_headline_is_one_sentence_of_verdict_and_reason():
    told = headline(full_run().model_copy(update={"budget": (), "scaling": None}))
    assert told == "It learned the task, but lost something it knew: on capitals it lost 5.2 points [1.9, 8.5]."


@pytest.mark.parametrize(
    ("overall", "learned", "joint"),
    [("kept", "yes", "and kept"), ("lost", "yes", "but lost"), ("kept", "not shown", "but kept"),
     ("lost", "not measured", "and it lost"), ("too few items to say", "yes", "but there are too few items")],
)  # fmt: skip
def test_good_and_bad_news_are_joined_by_but(overall, learned, joint):
    assert f", {joint}" in headline(sample_run(judgement=judgement(overall, learned)))


@pytest.mark.parametrize("overall", VERDICTS)
def test_without_a_task_the_second_half_has_a_subject(overall):
    told = headline(sample_run(judgement=judgement(overall, "not measured")))
    assert re.match("No task was measured, (and|but) (it|there) ", told)


@pytest.mark.parametrize(
    ("verdict", "reason", "told"),
    [("lost", "change −24.5 points.", False), ("changed format", "it writes otherwise.", False),
     ("too few items to say", "4 items are too few to show any loss: 4 can fall, 7 would have to.", False),
     ("too few items to say", "60 items would show even a chance-level model with a probability of 0.15.", False),
     ("too few items to say", "cannot show loss: the base itself guesses.", False),
     ("too few items to say", "the range of score is not known, so no loss can be called small.", True)],
)  # fmt: skip
def test_a_lack_of_power_is_told_once_and_of_no_loss_that_was_found(verdict, reason, told):
    one = suite_verdict("capitals", verdict, reason, has_power=False)
    table = verdict_table(sample_run(judgement=judgement().model_copy(update={"suites": (one,)})))
    assert table.rows[0][2].endswith(" Even a chance-level model would not be found out here.") == told


@pytest.mark.parametrize(
    ("base", "learned", "overall", "told"),
    [
        (1.0, "not shown", "kept", "It had nothing to learn, since the base answers the whole task rightly, and kept "),
        (
            1.0,
            "no noticeable change",
            "lost",
            "It had nothing to learn, since the base answers the whole task rightly, but",
        ),
        (1.0, "worse", "lost", "It got worse at the task, and"),
        (0.99, "not shown", "kept", "It is not shown to have learned the task, but"),
    ],
)
def test_a_base_without_a_fault_at_the_task_leaves_nothing_to_learn(base, learned, overall, told):
    score = TaskScore(name="test", metric=ACCURACY, n=100, base=base, tuned=1.0, interval=(0.0, 0.0))
    assert headline(sample_run(judgement=judgement(overall, learned), task=(score,))).startswith(told)


def test_a_reason_keeps_its_name_in_capitals():
    one = judgement().model_copy(update={"reason": "KL is not measured."})
    assert headline(sample_run(judgement=one)).endswith(": KL is not measured.")


def test_without_a_judgement_the_readings_speak():
    assert headline(judged()) == headline_of_readings(judged())
    assert verdict_table(judged()) is None
    assert aa_line(judged()) == ""


def test_each_suite_has_its_verdict_reason_and_numbers():
    table = verdict_table(full_run())
    rows = {row[0]: row for row in table.rows}
    assert rows["capitals"][1:] == (
        "▼ lost", "It lost 5.2 points [1.9, 8.5], more than luck explains.", "−5.2 [−8.5, −1.9]", "2.0 points", "0.036",
        "249", "249", "—",
    )  # fmt: skip
    assert rows["poems"][1] == "? too few items to say"
    assert "Even a chance-level model would not be found out" in rows["poems"][2]
    assert rows["poems"][5:] == ("—", "6", "3", "310")
    assert "at most 5.0% probability" in table.note


def test_kept_is_explained_and_nothing_is_ever_proved():
    result = sample_run(judgement=judgement("kept"))
    for text in (run_markdown(result, items()), run_page(result, items()), model_card(result)):
        plain = re.sub(r"\s+", " ", text)
        assert "shown to have lost less than the margin" in plain
        assert not re.search(r"prove[sdn]* that nothing was lost", plain.replace("does not prove that nothing", ""))
    assert set(VERDICTS) == {verdict for verdict in VERDICTS if verdict.split()[0].capitalize() in MEANING}


def test_a_failed_null_check_is_loud():
    bad = AACheck(items=10, changed=3, score_difference_max=1.0, kl_max_nats=0.4, passed=False)
    one = judgement().model_copy(update={"aa_check": bad})
    told = aa_line(sample_run(judgement=one))
    assert told.startswith("NULL CHECK FAILED, so no verdict here can be trusted")
    assert "10 questions twice, 3 scores changed" in told
    assert aa_line(full_run()).startswith("A/A check passed")


def test_sides_asked_differently_are_a_caution():
    alike = full_run()
    other = alike.conditions["tuned"].model_copy(update={"dtype": "float32"})
    unlike = full_run(conditions={"base": alike.conditions["base"], "tuned": other})
    assert "The two sides were not measured alike: dtype differ." in cautions(unlike)
    assert "Asked alike: no, dtype differ" in run_markdown(unlike, items())
    assert "Asked alike: yes" in run_markdown(alike, items())
    assert not any("measured alike" in caution for caution in cautions(alike))


def test_the_correction_is_said_where_verdicts_are_corrected():
    assert "The verdicts are corrected" in " ".join(cautions(full_run()))
    assert "no correction is made" in " ".join(cautions(judged()))


def test_the_card_has_no_front_matter_and_says_how_to_do_it_again():
    card = model_card(full_run())
    assert card.startswith("## What this fine-tune learned and lost\n")
    assert "---\n" not in card.replace("| --- |", "")
    assert "```\nretain compare demo.yaml --seeds 3\n```" in card
    assert re.search(r"\| kept \| capitals \| accuracy \|.*\| ▼ lost \|", card)
    assert re.search(r"\| kept \| written \| exact match \|.*\| ▼ worse \|", card)
    assert "- base weights e5f6" in card


def test_a_comparison_counts_the_verdicts_of_each_setting():
    verdicts = ("kept", "lost", "kept")
    results = [
        result.model_copy(update={"judgement": judgement(verdicts[result.seed])}) for result in eighteen()
    ]  # fmt: skip
    comparison = compare_runs(named(results))
    assert comparison.headline.endswith("Of 18 runs: 12 kept and 6 lost.")
    assert len(comparison.verdicts.rows) == 6
    for row in comparison.verdicts.rows:
        assert row[1:7] == ("3", "3 of 3", "2", "1", "0", "0")
        assert row[7] == "capitals (3), written (3)"
    some = compare_runs(named([*results[:2], eighteen()[2]]))
    assert some.headline.endswith("Of 2 runs: 1 kept and 1 lost; 1 were not judged.")
    assert compare_runs(named(eighteen())).verdicts is None


def test_a_verdict_on_a_score_that_is_not_there_still_has_its_row():
    one = judgement().model_copy(update={"suites": (suite_verdict("elsewhere", "kept", "Fine."),)})
    result = sample_run(judgement=one)
    assert verdict_table(result).rows[0][3] == "—"
    run_page(result, items())
