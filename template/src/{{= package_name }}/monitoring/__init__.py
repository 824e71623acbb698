"""What a running model shows: drift, quality on labels, and the limits of `scope.yaml`."""
