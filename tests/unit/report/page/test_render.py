"""Templates escape and clean whatever is printed."""

import pytest
from jinja2 import UndefinedError

from full_samples import full_run
from report_samples import items
from retain.report.page.render import render
from retain.report.page.run_page import run_page


def test_a_template_with_a_missing_value_is_an_error_and_not_a_gap():
    with pytest.raises(UndefinedError):
        render("run.html.jinja")


def test_text_of_a_record_is_escaped():
    record = full_run().model_copy(update={"model": "<script>alert(1)</script>"})
    page = run_page(record, items())
    assert "<script>" not in page
    assert page.lower().startswith("<!doctype html>")
