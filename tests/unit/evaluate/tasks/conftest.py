"""The tiny models that the tests of the task types put items to."""

import pytest
import torch

from tiny import make_bert, make_llama


@pytest.fixture(scope="session")
def llama():
    return make_llama().double()


@pytest.fixture(scope="session")
def judge():
    """A BERT with a head of three classes."""
    from transformers import BertForSequenceClassification

    torch.manual_seed(1)
    body = make_bert(num_labels=3, id2label={0: "low", 1: "mid", 2: "high"}, label2id={"low": 0, "mid": 1, "high": 2})
    model = BertForSequenceClassification(body.config).eval()
    model.bert.load_state_dict(body.state_dict())
    return model.double()
