"""A pair of transformers and PEFT that do not fit is told."""

from retain.hf.versions import version_note


def test_the_installed_pair_fits():
    assert version_note() is None


def test_an_older_peft_is_told_with_the_cure():
    assert "pip install 'peft>=0.22.0'" in version_note("0.21.2", "0.22.0")
    assert version_note("0.22.0", "0.22.0") is None
    assert version_note("0.100", "0.22.0") is None
