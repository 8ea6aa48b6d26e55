"""Names of files by what they were made of."""

from retain.jobs.state_files import key_of


def test_a_key_sees_values_and_order_of_lists_but_not_of_mappings():
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    assert key_of([1, 2]) != key_of([2, 1])
