"""The mathematics of evaluation: pure functions of tensors, arrays and strings. No model, no file, no hidden draw."""
