"""Fields of transformers.TrainingArguments that a recipe's `training` may not hold, and what to do instead."""

from __future__ import annotations

from pydantic import BaseModel

from retain.recipe.marks import decisions, flag_name

_HUB = "upload the adapter folder yourself"
_OF_HUB = ("hub_model_id", "hub_strategy", "hub_private_repo", "hub_always_push", "hub_revision")
_OF_EVALUATION = (
    "load_best_model_at_end", "metric_for_best_model", "greater_is_better", "eval_steps", "eval_delay",
    "eval_on_start", "per_device_eval_batch_size", "eval_accumulation_steps", "eval_do_concat_batches",
    "eval_use_gather_object", "batch_eval_metrics", "include_for_metrics", "prediction_loss_only", "bf16_full_eval",
    "fp16_full_eval", "do_train", "do_eval", "do_predict",
)  # fmt: skip
_OF_CHECKPOINTS = (
    "save_steps", "save_only_model", "ignore_data_skip", "restore_callback_states_from_checkpoint",
)  # fmt: skip


def reserved_arguments(recipe: type[BaseModel]) -> dict[str, str]:
    """The fields of TrainingArguments that `training` may not hold, each with what to do instead.

    Args:
        recipe: some of its fields are arguments of the Trainer.
    """
    own = {decides.argument: f"say {flag_name(recipe, name)}" for name, decides in decisions(recipe).items()}
    own.pop("", None)
    return own | {
        "remove_unused_columns": "the data are tokenised already",
        "eval_strategy": "what was learned is measured after training; follow the training loss meanwhile",
        "save_strategy": "a checkpoint is taken once a minute",
        "push_to_hub": f"{_HUB}; the record would show the token",
        "hub_token": f"{_HUB}; the record would show the token",
        **dict.fromkeys(_OF_HUB, _HUB),
        **dict.fromkeys(_OF_EVALUATION, "nothing is measured while training, so it has no effect; leave it out"),
        "resume_from_checkpoint": "the same command goes on from the last checkpoint by itself",
        **dict.fromkeys(_OF_CHECKPOINTS, "retain takes checkpoints by itself, so that a run goes on bit for bit"),
    }
