"""Whether what should be gone can be asked again after relearning: told before any model is trained."""

from __future__ import annotations

from retain.data.preprocess import Preprocessor
from retain.evaluate.held_out import windows_of
from retain.evaluate.relearn import answers_of, without_answers
from retain.evaluate.suites.suite import Settings, Suites
from retain.recipe.measurement_options import NOTHING_TO_ASK


def relearn_problems(suites: Suites, settings: Settings, preprocessor: Preprocessor) -> list[str]:
    """A sentence if relearning is asked for, and nothing is there to be asked again, or no text to train on."""
    asked = suites.of("gone")
    if not settings.relearn:
        return []
    if not (asked and suites.held_out_text):
        return [f"{NOTHING_TO_ASK}."]
    windows = windows_of(preprocessor, suites.held_out_text, settings) if preprocessor.reads_text else []
    texts = [preprocessor.tokenizer.decode(window.ids) for window in windows]
    if not windows or without_answers(windows, texts, answers_of(asked)):
        return []
    told = (
        f"relearn: an old answer stands in each of the {len(windows)} windows of the held-out text, and training on it "
        "would teach it again; give held_out_text of other things, or leave relearn out."
    )
    return [told]
