"""The chat template and its arguments as a recipe has them."""

import pytest
from pydantic import ValidationError

from retain.recipe.template_options import TemplateOptions


def test_a_file_is_its_content_and_content_is_taken_as_it_is(tmp_path):
    file = tmp_path / "a.jinja"
    file.write_text("\ufeff{{ messages }}", encoding="utf-8")
    assert TemplateOptions(template=str(file)).template == "{{ messages }}"
    assert TemplateOptions(template="{{ messages }}").template == "{{ messages }}"


def test_arguments_are_json_or_text():
    given = ("a=false", "b=False", "c=3", "d=high", 'e="x y"', "f=", "g=a=b", "h=[1]")
    values = {"a": False, "b": False, "c": 3, "d": "high", "e": "x y", "f": "", "g": "a=b", "h": [1]}
    assert TemplateOptions(template_arguments=given).template_values == values
    assert TemplateOptions(template_arguments={"a": False, "d": "ü"}).template_values == {"a": False, "d": "ü"}
    assert TemplateOptions(template_arguments="a=1").template_values == {"a": 1}


@pytest.mark.parametrize(
    "given", [{"template": "none"}, {"template_arguments": ["a"]}, {"template_arguments": ["1a=2"]}]
)
def test_what_cannot_be_read_is_refused(given):
    with pytest.raises(ValidationError):
        TemplateOptions(**given)


def test_bytes_and_plain_text_are_no_template(tmp_path):
    for content in (b"\xff\xfe\x00", b"hello"):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(ValidationError, match="no UTF-8 text|no chat template"):
            TemplateOptions(template=str(tmp_path / "a"))
