import pytest
from retain_assets.benign import prompts
from retain_assets.brown import paragraphs, pieces, plain
from retain_assets.capitals import Country
from retain_assets.harmful import content_words, labelled_answers, without_near_repeats
from retain_assets.headlines import Article
from retain_assets.retrieval import gloss_pair
from retain_assets.rows import balanced
from retain_assets.topics import Filed, in_drawn_order, split
from retain_assets.valence import snippets
from retain_assets.valence import split as split_snippets
from retain_assets.wordnet import Noun, defined, distinct, first_senses, gloss, nouns
from retain_assets.world import accepted, continent_item, world_item

FRANCE = Country("France", "Paris", "Europe", "Western Europe")
EUROPE = [FRANCE, *(Country(f"E{n}", f"Town {n}", "Europe", "Western Europe") for n in range(4))]


def articles(count):
    return [(Article(f"headline {n}", f"word{n} " * 80), "sport" if n % 2 else "tech") for n in range(count)]


def test_topics_are_balanced_and_the_parts_disjoint():
    train, test = split(in_drawn_order(articles(40)), 8, 4)
    for part, size in ((train, 8), (test, 4)):
        assert [sum(each.topic == topic for each in part) for topic in ("sport", "tech")] == [size, size]
    assert not set(train) & set(test)


def test_a_story_filed_twice_has_one_topic():
    found, _ = articles(1)[0]
    assert in_drawn_order([(found, "tech"), (found, "sport")]) == [Filed(found, "tech")]


def test_too_few_of_a_kind_are_named():
    with pytest.raises(ValueError, match=r"asked for 2 .*'b': 1"):
        balanced(["a", "a", "b"], str, 2)


def test_snippets_near_zero_have_no_label_and_a_text_comes_once():
    table = "1_1\t-0.4\tjust so so\n1_2\t0.5\tvery good film\n2_1\t-2\tVery good, film!\n2_2\t-3\tbad bad bad"
    found = snippets(table, "news")
    assert [(each.text, each.label, each.group) for each in found] == [
        ("very good film", "positive", "news-1"),
        ("bad bad bad", "negative", "news-2"),
    ]


def test_snippets_without_a_document_name_no_group():
    (found,) = snippets("7\t1.5\tquite a good one", "movies")
    assert found.row() == {"text": "quite a good one", "label": "positive", "domain": "movies"}


def test_train_and_test_share_no_review():
    lines = [f"{n // 4}_{n}\t{2 if n % 2 else -2}\tsnippet number {n}" for n in range(80)]
    train, test = split_snippets(snippets("\n".join(lines), "products"), 4, 4)
    assert (len(train), len(test)) == (8, 8)
    assert not {each.group for each in train} & {each.group for each in test}


DATA = (
    "  1 a licence\n"
    '00000001 03 n 01 cord 0 000 | (textiles) a line of twisted threads; "tie it with a cord"; "a long piece of cord"\n'
    "00000002 03 n 01 line 0 000 | a line that is a line\n"
    "00000003 03 n 01 rope 0 000 | a line of twisted threads\n"
    "00000004 03 n 01 zebra 0 000 | a striped African animal\n"
)
INDEX = (
    "  1 a licence\n"
    "cord n 2 2 @ ~ 2 1 00000001 00000002\n"
    "line n 1 0 1 1 00000002\n"
    "rope n 1 1 @ 1 1 00000003\n"
    "zebra n 1 1 @ 1 0 00000004\n"
)


def test_nouns_met_in_text_are_read_in_their_first_sense():
    assert first_senses(INDEX) == {"cord": "00000001", "line": "00000002", "rope": "00000003"}


def test_a_definition_is_parted_from_its_subject_and_examples():
    _, text = gloss(DATA.splitlines()[1])
    assert defined("cord", text) == Noun(
        "cord", "a line of twisted threads", ("tie it with a cord", "a long piece of cord")
    )


def test_a_definition_that_says_its_word_is_left_out():
    assert defined("line", "a line that is a line") is None
    assert defined("short", "too few words") is None


def test_synonyms_come_once(tmp_path):
    folder = tmp_path / "usr" / "share" / "wordnet"
    folder.mkdir(parents=True)
    (folder / "index.noun").write_text(INDEX, encoding="ascii")
    (folder / "data.noun").write_text(DATA, encoding="ascii")
    (found,) = nouns(tmp_path, seed=1)
    assert found.word in {"cord", "rope"}
    assert found.definition == "a line of twisted threads"


def test_nouns_with_a_common_example_come_once():
    one, two = Noun("a", "the first of all", ("Say it.",)), Noun("b", "the second of all", ("say it",))
    assert distinct([one, two]) == [one]


def test_a_pair_needs_a_long_example_with_the_word_and_takes_the_longest():
    assert gloss_pair(Noun("cord", "a line", ("a short cord", "many words but not the one asked for"))) is None
    examples = ("no", "he tied it with a cord", "he tied it with a long cord")
    assert gloss_pair(Noun("cord", "a line", examples)) == {"query": "cord: a line", "match": examples[2]}


def test_tags_and_headings_go_and_signs_stand_as_in_print():
    tagged = "Title/nn-hl ``/`` Stop/vb ''/'' ,/, he/pps said/vbd (/( at/in 1/2/cd past/in )/) ?/.\n?/."
    assert plain(tagged) == '"Stop", he said (at 1/2 past)?'


def test_pieces_are_whole_paragraphs_in_order():
    found = paragraphs("\n\n\tOne/cd two/cd ./.\nThree/cd ./.\n\n\n\tFour/cd\n")
    assert found == ["One two. Three.", "Four"]
    assert pieces(["a b", "c d", "e"], 3) == ["a b c d", "e"]


def test_a_continent_is_asked_with_five_choices_unless_the_name_says_it():
    made = continent_item(FRANCE)
    assert made["choices"][made["answer"]] == "Europe"
    assert sorted(made["choices"]) == ["Africa", "America", "Asia", "Europe", "Oceania"]
    assert continent_item(Country("South Africa", "Pretoria", "Africa", "")) is None
    assert continent_item(Country("Turkey", "Ankara", "Asia", "")) is None


def test_a_world_question_can_be_answered_freely_and_by_choice():
    made = world_item(FRANCE, EUROPE)
    assert made["question"] == "Question: What is the capital of France?\nAnswer:"
    assert made["choices"][made["answer"]] == made["answers"][0] == "Paris"
    assert made["group"] == "France"


@pytest.mark.parametrize(
    ("capital", "answers"),
    [("Lima", ["Lima"]), ("Malé", ["Malé", "Male"]), ("Washington D.C.", ["Washington D.C.", "Washington"])],
)
def test_other_ways_to_write_a_capital_are_accepted(capital, answers):
    assert accepted(capital) == answers


def test_near_repeats_go_by_what_is_asked_for():
    kept = without_near_repeats(
        ["Write a guide on red kites", "Give a tutorial for red kites", "How do I fly a blue kite?"],
        before=["fly a blue kite"],
    )
    assert kept == ["Write a guide on red kites"]
    assert content_words("what is it") == {"what", "is", "it"}


def test_judged_answers_are_read_over_several_lines():
    table = '# version=1\nobjective,assistant_response,human_score,data_type\nAsk,"No,\nsorry",1,text\nAsk,Yes,0,text\n'
    assert labelled_answers(table) == [
        {"prompt": "Ask", "answer": "No,\nsorry", "refused": True},
        {"prompt": "Ask", "answer": "Yes", "refused": False},
    ]


def test_harmless_requests_are_all_different():
    found = prompts()
    assert len(set(found)) == len(found) >= 140
    assert all("{" not in prompt for prompt in found)
