"""What is told where the hub may not be asked."""

from __future__ import annotations

import pytest

from retain.data.arrow_rows import hub_data
from retain.data.offline import offline_cure


@pytest.mark.parametrize(
    ("offline", "reason", "told"),
    [
        (True, "couldn't find them in the cached files", True),
        (True, "Couldn't reach 'a/b' on the Hub (OfflineModeIsEnabled)", True),
        (True, "the file at '/home/a/.cache/huggingface/hub/x/config.json' is not a valid JSON file", False),
        (True, "no file named model.safetensors in /data/hf_cache/x or /data/hf-cache/x or D:\\cache\\x", False),
        (False, "couldn't find them in the cached files", False),
    ],
)
def test_the_cure_is_told_where_the_cache_alone_was_read_and_lacks_it(offline, reason, told, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    assert ("run `hf download a/b`" in offline_cure(reason, "hf download a/b")) == told


def test_the_setting_that_is_made_is_named(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "1")
    assert offline_cure("offline", "x").startswith("TRANSFORMERS_OFFLINE is set, so the hub was not asked")


def test_a_data_set_that_is_not_cached_is_told_with_its_download(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="run `hf download --repo-type dataset nobody/never-cached`"):
        hub_data("nobody/never-cached", None, "train")
