"""Texts and files as they are compared: folding, hashes, paragraphs, quotations."""

from hypothesis import given
from hypothesis import strategies as st

from retain.data.texts import SHORTEST_PARAGRAPH, content_hash, file_hash, fingerprint, folded, paragraphs, quoted


@given(st.text())
def test_case_and_space_do_not_hide_an_overlap(text):
    assert fingerprint(text) == fingerprint(f"  {text}\n")
    assert folded(folded(text)) == folded(text)


def test_other_texts_have_other_fingerprints():
    assert fingerprint("A  B") == fingerprint("a b") != fingerprint("ab")


def test_content_hash_depends_on_order_and_borders():
    assert content_hash(["a", "b"]) != content_hash(["b", "a"]) != content_hash(["ab"])


def test_short_lines_are_no_paragraphs():
    long = "x" * SHORTEST_PARAGRAPH
    assert paragraphs(f"Heading\n{long}\n  {'y' * (SHORTEST_PARAGRAPH - 1)}  ") == [long]


def test_a_file_is_known_by_its_bytes_and_read_again_when_it_changes(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"same")
    other.write_bytes(b"same")
    assert file_hash(str(one)) == file_hash(str(other))
    one.write_bytes(b"another")
    assert file_hash(str(one)) != file_hash(str(other))
    assert file_hash(str(tmp_path / "missing")) == str(tmp_path / "missing")


def test_a_quotation_is_one_line_and_cut():
    assert quoted("a\n b") == "'a b'"
    assert quoted("x" * 100, length=5) == "'xxxx…'"
