import warnings
from types import SimpleNamespace

import pytest
import torch
from test_kl_penalty import batches, direct, moved
from transformers import TrainerControl, TrainerState

from retain.errors import InputError
from retain.train.regularise.kl_monitor import COPY, KNEE, KLMonitor, RetentionWarning
from tiny import make_llama


def lively(seed=0):
    """A tiny Llama with predictions as definite as a trained model's, so that they can move far."""
    model = make_llama(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(1 if "norm" in name else 20 if "lm_head" in name else 5)
    return model


class Training:
    """A Trainer's calls of a watch, with a model that a test moves by hand."""

    def __init__(self, kl_monitor, folder, steps=100, model=None):
        self.model = moved(lively(), scale=0.0) if model is None else model
        self.kl_monitor, self.control = kl_monitor, TrainerControl()
        self.args = SimpleNamespace(output_dir=str(folder), bf16=False, fp16=False, deepspeed=None, fsdp=None)
        self.state = TrainerState(stateful_callbacks=[], max_steps=steps, is_world_process_zero=True)
        kl_monitor.on_train_begin(self.args, self.state, self.control, model=self.model)

    def step(self, size=None, loss=None, tokens=18):
        """One optimizer step that leaves the update at a size, and the loss logged after it."""
        if size is not None:
            resize(self.model, size)
        self.model.train()
        self.model(input_ids=torch.full((1, tokens), 3))
        self.state.global_step += 1
        self.kl_monitor.on_step_end(self.args, self.state, self.control, model=self.model)
        if loss is not None:
            self.kl_monitor.on_log(self.args, self.state, self.control, logs={"loss": loss})

    def end(self):
        self.kl_monitor.on_train_end(self.args, self.state, self.control, model=self.model)


def resize(model, size):
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(size * torch.randn(parameter.shape, generator=generator))


def trained(model):
    return [p.detach().clone() for p in model.parameters() if p.requires_grad]


def test_it_measures_the_mean_over_all_attended_tokens():
    model, probes = moved(make_llama()), batches(3)
    probes[0] = {name: value[:1] for name, value in probes[0].items()}
    sizes = [int(batch["attention_mask"].sum()) for batch in probes]
    expected = sum(n * direct(model, b).item() for n, b in zip(sizes, probes, strict=True)) / sum(sizes)
    assert KLMonitor(probes).measure(model) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_probes_cost_no_more_than_their_share(share, tmp_path):
    kl_monitor = KLMonitor(batches(1), share=share)  # 18 tokens
    run = Training(kl_monitor, tmp_path, steps=10**6)
    for _ in range(40):
        run.step(tokens=18)
    assert len(kl_monitor.points) == int(40 * 18 / -(-(18 * 2 / 3 / share) // 18 * 18))
    assert len(kl_monitor.points) * 18 * 2 / 3 <= share * 40 * 18


def test_every_bounds_the_distance_and_the_last_step_is_probed(tmp_path):
    kl_monitor = KLMonitor(batches(1), share=1e-6, every=4)
    run = Training(kl_monitor, tmp_path, steps=10)
    for _ in range(10):
        run.step()
    assert [step for step, _, _ in kl_monitor.points] == [4, 8, 10]


def test_forwards_that_are_no_training_do_not_count(tmp_path):
    kl_monitor = KLMonitor(batches(1))
    run = Training(kl_monitor, tmp_path)
    run.model.train()
    with torch.no_grad():
        run.model(input_ids=torch.full((1, 7), 3))
    run.model.eval()
    run.model(input_ids=torch.full((1, 7), 3))
    assert kl_monitor._seen == 0
    run.model.train()(input_ids=torch.full((1, 7), 3))
    assert kl_monitor._seen == 7
    run.end()
    run.model(input_ids=torch.full((1, 7), 3))
    assert kl_monitor._seen == 7


def test_it_warns_once_past_the_knee(tmp_path):
    kl_monitor = KLMonitor(batches(1), every=1)
    run = Training(kl_monitor, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RetentionWarning)
        run.step(0.05)
    with pytest.warns(RetentionWarning, match="past 0.26"):
        run.step(3.0)
    assert kl_monitor.points[0][1] < KNEE < kl_monitor.points[1][1]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RetentionWarning)
        run.step(3.0)


@pytest.mark.filterwarnings("ignore::retain.train.regularise.kl_monitor.RetentionWarning")
def test_the_best_point_within_the_limit_is_put_back(tmp_path):
    kl_monitor = KLMonitor(batches(1), every=1, limit=KNEE)
    run = Training(kl_monitor, tmp_path)
    run.step(0.02, loss=3.0)  # its own loss is known only after its probe
    run.step(0.06, loss=1.0)
    best = trained(run.model)
    run.step(0.065, loss=9.0)
    better = trained(run.model)
    run.step(0.05, loss=9.0)
    run.step(3.0)
    run.end()
    assert kl_monitor.restored == 3
    assert all(torch.equal(a, b) for a, b in zip(trained(run.model), better, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(trained(run.model), best, strict=True))


@pytest.mark.filterwarnings("ignore::retain.train.regularise.kl_monitor.RetentionWarning")
def test_an_end_within_the_limit_stays_and_one_with_no_way_back_too(tmp_path):
    for sizes, restored in (((3.0, 0.05), None), ((3.0, 3.0), None)):
        kl_monitor = KLMonitor(batches(1), every=1, limit=KNEE)
        run = Training(kl_monitor, tmp_path)
        for size in sizes:
            run.step(size)
        before = trained(run.model)
        run.end()
        assert kl_monitor.restored is restored
        assert all(torch.equal(a, b) for a, b in zip(trained(run.model), before, strict=True))


@pytest.mark.filterwarnings("ignore::retain.train.regularise.kl_monitor.RetentionWarning")
def test_it_stops_after_its_patience(tmp_path):
    kl_monitor = KLMonitor(batches(1), every=1, limit=KNEE, stop=True, patience=2)
    run = Training(kl_monitor, tmp_path)
    for size, stops in ((3.0, False), (0.05, False), (3.0, False), (3.0, True)):
        run.step(size)
        assert run.control.should_training_stop is stops


@pytest.mark.filterwarnings("ignore::retain.train.regularise.kl_monitor.RetentionWarning")
@pytest.mark.parametrize("kept", [True, False])
def test_it_goes_on_from_a_checkpoint(kept, tmp_path):
    first = KLMonitor(batches(1), every=1, limit=KNEE)
    run = Training(first, tmp_path)
    run.step(0.06, loss=2.0)
    best = trained(run.model)
    run.step(3.0, loss=1.0)
    (tmp_path / "checkpoint-2").mkdir()
    run.kl_monitor.on_save(run.args, run.state, run.control)
    run.state.save_to_json(str(tmp_path / "state.json"))
    if not kept:
        (tmp_path / "checkpoint-2" / COPY).unlink()
    again, state = KLMonitor(batches(1), every=1, limit=KNEE), TrainerState.load_from_json(str(tmp_path / "state.json"))
    if not kept:
        with pytest.warns(RetentionWarning, match="are lost"):
            again.on_train_begin(run.args, state, run.control, model=run.model)
    else:
        again.on_train_begin(run.args, state, run.control, model=run.model)
    assert again.points == first.points
    run.kl_monitor, run.state = again, state
    run.step(3.0)
    run.end()
    assert again.restored == (1 if kept else None)
    if kept:
        assert all(torch.equal(a, b) for a, b in zip(trained(run.model), best, strict=True))


def test_every_problem_is_named():
    with pytest.raises(InputError) as caught:
        KLMonitor(batches(1), limit=-1.0, share=0.0, every=0)
    assert len(caught.value.problems) == 3
    with pytest.raises(InputError, match="needs a limit"):
        KLMonitor(batches(1), stop=True)
