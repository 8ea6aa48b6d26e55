"""Tables as spreadsheets, databases and pandas write them, and what is wrong with some."""

import pytest

from retain.cli.main import main
from retain.data.forms import read_rows

LINES = [f"word{number} a,x" if number % 2 else f"word{number} b,y" for number in range(60)]


def read(tmp_path, content, name="a.csv"):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    problems = []
    return read_rows(str(path), problems).items, problems


def pairs(items):
    return [(item.text, item.label) for item in items]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("comma.csv", 'text,label\n"a, b",x\n"say ""c""",y\n'),
        ("A.CSV", 'text,label\r\n"a, b",x\r\n"say ""c""",y\r\n'),
        ("semicolon.csv", 'text;label\na, b;x\n"say ""c""";y\n'),
        ("excel.csv", 'sep=;\ntext;label\na, b;x\n"say ""c""";y\n'),
        ("tab.tsv", 'text\tlabel\na, b\tx\n"say ""c"""\ty\n'),
        ("tab.csv", 'text\tlabel\na, b\tx\nsay "c"\ty\n'),
        ("bar.csv", 'text|label\na, b|x\nsay "c"|y\n'),
        ("spaced.csv", 'text, label\n"a, b", x\n"say ""c""", y\n'),
        ("index.csv", ',text,label\n0,"a, b",x\n1,"say ""c""",y\n'),
        ("empty-columns.csv", 'text,label,,\n"a, b",x,,\n"say ""c""",y,,\n,,,\n'),
        ("backslash.csv", 'text,label\n"a, b",x\n"say \\"c\\"",y\n'),
        ("mac.csv", 'text,label\r"a, b",x\r"say ""c""",y\r'),
        ("bom.csv", '\ufefftext,label\n"a, b",x\n"say ""c""",y\n'),
        ("no-suffix", 'text,label\n"a, b",x\n"say ""c""",y\n'),
        ("misnamed.jsonl", 'text,label\n"a, b",x\n"say ""c""",y\n'),
    ],
)
def test_tables_of_any_dialect_are_read_alike(tmp_path, name, content):
    items, problems = read(tmp_path, content, name)
    assert problems == []
    assert pairs(items) == [("a, b", "x"), ('say "c"', "y")]


def test_words_for_nothing_stay_labels(tmp_path):
    labels = ["None", "NA", "null", "nan", "N/A", "1.0", "01"]
    items, problems = read(tmp_path, "text,label\n" + "".join(f"t{n},{label}\n" for n, label in enumerate(labels)))
    assert (problems, [item.label for item in items]) == ([], labels)


def test_a_tab_separated_file_with_bare_quotes_loses_no_row(tmp_path):
    lines = [f"{word} word{n}\tx" for n, word in enumerate(['"Open', "plain", 'close"', '"both"'] * 10)]
    items, problems = read(tmp_path, "text\tlabel\n" + "\n".join(lines), "glue.tsv")
    assert (problems, len(items)) == ([], 40)
    assert items[0].text == '"Open word0'


@pytest.mark.parametrize("first", [0, 20])
@pytest.mark.parametrize("span", [1, 5, 31])
def test_a_stray_quote_swallows_no_row_in_silence(tmp_path, first, span):
    lines = list(LINES)
    lines[first] = '"' + lines[first]
    lines[first + span] = lines[first + span].replace(",", '",')
    items, problems = read(tmp_path, "text,label\n" + "\n".join(lines) + "\n")
    assert len(items) == 60 - span - 1
    assert f"lines {first + 2} to {first + span + 2}" in problems[0]
    assert "quote" in problems[0]


def test_a_quote_that_never_closes_or_closes_too_early_is_told_with_its_line(tmp_path):
    _, problems = read(tmp_path, 'text,label\na,x\n"b,y\nc,x\n')
    assert "line 3: a quote opens there and never closes" in problems[0]
    _, problems = read(tmp_path, 'text,label\na,x\n"b" c,y\n')
    assert "line 3" in problems[0]
    assert "double the quotes" in problems[0]


def test_texts_over_several_lines_are_read_where_they_are_the_way_of_the_table(tmp_path):
    rows = [f'"Dear Ann,\nhow is word{number}",x' for number in range(10)]
    items, problems = read(tmp_path, "text,label\n" + "\n".join(rows))
    assert (problems, len(items)) == ([], 10)
    assert items[3].text == "Dear Ann,\nhow is word3"
    verse = '"A verse\nwithout a comma\nand three lines",x'
    items, problems = read(tmp_path, "text,label\n" + "\n".join([*LINES, verse]))
    assert (problems, len(items)) == ([], 61)


@pytest.mark.parametrize(
    ("content", "line", "told"),
    [
        ("text,label\nhello, world,a\nb,x\n", "line 2", "has 3 fields and the header 2"),
        ("text,label\na,x\nb\n", "line 3", "has 1 of 2 fields"),
        ("text,label,label\na,x,y\n", "line 1", "'label' twice"),
        ("text,label,\na,x,\nb,y,surplus\n", "line 3", "column without a name"),
        ("sep=;\ntext;label\na;x;z\n", "line 3", "a semicolon"),
    ],
)
def test_rows_of_another_shape_are_told_with_line_and_cure(tmp_path, content, line, told):
    _, problems = read(tmp_path, content)
    assert len(problems) == 1
    assert line in problems[0]
    assert told in problems[0]


def test_a_table_without_a_header_is_told(tmp_path):
    _, problems = read(tmp_path, "I love it,1\nI hate it,0\n")
    assert "its rows have I love it, 1" in problems[0]
    assert "first line" in problems[0]


def test_a_field_longer_than_the_csv_modules_limit_is_read(tmp_path):
    items, problems = read(tmp_path, f"text,label\n{'a' * 140_000},x\nb,y\n")
    assert (problems, len(items), len(items[0].text)) == ([], 2, 140_000)


def test_retain_check_counts_every_row_of_a_semicolon_table(tmp_path, capsys):
    from tiny import make_bert, make_text_tokenizer

    make_bert().save_pretrained(tmp_path / "bert")
    make_text_tokenizer().save_pretrained(tmp_path / "bert")
    (tmp_path / "train.csv").write_text("text;label\n" + "".join(f"a, word{n};{n % 2}\n" for n in range(20)))
    (tmp_path / "test.csv").write_text("text;label\n" + "".join(f"b, word{n};{n % 2}\n" for n in range(20)))
    files = ["--train", str(tmp_path / "train.csv"), "--test", str(tmp_path / "test.csv")]
    code = main(
        ["check", "--model", str(tmp_path / "bert"), *files, "--output", str(tmp_path / "o"), "--max-length", "64"]
    )
    told = capsys.readouterr()
    assert code == 0, told.err
    assert "on 20 training examples" in told.out


def test_an_empty_field_in_the_first_row_is_told_with_its_line_and_hides_no_column(tmp_path):
    items, problems = read(tmp_path, "prompt,completion\n,b\na,b\n")
    assert len(items) == 1
    told = '"prompt" missing or empty (found "completion"); give "prompt" and "completion", or "messages".'
    assert problems == [f"{tmp_path / 'a.csv'}, line 2: {told}"]
