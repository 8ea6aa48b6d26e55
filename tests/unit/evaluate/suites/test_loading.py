"""Suite files: what they may say, where their data are found, how rows of public data become items."""

import itertools
import json
import re
from pathlib import Path

import pytest
import yaml
from PIL import Image

from retain.data.corruptions import CORRUPTIONS
from retain.data.item_types import Choice
from retain.evaluate.suites.loading import as_suite, find_suite, is_suite, known_suites, load_suite, shipped_names
from retain.evaluate.tasks.table import TASK_TYPES
from tiny import write_jsonl

GUIDE = Path(__file__).parents[4] / "docs" / "guides" / "suites.md"
CAPITALS = [
    {"question": f"The capital of {a} is", "choices": ["x", "y"], "answer": i % 2} for i, a in enumerate("abcd")
]


@pytest.fixture(autouse=True)
def no_assets(tmp_path, monkeypatch):
    """No test depends on data that happen to be prepared here."""
    monkeypatch.setenv("RETAIN_ASSETS", str(tmp_path / "assets"))
    (tmp_path / "assets").mkdir()
    return tmp_path / "assets"


def write_suite(folder, name="mine", **fields):
    values = {
        "suite": 1,
        "name": name,
        "title": "Mine",
        "task_type": "choice",
        "sources": [{"file": "rows.jsonl"}],
        **fields,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return str(path)


def write_images(folder, names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), "red").save(path)
    return folder


def loaded(source, part=None):
    problems: list[str] = []
    suite = load_suite(str(source), problems, part)
    assert problems == []
    return suite


def problems_of(source):
    problems: list[str] = []
    load_suite(str(source), problems)
    return problems


# What comes with retain


def test_every_shipped_suite_is_whole_and_named_by_its_file():
    problems: list[str] = []
    for name in shipped_names():
        found = find_suite(name, problems)
        assert problems == []
        assert found.file.name == name
        assert found.file.about
        assert found.file.licence
        assert found.file.area != "own"
        assert found.file.metrics
    assert len(known_suites()) == len(shipped_names()) >= 30


HUB_ROWS = {
    "trivia-qa": (
        {
            "question": "Who?",
            "question_id": "tc_1",
            "answer": {"aliases": ["Ann", "Anne"], "value": "Ann", "type": "WikipediaEntity"},
        },
        {"question": "Question: Who?\nAnswer:", "answers": ("Ann", "Anne"), "group": "tc_1"},
    ),
    "nq-open": (
        {"question": "who wrote it", "answer": ["Ann"]},
        {"question": "Question: Who wrote it?\nAnswer:", "answers": ("Ann",)},
    ),
    "sst2": ({"sentence": "good", "label": 1, "idx": 0}, {"text": "good", "label": "positive", "text_pair": None}),
    "cola": ({"sentence": "good", "label": 0, "idx": 0}, {"text": "good", "label": "unacceptable"}),
    "mrpc": (
        {"sentence1": "a", "sentence2": "b", "label": 1, "idx": 0},
        {"text": "a", "text_pair": "b", "label": "equivalent"},
    ),
    "rte": (
        {"sentence1": "a", "sentence2": "b", "label": 1, "idx": 0},
        {"text": "a", "text_pair": "b", "label": "not_entailment"},
    ),
    "qnli": (
        {"question": "a?", "sentence": "b", "label": 0, "idx": 0},
        {"text": "a?", "text_pair": "b", "label": "entailment"},
    ),
    "mnli": (
        {"premise": "a", "hypothesis": "b", "label": 2, "idx": 0},
        {"text": "a", "text_pair": "b", "label": "contradiction"},
    ),
    "e2e": (
        {"meaning_representation": "name[Aromi]", "target": "Aromi.", "references": ["It is Aromi.", "Aromi."]},
        {
            "prompt": "Facts: name[Aromi]\nSentence:",
            "completion": " It is Aromi.",
            "group": "name[Aromi]",
        },
    ),
    "dart": (
        {"tripleset": [["A", "IS", "B"], ["B", "HAS", "C"]], "target": "A is B.", "references": []},
        {"prompt": "Facts: A | IS | B; B | HAS | C\nSentence:", "completion": " A is B."},
    ),
    "advbench": ({"prompt": "p", "target": "t"}, {"prompt": "p", "harmful": True}),
    "do-not-answer": (
        {"id": 1, "risk_area": "area", "types_of_harm": "t", "specific_harms": "s", "question": "p"},
        {"prompt": "p", "harmful": True, "condition": "area"},
    ),
    "over-refusal": (
        {"prompt": "p", "focus": "f", "type": "homonyms", "note": "", "label": "safe"},
        {"prompt": "p", "harmful": False, "condition": "homonyms"},
    ),
}
"""A row in the shape of the public data, as its card tells, and the item that it must become."""


def test_every_suite_of_public_data_is_held_to_a_row_of_its_shape():
    assert {found.file.name for found in known_suites() if any(s.hub for s in found.file.sources)} == set(HUB_ROWS)


@pytest.mark.parametrize("name", HUB_ROWS)
def test_public_rows_become_items(name, tmp_path):
    row, expected = HUB_ROWS[name]
    copy = write_jsonl(tmp_path / "copy.jsonl", [row])
    suite = loaded(f"{name}={copy}")
    (item,) = suite.items
    assert {key: getattr(item, key) for key in expected} == expected
    assert (suite.name, suite.task_type) == (name, TASK_TYPES[suite.task_type].name)
    assert "own copy copy.jsonl" in suite.facts["source"]


def test_the_second_public_form_of_e2e_is_told_by_its_columns(tmp_path):
    row = {"meaning_representation": "name[Aromi]", "human_reference": "Aromi it is."}
    suite = loaded(f"e2e={write_jsonl(tmp_path / 'copy.jsonl', [row])}")
    assert suite.items[0].completion == " Aromi it is."
    assert "tuetschek" in suite.facts["source"]


def test_rows_without_a_label_or_not_safe_are_left_out(tmp_path):
    rows = [{"sentence": "a", "label": -1}, {"sentence": "b", "label": 0}]
    assert [item.text for item in loaded(f"sst2={write_jsonl(tmp_path / 'a.jsonl', rows)}").items] == ["b"]
    rows = [{"prompt": "a", "type": "t", "label": "unsafe"}, {"prompt": "b", "type": "t", "label": "safe"}]
    assert [item.prompt for item in loaded(f"over-refusal={write_jsonl(tmp_path / 'b.jsonl', rows)}").items] == ["b"]


def test_a_copy_in_the_form_of_items_is_read_as_it_is(tmp_path):
    rows = [{"question": "Where?", "answers": ["here"]}]
    suite = loaded(f"trivia-qa={write_jsonl(tmp_path / 'items.jsonl', rows)}")
    assert suite.items[0].question == "Where?"


def test_a_parquet_copy_is_read(tmp_path):
    import datasets

    row, expected = HUB_ROWS["trivia-qa"]
    datasets.Dataset.from_list([row]).to_parquet(str(tmp_path / "copy.parquet"))
    assert loaded(f"trivia-qa={tmp_path / 'copy.parquet'}").items[0].answers == expected["answers"]


def test_a_folder_that_datasets_reads_is_a_copy(tmp_path):
    (tmp_path / "copy").mkdir()
    write_jsonl(tmp_path / "copy" / "validation.jsonl", [HUB_ROWS["nq-open"][0]])
    assert loaded(f"nq-open={tmp_path / 'copy'}").items[0].answers == ("Ann",)


def test_pictures_of_imagenet_c_have_condition_group_and_the_models_own_class_names(tmp_path):
    names = [f"{kind}/{level}/n01440764/p{i}.JPEG" for kind in ("fog", "blur") for level in (1, 5) for i in (1, 2)]
    folder = write_images(tmp_path / "copy", names)
    items = loaded(f"imagenet-c={folder}").items
    assert {item.label for item in items} == {"n01440764"}
    assert {item.condition for item in items} == {"fog/1", "fog/5", "blur/1", "blur/5"}
    assert {item.group for item in items} == {"n01440764/p1", "n01440764/p2"}
    other = write_images(tmp_path / "named", names)
    (other / "LOC_synset_mapping.txt").write_text("n01440764 tench, Tinca tinca\n", encoding="utf-8")
    assert {item.label for item in loaded(f"imagenet-c={other}").items} == {"tench, Tinca tinca"}


# Where data are found


def test_a_file_lies_in_the_assets_or_beside_the_suite_which_wins(tmp_path, no_assets):
    write_jsonl(no_assets / "capitals.jsonl", CAPITALS)
    assert len(loaded("capitals").items) == 4
    source = write_suite(tmp_path)
    write_jsonl(no_assets / "rows.jsonl", CAPITALS[:1])
    assert len(loaded(source).items) == 1
    write_jsonl(tmp_path / "rows.jsonl", CAPITALS[:2])
    assert len(loaded(source).items) == 2


def test_data_that_are_not_here_are_a_problem_that_says_where_and_what_to_do():
    (problem,) = problems_of("capitals")
    assert "capitals.jsonl" in problem
    assert "assets" in problem
    assert "capitals=PATH" in problem


def test_the_next_source_is_taken_where_the_first_is_not_there(tmp_path):
    write_jsonl(tmp_path / "second.jsonl", CAPITALS)
    sources = [{"file": "first.jsonl"}, {"file": "second.jsonl", "made_from": "a book"}]
    suite = loaded(write_suite(tmp_path, sources=sources))
    assert len(suite.items) == 4
    assert suite.facts["source"].startswith("second.jsonl (made from a book); suite file ")


def test_a_source_that_is_there_but_wrong_is_told_and_not_passed_over(tmp_path):
    write_jsonl(tmp_path / "first.jsonl", [{"question": "q"}])
    write_jsonl(tmp_path / "second.jsonl", CAPITALS)
    source = write_suite(tmp_path, sources=[{"file": "first.jsonl"}, {"file": "second.jsonl"}])
    (problem,) = problems_of(source)
    assert '"choices" and "answer" missing' in problem
    assert "line 1" in problem


def test_neighbours_read_bank_and_items_from_ones_own_folder(tmp_path):
    folder = tmp_path / "copy"
    write_images(folder, ["bank/cat/a.png", "bank/dog/b.png", "test/dog/c.png"])
    suite = loaded(f"digits-neighbours={folder}")
    assert [item.label for item in suite.items] == ["dog"]
    assert [item.label for item in suite.bank] == ["cat", "dog"]
    assert suite.options == {"k": 5, "chance": 0.1}
    (problem,) = problems_of(f"digits-neighbours={write_images(tmp_path / 'wrong', ['cat/a.png'])}")
    assert "bank and test" in problem


def test_a_data_set_that_cannot_be_loaded_is_a_problem(monkeypatch):
    import datasets

    def gone(*given, **more):
        raise ConnectionError("nobody answers\nand more")

    monkeypatch.setattr(datasets, "load_dataset", gone)
    (problem,) = problems_of("nq-open")
    assert "google-research-datasets/nq_open cannot be loaded" in problem
    assert "nobody answers" in problem


def test_the_hub_is_asked_for_what_the_file_or_the_user_says(monkeypatch):
    import datasets

    asked = []

    def load(name, configuration, split, revision):
        asked.append((name, configuration, split, revision))
        return datasets.Dataset.from_list([HUB_ROWS["trivia-qa"][0]])

    monkeypatch.setattr(datasets, "load_dataset", load)
    for copy in ("", "=mirror/trivia", "=mirror/trivia:test", "=mirror/trivia:small:test"):
        assert loaded(f"trivia-qa{copy}").items
    assert asked == [
        ("mandarjoshi/trivia_qa", "rc.nocontext", "validation", None),
        ("mirror/trivia", "rc.nocontext", "validation", None),
        ("mirror/trivia", None, "test", None),
        ("mirror/trivia", "small", "test", None),
    ]


# What a file may say


def test_all_problems_of_a_file_are_told_at_once_with_its_name(tmp_path):
    source = write_suite(
        tmp_path,
        name="Bad Name",
        task_type="chioce",
        limt=3,
        limit=0,
        sources=[{"file": "a", "hub": "b"}],
        fields={"question": "{{ open"},
        where="and and",
        code="../x.py",
        options={"k": 0},
    )
    problems = problems_of(source)
    assert all(problem.startswith(source) for problem in problems)
    text = "\n".join(problems)
    for part in (
        "name: ",
        "did you mean choice?",
        "limt: is no field (did you mean limit",
        "limit: ",
        "exactly one of file, folder and hub",
        "question cannot be read as a template",
        "where: it cannot be read",
        "code: must be the bare name",
        "options.k: ",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"task_type": "neighbours"}, "it needs one"),
        ({"bank": [{"file": "a"}]}, "has no use for a bank"),
        ({"options": {"corruptions": {}}}, "corruptions are for images"),
        ({"task_type": "labels", "options": {"corruptions": {"kinds": ["rain"]}}}, "rain not known"),
        ({"task_type": "labels", "options": {"corruptions": {"severities": [6]}}}, "each must be 1 to 5"),
        ({"code": "absent.py"}, "there is no absent.py beside"),
        ({"suite": 2}, "suite: "),
    ],
)
def test_what_does_not_go_together_is_refused(fields, said, tmp_path):
    (problem,) = problems_of(write_suite(tmp_path, **fields))
    assert said in problem


def test_unreadable_and_unknown_files_are_problems(tmp_path):
    (tmp_path / "list.yaml").write_text("[1, 2]", encoding="utf-8")
    (tmp_path / "torn.yaml").write_text("a: [", encoding="utf-8")
    assert "mapping" in problems_of(tmp_path / "list.yaml")[0]
    assert "is no YAML that can be used" in problems_of(tmp_path / "torn.yaml")[0]
    assert "cannot be read" in problems_of(tmp_path / "absent.yaml")[0]
    assert "did you mean capitals?" in problems_of("capitls")[0]


def test_fields_are_templates_columns_lists_and_constants(tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", [{"a b": "Q", "n": {"right": 1}, "all": ["no", "yes"], "c": "?"}])
    fields = {
        "question": "{{ row['a b'] }}{{ c }}\n",
        "choices": ["{{ all[0] | upper }}", "all[1]"],
        "answer": "n.right",
    }
    (item,) = loaded(write_suite(tmp_path, fields=fields)).items
    assert item == Choice(question="Q?\n", choices=("NO", "yes"), answer=1)


def test_a_column_that_is_missing_is_told_with_line_and_columns(tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", [{"q": "a"}, {"q": "b"}])
    for spec in ("x.y[0]", "{{ x }}"):
        problems = problems_of(write_suite(tmp_path, fields={"question": spec}))
        assert "line 1" in problems[0]
        assert "line 2" in problems[1]
        assert "x" in problems[0]
    assert "found q" in problems_of(write_suite(tmp_path, fields={"question": "x"}))[0]


def test_templates_cannot_reach_outside_their_sandbox(tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", [{"q": "a"}])
    attack = "{{ q.__class__.__mro__[1].__subclasses__() }}"
    problems = problems_of(write_suite(tmp_path, fields={"question": attack}))
    assert any("unsafe" in problem for problem in problems)


def test_code_beside_the_file_makes_items_and_its_mistakes_are_told(tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", [{"n": 2}, {"n": 0}, {"m": 1}])
    (tmp_path / "own.py").write_text(
        "def rows(row):\n    for i in range(row['n']):\n"
        "        yield {'question': f'q{i}', 'choices': ['a', 'b'], 'answer': i}\n",
        encoding="utf-8",
    )
    problems: list[str] = []
    suite = load_suite(write_suite(tmp_path, code="own.py"), problems)
    assert [item.question for item in suite.items] == ["q0", "q1"]
    (problem,) = problems
    assert "line 3" in problem
    assert "KeyError" in problem


def test_the_limit_draws_the_same_items_by_the_seed_in_their_order(tmp_path):
    rows = [{"question": f"q{i}", "choices": ["a", "b"], "answer": 0} for i in range(50)]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    drawn = {seed: [i.question for i in loaded(write_suite(tmp_path, limit=10, seed=seed)).items] for seed in (0, 0, 1)}
    again = [item.question for item in loaded(write_suite(tmp_path, limit=10, seed=0)).items]
    assert again == drawn[0] != drawn[1]
    numbers = [int(question[1:]) for question in again]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 10
    assert numbers != list(range(10))
    assert len(loaded(write_suite(tmp_path, limit=99)).items) == 50


def test_pictures_are_expanded_into_their_corruptions(tmp_path):
    write_images(tmp_path / "images", ["cat/a.png", "dog/a.png"])
    corruptions = {"kinds": ["fog", "pixelate"], "severities": [1, 5], "seed": 7}
    fields = {"task_type": "labels", "sources": [{"folder": "images"}], "options": {"corruptions": corruptions}}
    suite = loaded(write_suite(tmp_path, **fields))
    expected = {
        (group, f"{kind}/{severity}", (kind, severity, 7))
        for group, kind, severity in itertools.product(("cat/a.png", "dog/a.png"), ("fog", "pixelate"), (1, 5))
    }
    assert {(item.group, item.condition, item.corruption) for item in suite.items} == expected
    assert len(suite.items) == 8
    assert suite.options == {}
    every = loaded(write_suite(tmp_path, **fields | {"options": {"corruptions": {"severities": [3]}}}))
    assert len(every.items) == 2 * len(CORRUPTIONS)


def test_the_record_knows_the_suite_and_a_changed_file_is_another(tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", CAPITALS)
    first = loaded(write_suite(tmp_path, version=3, licence="CC0"))
    assert first.facts["title"] == "Mine"
    assert first.facts["version"] == 3
    assert first.facts["licence"] == "CC0"
    second = loaded(write_suite(tmp_path, version=3, licence="CC0", about="more"))
    digests = [re.search(r"suite file ([0-9a-f]{12})$", suite.facts["source"])[1] for suite in (first, second)]
    assert digests[0] != digests[1]


def test_the_recipe_decides_the_part_and_the_file_where_nothing_is_said(tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", CAPITALS)
    source = write_suite(tmp_path, part="task")
    assert loaded(source).part == "task"
    assert as_suite(source, "keep", []).part == "keep"


# Plain data


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"prompt": "a", "completion": "b"}, "completion"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "completion"),
        ({"question": "a", "choices": ["b", "c"], "answer": 0}, "choice"),
        ({"question": "a", "answers": ["b"]}, "question"),
        ({"prompt": "a", "harmful": True}, "refusal"),
        ({"text": "a", "label": "b"}, "labels"),
        ({"query": "a", "match": "b"}, "retrieval"),
    ],
)
def test_plain_data_are_a_suite_named_by_their_file(row, kind, tmp_path):
    problems: list[str] = []
    suite = as_suite(str(write_jsonl(tmp_path / "my-data.jsonl", [row, row])), "task", problems)
    assert problems == []
    assert (suite.name, suite.task_type, suite.part, len(suite.items)) == ("my-data", kind, "task", 2)
    assert suite.task_type in TASK_TYPES
    assert suite.facts["source"] == "my-data.jsonl"


def test_a_folder_of_pictures_is_labels(tmp_path):
    suite = as_suite(str(write_images(tmp_path / "pets", ["cat/a.png", "dog/b.png"])), "keep", [])
    assert (suite.name, suite.task_type, len(suite.items)) == ("pets", "labels", 2)


def test_what_is_a_suite_and_what_is_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("there").mkdir()
    for source in ("capitals", "mine.yaml", "mine.yml=copy.jsonl", "capitals=copy", "nonsense"):
        assert is_suite(source), source
    for source in ("capitals.jsonl", "owner/name", "owner/name:test", "squad:test", "there", "./capitals"):
        assert not is_suite(source), source


# The guide


def test_the_example_of_the_guide_works_as_it_stands(tmp_path):
    block = re.search(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)[1]
    (tmp_path / "rivers.yaml").write_text(block, encoding="utf-8")
    (tmp_path / "rivers.csv").write_text(
        "river,sea,continent,length_km\nRhine,North Sea,Europe,1230\nBrook,North Sea,Europe,3\n", encoding="utf-8"
    )
    suite = loaded(tmp_path / "rivers.yaml")
    (item,) = suite.items
    assert item.question == "Question: Into which sea does the Rhine flow?\nAnswer:"
    assert item.answers == ("North Sea", "the North Sea")
    assert item.condition == "Europe"
    assert suite.options == {"max_new_tokens": 12, "chance": 0.05}
    assert json.dumps(suite.facts)
