"""Log-likelihoods and greedy answers against one sequence at a time, written out."""

import pytest
import torch
from peft import PromptTuningConfig, get_peft_model

from retain.data.examples import Example
from retain.data.tokens import encode_example
from retain.evaluate.generate import read_logits, score_nll, write_answers
from retain.evaluate.input_hash import InputHash
from tiny import make_llama, make_tokenizer

TOKENIZER = make_tokenizer()
ROWS = [
    encode_example(TOKENIZER, Example(prompt="a b " * (k % 4 + 1), completion=" c word1 d"[: 3 + 6 * (k % 2)]), 60)
    for k in range(7)
]


def nll_alone(model, row):
    with torch.no_grad():
        scores = model(input_ids=torch.tensor([row.ids])).logits[0].double().log_softmax(-1)
    return -sum(float(scores[k - 1, row.ids[k]]) for k in range(row.start, len(row.ids)))


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_row_scores_as_it_does_alone(size):
    model, done = make_llama(), []
    found = score_nll(model, ROWS, 0, size, done.append)
    assert found == pytest.approx([nll_alone(model, row) for row in ROWS], rel=1e-4)
    assert sum(done) == len(ROWS)


def test_the_head_reads_only_the_positions_that_count():
    model = make_llama()
    inputs, mask = torch.tensor([ROWS[3].ids]), torch.ones(1, len(ROWS[3].ids), dtype=torch.long)
    seen = []
    model.lm_head.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[1]))
    part = read_logits(model, inputs, mask, first=2)
    full = read_logits(model, inputs, mask)
    assert seen == [inputs.shape[1] - 2, inputs.shape[1]]
    torch.testing.assert_close(part, full[:, 2:])


def test_virtual_tokens_before_the_text_are_left_out():
    model = get_peft_model(make_llama(), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)).eval()
    inputs = torch.tensor([ROWS[0].ids])
    assert read_logits(model, inputs, torch.ones_like(inputs), first=1).shape[1] == inputs.shape[1] - 1


def test_answers_are_greedy_whatever_the_model_prefers_and_the_batch():
    model = make_llama()
    prompts = [TOKENIZER.encode("a b c"), TOKENIZER.encode("d"), TOKENIZER.encode("e f")]
    alone = [write_answers(model, TOKENIZER, [prompt], 4, 1)[0] for prompt in prompts]
    model.generation_config.do_sample = True
    model.generation_config.temperature = 5.0
    assert write_answers(model, TOKENIZER, prompts, 4, 2) == alone
    with torch.no_grad():
        first = int(model(input_ids=torch.tensor([prompts[1]])).logits[0, -1].argmax())
    assert alone[1].text.startswith(TOKENIZER.decode([first], skip_special_tokens=True))


def test_the_tokens_that_end_an_answer_are_those_of_model_tokenizer_and_template():
    from chat_samples import QWEN3_RAW, make_character_tokenizer
    from retain.evaluate.generate import end_tokens

    tokenizer, model = make_character_tokenizer(QWEN3_RAW), make_llama()
    model.generation_config.eos_token_id = [7]
    assert end_tokens(model, tokenizer) == sorted([7, *tokenizer.convert_tokens_to_ids(["<eos>", "<|im_end|>"])])


def test_the_input_hash_covers_prompts_and_end_tokens():
    def hashed(change=None, prompts=("a b",), length=3):
        model, found = make_llama(), InputHash()
        model.generation_config.eos_token_id = change
        write_answers(model, TOKENIZER, [TOKENIZER.encode(one) for one in prompts], length, 2, input_hash=found)
        return found.hash()

    assert hashed() == hashed()
    assert len({hashed(), hashed(change=[5]), hashed(prompts=("a c",)), hashed(length=4)}) == 4
