"""From an alert about the model to a candidate that a person may merge: `make retrain`."""
