"""What came out of an experiment, written so that a scientist can judge it."""
