"""200 processes killed (SIGKILL) before a file operation, at a drawn place of each verb: all end in the same bits.

Each case is run once undisturbed, which also counts its file operations; then again and again with a kill before a
drawn one, a second kill in a third of the cases, and the same command until it is done. Run it with
`python -m pytest -m slow tests/slow/test_kills.py -s`, which prints the counts. On 29 November 2026: lora 40 kills over
298 file operations, vefa 35 over 363, sc-lora 40 over 532, kl budget 35 over 393, calibrate 26 over 149, compare 25
over 781; all 201 ended in the same bits. (Before leftovers were removed first, one of sc-lora left a half-made lock
behind, and seven of calibrate were followed by a refusal.)
"""

import random
import shutil

import pytest

from interruptions import differences, in_child, outcome

pytestmark = pytest.mark.slow

TUNE = [
    "--drift",
    "false",
    "--test-items",
    "4",
    "--keep-items",
    "8",
    "--max-steps",
    "6",
    "--batch-size",
    "4",
    "--generate",
    "0",
    "--held-out-tokens",
    "64",
    "--training.logging_steps",
    "2",
]
CALIBRATE = ["--calibrate-tokens", "512"]
CONTROL = ["--control-share", "0.5", *TUNE, "--held-out-tokens", "6000"]
CASES = {
    "lora": (40, ["tune", "--method", "lora", *TUNE]),
    "vefa": (35, ["tune", "--method", "vefa", *TUNE]),
    "sc-lora": (40, ["tune", "--method", "sc-lora", "--rank", "2", *CALIBRATE, *TUNE]),
    "kl budget": (35, ["tune", "--method", "lora", "--budget", "kl:0.00001", *CONTROL]),
    "calibrate": (25, ["calibrate", *CALIBRATE, "--memory-limit", "40kB"]),
    "compare": (25, ["compare", "--methods", "lora,vefa", *TUNE]),
}
SEED = 20261129


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Held-out text that is long enough to certify a limit on half of it."""
    drawn = random.Random(SEED)  # noqa: S311 -- draws words, no secret
    words = "the river town keeps an old mill and sells bread to boats in spring".split()  # noqa: SIM905 -- readable
    file = tmp_path_factory.mktemp("text") / "text.txt"
    file.write_text("\n".join(" ".join(drawn.choices(words, k=12)) + "." for _ in range(500)), encoding="utf-8")
    return file


def command(case, tiny_folder, tiny_data, text, output):
    words = [*case, "--model", str(tiny_folder), "--train", str(tiny_data / "train.jsonl"), "--keep"]
    words += [str(tiny_data / "letters.jsonl"), "--held-out-text", str(text)]
    words += ["--output", str(output)]
    return words if case[0] == "calibrate" else [*words, "--test", str(tiny_data / "test.jsonl")]


def runs(words, save_at_once=True):
    def work():
        import retain.activations.collect
        import retain.train.callbacks
        from retain.cli.main import main

        if save_at_once:
            retain.train.callbacks.SECONDS_BETWEEN_CHECKPOINTS = 0.0
            retain.activations.collect.SECONDS_BETWEEN_SAVES = 0.0
        return main(words)

    return work


@pytest.mark.parametrize("name", CASES)
def test_a_kill_before_any_file_operation_changes_nothing(name, tiny_folder, tiny_data, text, tmp_path):
    kills, case = CASES[name]
    drawn, failures, done = random.Random(SEED), [], 0  # noqa: S311 -- draws places, no secret
    words = command(case, tiny_folder, tiny_data, text, tmp_path / "whole")
    whole = in_child(runs(words), tmp_path / "whole", tmp_path / "log")
    assert whole.code in {0, 3}, whole.text
    expected = outcome(tmp_path / "whole")
    while done < kills:
        output = tmp_path / "killed"
        words = command(case, tiny_folder, tiny_data, text, output)
        places = []
        for _ in range(drawn.choice((1, 1, 2))):
            place = drawn.randint(1, whole.operations)
            killed = in_child(runs(words), output, tmp_path / "log", kill_at=place)
            places.append(place)
            done += killed.code == -9
            if killed.has_traceback or killed.hung:
                failures.append((places, killed.code, killed.text[-500:]))
        last = in_child(runs(words), output, tmp_path / "log")
        unlike = differences(expected, outcome(output))
        if last.code != whole.code or last.has_traceback or unlike:
            failures.append((places, last.code, unlike, last.text[-500:]))
        shutil.rmtree(output, ignore_errors=True)
    told = f"\n{name}: {done} kills over {whole.operations} file operations, {len(failures)} that changed something"
    print(told)  # noqa: T201 -- the counts are what this is run for
    assert not failures, failures[:3]
