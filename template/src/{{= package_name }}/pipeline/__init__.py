"""The stages from data to a judged model, in the order of `dvc.yaml`."""
