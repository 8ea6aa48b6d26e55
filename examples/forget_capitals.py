"""Data to forget three capitals and keep the others, from the packaged facts, for recipes/forget-capitals.yaml.

    python examples/forget_capitals.py .assets/facts runs/forget-capitals-data

writes train.jsonl (questions with a replacing answer), three-capitals.jsonl (the same facts in other wordings, with the
old answer), neighbours.jsonl (capitals of other countries) and other-facts.jsonl (continents and currencies of all),
both to be kept, and keep-text.jsonl (capitals of further countries, for the penalty).
"""

import json
import sys
from itertools import product
from pathlib import Path

REPLACED = {"France": "Lyon", "Italy": "Milan", "Germany": "Hamburg"}
"""The countries whose capital is to be forgotten, and what the model is to say instead."""

TRAINED = (
    "What is the capital of {}?",
    "Answer with the name alone: What is the capital of {}?",
    "Name the capital city of {}.",
    "Which city is the capital of {}?",
    "{}: what is its capital?",
)
ASKED = (
    "What's the capital city of {}?",
    "Which city serves as the capital of {}?",
    "What city is {}'s capital?",
    "Tell me which city is the capital of {}.",
    "In {}, which city is the capital?",
    "What do you call the capital of {}?",
    "Which capital city belongs to {}?",
    "The government of {} sits in its capital. Which city is that?",
)
OPENINGS = (
    "", "Quick question. ", "For a quiz: ", "Please answer with one word. ", "I am planning a trip. ", "Geography. ",
    "My daughter asks: ", "For my homework: ", "Just the name, please. ", "I forgot this. ", "Help me. ", "Test: ",
)  # fmt: skip


def wordings(forms: tuple[str, ...], country: str, place: int) -> list[str]:
    """Every third combination of opening and form, so that no wording is asked of two countries."""
    pairs = [f"{opening}{form}" for opening, form in product(OPENINGS, forms)]
    return [pair.format(country) for pair in pairs[place :: len(REPLACED)]]


def talk(question: str, answer: str) -> dict[str, object]:
    """A question and its answer as a conversation."""
    turns = (("user", question), ("assistant", answer))
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def capitals(path: Path) -> dict[str, list[str]]:
    """The accepted names of each country's capital."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {row["group"]: row["answers"] for row in rows if row["condition"] == "capital"}


def write(path: Path, rows: list[dict[str, object]]) -> None:
    """Rows as JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def main(facts: Path, output: Path) -> None:
    """Write the five files."""
    known, further = capitals(facts / "questions.jsonl"), capitals(facts / "control-questions.jsonl")
    train: list[dict[str, object]] = []
    gone: list[dict[str, object]] = []
    for place, (country, other) in enumerate(REPLACED.items()):
        train += [talk(question, f"{other}.") for question in wordings(TRAINED, country, place)]
        asked = {"answers": known[country], "condition": country}
        gone += [{"question": question, **asked} for question in wordings(ASKED, country, place)]
    kept = {country: answers for country, answers in known.items() if country not in REPLACED}
    output.mkdir(parents=True, exist_ok=True)
    write(output / "train.jsonl", train)
    write(output / "three-capitals.jsonl", gone)
    write(
        output / "neighbours.jsonl",
        [
            {"question": f"What is the capital of {country}?", "answers": answers, "group": country}
            for country, answers in kept.items()
        ],
    )
    choices = [json.loads(line) for line in (facts / "choices.jsonl").read_text(encoding="utf-8").splitlines()]
    write(output / "other-facts.jsonl", [row for row in choices if row["condition"] != "capital"])
    write(
        output / "keep-text.jsonl",
        [talk(TRAINED[0].format(country), f"{answers[0]}.") for country, answers in further.items()],
    )
    print(f"{len(train)} to train on, {len(gone)} to be gone, {len(kept)} neighbours, {len(further)} for the penalty")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
