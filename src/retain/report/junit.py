"""The verdict as JUnit XML, which CI systems read: a test for each retention suite, the figures as properties.

A suite that is kept passes. One that is lost or changed its format fails, and so does one of which neither a loss nor
its absence is shown: a gate lets neither pass. A suite on which the base itself guesses had nothing to lose, and is
skipped. The shape is that of Jenkins (junit-10.xsd), which has properties of a test suite and none of a test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from xml.etree import ElementTree as ET

from retain.records.gone_record import GoneVerdict
from retain.records.metric import Metric
from retain.records.result import Result
from retain.records.verdicts import Judgement, SuiteVerdict
from retain.report.verdict_words import deciding_score, headline

FAILURES = {
    "lost": "lost",
    "changed format": "changed format",
    "too few items to say": "not shown to be non-inferior",
}

GONE_FAILURES = {
    "still there": "still there",
    "only refused": "only refused",
    "too few items to say": "not shown to be gone",
}
"""The kind of failure of each verdict that is one."""

_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(results: Mapping[str, Result]) -> str:
    """The verdicts of some runs.

    Args:
        results: each run's record by the name of the run; records without a verdict have no tests.
    """
    root = ET.Element("testsuites", name="retain")
    for name, result in results.items():
        root.append(_run(name, result))
    for total in ("tests", "failures", "errors"):
        root.set(total, str(sum(int(suite.get(total, "0")) for suite in root)))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _run(name: str, result: Result) -> ET.Element:
    """One run: its properties, then a test for each suite; one for the verdict where it judges none."""
    judged = result.judgement
    tests = [] if judged is None else [_test(name, verdict, result) for verdict in judged.suites]
    asked = judged is not None and bool(judged.suites or not judged.gone)
    if judged is not None and asked and not any(_fails(test) for test in tests) and judged.overall != "kept":
        tests.append(_whole(name, judged))
    tests += [] if judged is None else [_gone_test(name, verdict) for verdict in judged.gone]
    run = ET.Element("testsuite", name=_text(name), tests=str(len(tests)))
    run.set("failures", str(sum(_fails(test) for test in tests)))
    run.set("errors", "0")
    run.set("skipped", str(sum(test.find("skipped") is not None for test in tests)))
    run.set("time", "0")
    run.set("timestamp", result.provenance.created.partition("+")[0])
    properties = ET.SubElement(run, "properties")
    for key, value in _figures(result):
        ET.SubElement(properties, "property", name=_text(key), value=_text(value))
    run.extend(tests)
    return run


def _fails(test: ET.Element) -> bool:
    return test.find("failure") is not None


def _test(name: str, verdict: SuiteVerdict, result: Result) -> ET.Element:
    test = ET.Element("testcase", name=_text(verdict.suite), classname=_text(f"retain.{name}"), time="0")
    score = deciding_score(result.keep, verdict)
    told = f"{verdict.verdict}: {verdict.reason}"
    if verdict.base_guesses:
        ET.SubElement(test, "skipped", message=_text(verdict.reason))
    elif kind := FAILURES.get(verdict.verdict):
        ET.SubElement(test, "failure", type=kind, message=_text(told)).text = _text(told)
    figures = [f"{key} {value}" for key, value in _of_suite(verdict, result)] if score is not None else []
    ET.SubElement(test, "system-out").text = _text("\n".join([told, *figures]))
    return test


def _gone_test(name: str, verdict: GoneVerdict) -> ET.Element:
    """A suite of what should be gone passes where that is shown; one that the base did not know is skipped."""
    test = ET.Element("testcase", name=_text(f"{verdict.suite} is gone"), classname=_text(f"retain.{name}"), time="0")
    told = f"{verdict.verdict}: {verdict.reason}"
    if verdict.base_guesses:
        ET.SubElement(test, "skipped", message=_text(verdict.reason))
    elif kind := GONE_FAILURES.get(verdict.verdict):
        ET.SubElement(test, "failure", type=kind, message=_text(told)).text = _text(told)
    given = {"share": verdict.share, "bound": verdict.bound, "margin": verdict.margin, "p_adjusted": verdict.p_adjusted}
    figures = [f"{key} {value:.6g}" for key, value in given.items() if value is not None]
    ET.SubElement(test, "system-out").text = _text("\n".join([told, *figures]))
    return test


def _whole(name: str, judged: Judgement) -> ET.Element:
    """The verdict itself as a test, where no suite's says why it is none that passes."""
    test = ET.Element("testcase", name="verdict", classname=_text(f"retain.{name}"), time="0")
    kind = FAILURES.get(judged.overall, judged.overall)
    ET.SubElement(test, "failure", type=kind, message=_text(judged.reason)).text = _text(judged.reason)
    return test


def _figures(result: Result) -> Iterator[tuple[str, str]]:
    """The figures of a run by name, in the metric's own unit."""
    judged = result.judgement
    yield "model", result.model
    yield "tuned", result.method.name
    if judged is not None:
        yield "verdict", judged.overall
        yield "reason", judged.reason
        yield "learned", judged.learned
        yield "headline", headline(result)
        yield from (("gone", word) for word in (judged.forgot,) if word is not None)
    for score in result.task:
        name = f"task.{score.name}.{score.metric.name}"
        yield f"{name}.n", str(score.n)
        yield from _numbers(name, score.metric, base=score.base, tuned=score.tuned)
        yield f"{name}.interval", f"{score.interval[0]:.6g} {score.interval[1]:.6g}"
    for verdict in () if judged is None else judged.suites:
        yield from ((f"{verdict.suite}.{key}", value) for key, value in _of_suite(verdict, result))
    for number, note in enumerate(result.provenance.notes, start=1):
        yield f"note.{number}", note


def _of_suite(verdict: SuiteVerdict, result: Result) -> Iterator[tuple[str, str]]:
    score = deciding_score(result.keep, verdict)
    yield "verdict", verdict.verdict
    yield "metric", verdict.decided_by.name
    yield "n", str(verdict.n)
    yield "units", str(verdict.units)
    yield "margin", f"{verdict.margin:.6g}"
    yield "has_power", str(verdict.has_power).lower()
    if score is not None and score.base is not None and score.tuned is not None:
        yield from _numbers("", score.metric, base=score.base, tuned=score.tuned)
    if score is not None and score.interval is not None:
        yield "interval", f"{score.interval[0]:.6g} {score.interval[1]:.6g}"
    given = {"p_value": verdict.p_value, "p_adjusted": verdict.p_adjusted, "items_needed": verdict.items_needed}
    yield from ((key, f"{value:.6g}") for key, value in given.items() if value is not None)


def _numbers(name: str, metric: Metric, **values: float) -> Iterator[tuple[str, str]]:
    before = f"{name}." if name else ""
    values["change"] = values["tuned"] - values["base"]
    yield from ((f"{before}{key}", f"{value:.6g}") for key, value in values.items())
    yield f"{before}unit", str(metric.model_dump()["unit"])


def _text(text: str) -> str:
    """A text that XML can hold."""
    return _NOT_IN_XML.sub("\ufffd", text)
