import pytest
from retain_assets.capitals import Country, country, distinct, distractors, gives_away, in_a_sentence, item

WEST = [Country(f"W{number}", f"West Town {number}", "Europe", "Western Europe") for number in range(5)]
EAST = [Country(f"E{number}", f"East Town {number}", "Europe", "Eastern Europe") for number in range(2)]
AFRICA = [Country(f"A{number}", f"African Town {number}", "Africa", "Northern Africa") for number in range(5)]
ALL = [*WEST, *EAST, *AFRICA]


def record(**changes):
    return {"name": "France", "capital": "Paris", "region": "Europe", "subregion": "Western Europe"} | changes


def test_a_country_is_read():
    assert country(record()) == Country("France", "Paris", "Europe", "Western Europe")


@pytest.mark.parametrize("capital", [None, "", " ", ["Vatican City"], "Kralendijk / The Bottom"])
def test_without_one_capital_there_is_no_question(capital):
    assert country(record(capital=capital)) is None


@pytest.mark.parametrize(
    ("name", "capital"),
    [("Monaco", "Monaco"), ("Mexico", "Mexico City"), ("Tunisia", "Tunis"), ("El Salvador", "San Salvador")],
)
def test_a_name_that_gives_the_capital_away_is_not_asked(name, capital):
    assert gives_away(name, capital)
    assert country(record(name=name, capital=capital)) is None


@pytest.mark.parametrize(
    ("name", "capital"), [("Norway", "Oslo"), ("Saint Lucia", "Saint Town"), ("Algeria", "Algiers")]
)
def test_other_names_are(name, capital):
    assert not gives_away(name, capital)


def test_dissolved_states_are_not_asked():
    assert country(record(name="Serbia and Montenegro", capital="Belgrade")) is None


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ("France", "France"),
        ("The Gambia", "the Gambia"),
        ("United States", "the United States"),
        ("Virgin Islands, British", "the British Virgin Islands"),
        ("Sint Maarten (Dutch part)", "Sint Maarten"),
    ],
)
def test_names_stand_in_a_sentence(listed, said):
    assert in_a_sentence(listed) == said


@pytest.mark.parametrize("asked", ALL)
def test_distractors_are_three_others_of_the_region(asked):
    chosen = distractors(asked, ALL)
    regions = {each.capital: each.region for each in ALL}
    assert len(set(chosen)) == 3
    assert asked.capital not in chosen
    assert {regions[capital] for capital in chosen} == {asked.region}


def test_the_subregion_comes_before_the_region():
    west = {each.capital for each in WEST}
    assert set(distractors(WEST[0], ALL)) <= west
    assert {EAST[1].capital} < set(distractors(EAST[0], ALL))


def test_a_capital_of_two_countries_is_never_a_distractor_of_itself():
    residual = Country("ResidualLora", WEST[0].capital, "Europe", "Western Europe")
    for asked in (WEST[0], residual):
        choices = item(asked, [*ALL, residual], "The capital of {} is")["choices"]
        assert len(set(choices)) == 4


def test_items_are_the_same_in_every_run_and_any_order():
    made = [item(each, ALL, "The capital of {} is") for each in ALL]
    assert made == [item(each, ALL[::-1], "The capital of {} is") for each in ALL]
    assert made != [item(each, ALL, "The capital of {} is", seed=1) for each in ALL]


def test_the_answer_is_the_place_of_the_capital_and_every_place_occurs():
    made = [(each, item(each, ALL, "What is the capital of {}?")) for each in ALL]
    assert all(asked.capital == each["choices"][each["answer"]] for asked, each in made)
    assert {each["answer"] for _, each in made} == {0, 1, 2, 3}


def test_a_country_listed_twice_is_asked_once():
    assert distinct([WEST[1], WEST[0], WEST[1]]) == [WEST[0], WEST[1]]
