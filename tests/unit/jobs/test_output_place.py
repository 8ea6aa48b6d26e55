"""Places that nothing can be written into."""

from retain.jobs.output_place import output_problem


def test_a_file_in_the_place_of_the_output_is_a_problem(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert output_problem(tmp_path / "new" / "run") == []
    assert "is a file" in output_problem(tmp_path / "file" / "run")[0]
