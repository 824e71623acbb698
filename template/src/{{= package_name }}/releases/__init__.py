"""Signed releases: the registry, manifests and the rollout."""
