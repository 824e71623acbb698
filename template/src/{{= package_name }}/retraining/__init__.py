"""Retraining after an alert: a candidate, its comparison and a pull request."""
