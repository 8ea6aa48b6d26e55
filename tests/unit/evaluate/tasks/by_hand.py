"""What the tests of the task types share: tiny models, and figures computed one sequence at a time."""

import torch

from retain.data.preprocess import TextPreprocessor
from retain.evaluate.suites.suite import Settings
from retain.evaluate.tasks.predictor import LocalPredictor
from retain.evaluate.tasks.table import task_type_of
from tiny import make_text_tokenizer, make_tokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SETTINGS = Settings(batch_size=3, max_new_tokens=4, generate=2, max_length=60)
TOKENIZER = make_tokenizer()
PREPROCESSOR = TextPreprocessor(TOKENIZER, 60)
TEXTS = TextPreprocessor(make_text_tokenizer(), 60)


def predict(model, preprocessor, suite, settings=SETTINGS):
    return task_type_of(suite).predict(suite, LocalPredictor(model, preprocessor, settings))


def scores(suite, predicted):
    return [task_type_of(suite).score(suite, index, response) for index, response in enumerate(predicted.responses)]


def log_likelihood(model, ids, start):
    with torch.no_grad():
        log_p = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    return sum(log_p[t - 1, ids[t]].item() for t in range(start, len(ids)))


def greedy(model, prompt, most):
    ids = list(prompt)
    with torch.no_grad():
        while len(ids) < len(prompt) + most:
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == TOKENIZER.eos_token_id:
                break
    return TOKENIZER.decode(ids[len(prompt) :], skip_special_tokens=True).strip()


def by_hand_features(model, texts):
    rows = []
    for text in texts:
        with torch.no_grad():
            hidden = model.bert(**TEXTS.tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        rows.append(hidden.mean(0) / hidden.mean(0).norm())
    return torch.stack(rows)
