"""Settings that depend on where the model runs: base classes of `Scope` and `Params`."""
