"""The networks that ichor ships: settings, training data, training, reading of a scan, and measurement against the truth."""
