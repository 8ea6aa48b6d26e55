from retain_assets.reference import LONGEST, SHORTEST, documents, sample
from retain_assets.text import clean, runs, shuffled


def text(name, length):
    return " ".join([name] * length)


def test_sentences_come_together_in_the_order_of_their_numbers():
    table = "1_10\t0.1\tlast.\n2_1\t0\tOther.\n1_2\t-1\tSecond.\n1_1\t0.4\tFirst."
    assert documents(table) == ["First. Second. last.", "Other."]


def test_cleaning_makes_plain_characters():
    assert clean(" ''Lovely &amp;amp; Amazing''  is\tit``s “name” ") == '"Lovely & Amazing" is it"s "name"'


def test_clean_text_stays_as_it_is():
    once = clean("It''s “a” &amp; b")
    assert clean(once) == once


def test_a_sample_reaches_its_budget_with_different_documents_of_fair_length():
    texts = [text(f"w{number}", 100) for number in range(20)] * 2 + [
        text("short", SHORTEST - 1),
        text("long", LONGEST + 1),
    ]
    chosen = sample(texts, 950)
    assert len(chosen) == len(set(chosen)) == 10
    assert not {"short", "long"} & {each.split()[0] for each in chosen}


def test_runs_ignore_case_and_signs():
    assert runs("A b, C d!", 3) == {("a", "b", "c"), ("b", "c", "d")}
    assert runs("too short", 3) == set()


def test_the_lottery_keeps_the_order_of_those_who_stay():
    order = shuffled("abcdefgh", 3)
    assert order != sorted(order)
    assert shuffled("abcdegh", 3) == [each for each in order if each != "f"]
