"""The stages of dvc.yaml, and code that they share."""
