"""Drift: a window of features and outputs against the baselines of their model."""
