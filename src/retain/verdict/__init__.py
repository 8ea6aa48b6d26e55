"""The verdict: kept, lost, changed format, or too few items to say, from scores and items alone."""
