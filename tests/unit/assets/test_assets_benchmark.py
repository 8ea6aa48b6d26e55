"""The benchmark's data: parts share nothing, tickets can be told from their messages, facts are not given away."""

import re

import pytest
from retain_assets import facts, kinds, tickets, wordnet
from retain_assets.capitals import Country
from retain_assets.headlines import Article
from retain_assets.news import parts
from retain_assets.topics import Filed

THINGS = [f"thing{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
COUNTRIES = [Country(f"Land{number}", f"City{number}", "Africa", "North") for number in range(8)]
CODES = {"Land0": "AAA", "Land1": "AAA", "Land2": "BBB", "Land3": "BBB", "Land4": "CCC"}


@pytest.mark.parametrize("thing", THINGS)
def test_a_ticket_says_what_its_message_says(thing):
    message, answer = (turn["content"] for turn in tickets.ticket(thing, shifted=False)["messages"])
    number, kind, named, haste = re.fullmatch(r"#(\d{4}) \| ([A-Z]+) \| (\w+) \| (\w+)", answer).groups()
    assert f"Order {number}: " in message
    assert named == thing
    assert any(wording.format(thing) in message for wording in tickets.MESSAGES[kind])
    assert any(closing and message.endswith(closing) for closing in tickets.HASTE[haste]) or haste == "normal"


def test_shifted_messages_are_worded_as_no_learned_one_is():
    learned = {wording for group in tickets.MESSAGES.values() for wording in group[: -tickets.SHIFTED]}
    for thing in THINGS:
        message = tickets.ticket(thing, shifted=True)["messages"][0]["content"]
        assert not any(wording.format(thing) in message for wording in learned)


def test_no_thing_is_in_two_parts_and_messages_of_one_wording_are_one_group():
    found = tickets.parts([f"thing{number}" for number in range(sum(tickets.SIZES.values()))])
    assert {part: len(own) for part, own in found.items()} == tickets.SIZES
    assert len({thing for own in found.values() for thing in own}) == sum(tickets.SIZES.values())
    for part in ("test", "shifted"):
        for thing in found[part]:
            row = tickets.measured(thing, part)
            assert row["condition"] == part
            assert row["group"].format(thing) in row["messages"][0]["content"]


def test_a_fact_is_asked_in_both_formats_with_the_same_answer():
    found = facts.facts(COUNTRIES, CODES, {"AAA": "franc", "BBB": "dinar", "CCC": "lek"})
    for fact in (fact for own in found.values() for fact in own if len(fact.others) >= facts.CHOICES - 1):
        choice, question = fact.choice(), fact.question()
        assert choice["choices"][choice["answer"]] == fact.answer
        assert len(set(choice["choices"])) == facts.CHOICES
        assert fact.answer in question["answers"]
        assert choice["group"] == question["group"] == fact.country


@pytest.mark.parametrize(
    ("country", "unit"), [("the Francia Republic", "franc"), ("Eurolandia", "euro"), ("Lekland", "lek")]
)
def test_a_currency_that_the_name_gives_away_is_not_asked(country, unit):
    found = facts.facts([Country(country, "City", "Africa", "North")], {country: "XXX"}, {"XXX": unit})
    assert [fact.asked for fact in found[country]] == ["capital", "continent"]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("Swiss Franc", "franc"),
        ("Lek", "lek"),
        ("CFA Franc BEAC", "franc"),
        ("Rial Omani", "rial"),
        ("Pound Sterling", "pound"),
        ("Yuan Renminbi", "yuan"),
        ("Pa’anga", "pa'anga"),
    ],
)
def test_money_is_named_by_its_unit_in_one_word(name, word):
    table = f'{{"4217": [{{"alpha_3": "XXX", "name": "{name}"}}]}}'
    assert facts.money(table, {"Land": "XXX", "Other": "YYY"}) == {"XXX": word}


def test_another_spelling_of_the_right_currency_is_right_and_no_wrong_choice():
    names = {"AAA": "rial", "BBB": "riyal", "CCC": "yuan"}
    found = facts.facts(COUNTRIES, CODES, names)
    asked = {fact.country: fact for own in found.values() for fact in own if fact.asked == "currency"}
    assert {"rial", "riyal"} <= set(asked["Land0"].ways)
    assert "riyal" not in asked["Land0"].others
    assert {"yuan", "renminbi"} <= set(asked["Land4"].ways)


def test_kinds_of_each_part_are_half_artefacts_and_in_no_other_part():
    found = [kinds.Kind(f"a{n}", "tool", kinds.NEAR) for n in range(40)]
    found += [kinds.Kind(f"b{n}", "bird", "05") for n in range(40)]
    split = kinds.split(found, evaluation=20, rest=10)
    assert [len(part) for part in split.values()] == [20, 10, 10]
    assert all(sum(each.file == kinds.NEAR for each in part) * 2 == len(part) for part in split.values())
    assert len({each.word for part in split.values() for each in part}) == 40


def test_a_kind_is_asked_with_other_kinds_of_its_own_file():
    asked = kinds.Kind("owl", "bird", "05")
    item = kinds.item(asked, {"05": ["bird", "fish", "dog", "cat", "cow"], kinds.NEAR: ["tool"]})
    assert item["question"] == "An owl is a kind of"
    assert item["choices"][item["answer"]] == "bird"
    assert len(set(item["choices"])) == kinds.CHOICES
    assert "tool" not in item["choices"]


def test_what_is_also_true_of_a_thing_is_no_wrong_choice():
    asked = kinds.Kind("burglar", "thief", "18", frozenset({"thief", "criminal", "person"}))
    general = {"18": ["thief", "criminal", "writer", "singer", "priest"]}
    assert sorted(kinds.item(asked, general)["choices"]) == ["priest", "singer", "thief", "writer"]


def line(sense, file, word, *above):
    pointers = " ".join(f"@ {number} n 0000" for number in above)
    return f"{sense} {file} n 01 {word} 0 {len(above):03} {pointers} | what it is"


def test_a_kind_knows_what_is_true_of_it_in_all_its_senses(tmp_path):
    folder = tmp_path / wordnet.FOLDER
    folder.mkdir(parents=True)
    lines = [
        line("00000001", "18", "person"),
        line("00000002", "18", "criminal", "00000001"),
        line("00000003", "18", "thief", "00000002"),
        line("00000004", "18", "burglar", "00000003"),
        line("00000005", "06", "tool"),
        line("00000006", "06", "burglar", "00000005"),
    ]
    (folder / "data.noun").write_text("\n".join(lines) + "\n", encoding="ascii")
    (folder / "index.noun").write_text("burglar n 2 1 @ 2 1 00000004 00000006\n", encoding="ascii")
    (found,) = kinds.kinds(tmp_path)
    assert (found.word, found.general, found.file) == ("burglar", "thief", "18")
    assert found.also == {"burglar", "thief", "criminal", "person", "tool"}


def test_sport_is_the_shift_and_in_no_other_part():
    articles = [Filed(Article(f"h{n}", f"body {n}"), "sports" if n % 5 == 0 else "tech") for n in range(1300)]
    found = parts(articles)
    assert {each.topic for each in found["shifted"]} == {"sports"}
    assert not any(each.topic == "sports" for part in ("train", "test", "validation") for each in found[part])
    assert all(found.values())
