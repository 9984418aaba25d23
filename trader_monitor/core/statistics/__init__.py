"""Statistics that rooms share: intervals, standard errors, rolling sums and percentiles."""
