"""Everything a job is given, opened and checked: data, models, preprocessors, calibration texts."""
