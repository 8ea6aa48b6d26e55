from retain_assets.headlines import ARTICLE_WORDS, Article, article, distinct, example, split


def story(subject, length=60):
    return " ".join(f"{subject}{number}" for number in range(length))


def test_the_first_line_with_text_is_the_headline():
    assert article(b"\n  Ink helps\n\nThe Kyrgyz  Republic\n\nis small.\n") == Article(
        "Ink helps", "The Kyrgyz Republic is small."
    )


def test_a_latin_1_pound_sign_is_read():
    assert article(b"Costs\n\n\xa35m was spent") == Article("Costs", "£5m was spent")


def test_files_without_headline_or_body_are_no_articles():
    assert article(b"") is None
    assert article(b"\n\n") is None
    assert article(b"Only a headline\n") is None


def test_a_repeated_headline_stays_once_whatever_its_case_and_signs():
    kept = distinct([Article("Oil prices 'up'", story("a")), Article("Oil Prices up", story("b"))])
    assert [each.body for each in kept] == [story("a")]


def test_a_rewritten_story_under_another_headline_is_dropped():
    rewritten = story("a", 40) + " " + story("new", 40)
    kept = distinct([Article("One", story("a")), Article("Two", rewritten), Article("Three", story("c"))])
    assert [each.headline for each in kept] == ["One", "Three"]


def test_the_comparison_goes_by_the_shorter_body():
    kept = distinct([Article("Long", story("a", 600)), Article("Its first paragraph", story("a", 60))])
    assert [each.headline for each in kept] == ["Long"]


def test_a_quoted_phrase_in_common_does_not_make_two_stories_one():
    phrase = " as the minister said on Monday night "
    articles = [Article("One", story("a") + phrase), Article("Two", story("b") + phrase)]
    assert distinct(articles) == articles


def test_split_is_disjoint_sized_and_independent_of_the_order():
    articles = [Article(f"headline {number}", f"body {number}") for number in range(50)]
    train, test = split(articles, 30, 15)
    assert (len(train), len(test)) == (30, 15)
    assert not set(train) & set(test)
    assert split(reversed(articles), 30, 15) == (train, test)
    assert split(articles, 30, 15, seed=1) != (train, test)


def test_an_example_continues_the_prompt_with_the_headline():
    made = example(Article("Ink helps", story("a", 200)))
    assert made["completion"] == " Ink helps"
    assert made["prompt"].startswith("Article: a0 a1 ")
    assert made["prompt"].endswith("\nHeadline:")
    assert len(made["prompt"].split()) == ARTICLE_WORDS + 2
