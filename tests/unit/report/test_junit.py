"""JUnit XML of verdicts: what fails, what passes, and the shape that Jenkins and others read."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from full_samples import full_run
from retain.errors import InputError
from retain.jobs.junit_file import junit_problem, write_junit
from retain.records.result import Result
from retain.records.verdicts import Judgement
from retain.report.junit import junit_xml

SHAPE = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "group", "time", "skipped", "timestamp", "hostname", "id", "package"},
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), {"property"}),
    "property": ({"name", "value"}, set()),
    "testcase": ({"name", "time", "classname", "group"}, {"skipped", "error", "failure", "system-out", "system-err"}),
    "failure": ({"type", "message"}, set()),
    "skipped": ({"type", "message"}, set()),
    "system-out": (set(), set()),
}
"""Attributes and elements of each element, as junit-10.xsd of Jenkins' xUnit plugin allows them."""


def read(results):
    root = ET.fromstring(junit_xml(results))  # noqa: S314  (made right here)
    for element in root.iter():
        attributes, inner = SHAPE[element.tag]
        assert set(element.attrib) <= attributes
        assert {child.tag for child in element} <= inner
    for suite in root.iter("testsuite"):
        tests = list(suite.iter("testcase"))
        assert int(suite.get("tests")) == len(tests)
        assert int(suite.get("failures")) == len(list(suite.iter("failure")))
        assert int(suite.get("skipped")) == len(list(suite.iter("skipped")))
    assert int(root.get("tests")) == len(list(root.iter("testcase")))
    return root


def with_verdict(verdict, **changed):
    """A run whose first suite has a verdict, and no other."""
    run = full_run()
    suite = run.judgement.suites[0].model_copy(update={"verdict": verdict, **changed})
    judged = run.judgement.model_copy(update={"suites": (suite,), "overall": verdict})
    return run.model_copy(update={"judgement": judged})


@pytest.mark.parametrize(
    ("verdict", "kind"),
    [
        ("kept", None),
        ("lost", "lost"),
        ("changed format", "changed format"),
        ("too few items to say", "not shown to be non-inferior"),
    ],
)
def test_a_suite_fails_unless_it_was_kept(verdict, kind):
    root = read({"mine": with_verdict(verdict)})
    assert [failure.get("type") for failure in root.iter("failure")] == ([] if kind is None else [kind])
    (test,) = root.iter("testcase")
    assert test.get("classname") == "retain.mine"
    assert test.find("system-out").text.startswith(f"{verdict}: ")


def test_a_suite_on_which_the_base_guesses_is_skipped_and_the_verdict_fails_by_itself():
    root = read({"mine": with_verdict("too few items to say", base_guesses=True)})
    assert [test.get("name") for test in root.iter("testcase")][-1] == "verdict"
    assert len(list(root.iter("skipped"))) == 1
    assert [failure.get("type") for failure in root.iter("failure")] == ["not shown to be non-inferior"]


def test_figures_are_properties_in_the_metrics_own_unit():
    run = full_run()
    root = read({"mine": run, "other": run})
    assert [suite.get("name") for suite in root] == ["mine", "other"]
    figures = {one.get("name"): one.get("value") for one in root[0].iter("property")}
    judged = run.judgement.suites[0]
    assert float(figures[f"{judged.suite}.margin"]) == pytest.approx(judged.margin)
    assert figures["verdict"] == run.judgement.overall
    score = run.task[0]
    assert float(figures[f"task.{score.name}.{score.metric.name}.tuned"]) == pytest.approx(score.tuned, rel=1e-5)


def test_names_that_xml_cannot_hold_are_held(tmp_path):
    run = with_verdict("lost", suite='<a & "b">\x00\x1b\ud800', reason="↔ \ufffe")
    root = read({"<&>\x07": run})
    assert root[0].get("name") == "<&>\ufffd"
    assert '<a & "b">' in next(root.iter("testcase")).get("name")
    write_junit(str(tmp_path / "deep" / "verdict.xml"), {"m": run})
    write_junit(str(tmp_path / "deep" / "verdict.xml"), {"m": run})


def test_a_run_without_suites_or_without_a_verdict():
    nothing = full_run().model_copy(update={"judgement": None})
    assert list(read({"m": nothing}).iter("testcase")) == []
    judged = Judgement(overall="too few items to say", reason="There is no suite.", learned="not measured")
    assert [
        one.get("name") for one in read({"m": nothing.model_copy(update={"judgement": judged})}).iter("testcase")
    ] == ["verdict"]
    assert isinstance(nothing, Result)


def test_what_is_no_such_file_is_not_overwritten(tmp_path):
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    assert junit_problem(None) == []
    for place in ("", " ", str(tmp_path), str(tmp_path / "notes.txt"), "a\0b"):
        assert len(junit_problem(place)) == 1
        with pytest.raises(InputError):
            write_junit(place, {})
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"
