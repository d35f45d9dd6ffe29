"""Synthetic heads with known hemorrhages: training data, tests and the sample studies."""
