"""Monitoring of a model in use: drift, quality on labelled requests, limits of scope.yaml."""
