"""The candidate that a sweep chose."""

from retain.records.sweep_record import Candidate, Point, Recommendation, SweepRecord


def point(alpha):
    return Point(alpha=alpha, loss=1.0, gain=0.5, gain_error=0.1, kl=0.01)


def test_the_best_point_is_the_chosen_candidate_at_the_chosen_coefficient():
    candidates = tuple(
        Candidate(method=name, learning_rate=1e-3, points=(point(0.5), point(1.0))) for name in ("lora", "vefa")
    )
    record = SweepRecord(
        model="m", unit="nats per token", base_loss=2.0, held_items=9, train_items=9, sweep_steps=5, seed=0, probes=1,
        limit=0.1, limit_stated=True, candidates=candidates, chosen=Recommendation(candidate=1, alpha=0.5, within=True),
        whole_steps=100, whole_seconds=9.0,
    )  # fmt: skip
    assert record.best.method == "vefa"
    assert record.best_point == point(0.5)
    assert SweepRecord.model_validate_json(record.model_dump_json()) == record
