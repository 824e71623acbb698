"""Run the pipeline for several data seeds; print the gates of each as one line of JSON.

Stages are unchanged except for the seed of the sample data. `report` and `check` are left out; the
gates are those that `check` would compare.
"""

import json
import sys
from functools import partial
from importlib import import_module

package, count = sys.argv[1], int(sys.argv[2])
cli, sample, gates, artifacts = (
    import_module(f"{package}.{name}") for name in ("cli", "task.sample_data", "gates", "artifacts")
)
sample_examples = sample.sample_examples
for seed in range(count):
    sample.sample_examples = partial(sample_examples, seed=seed)
    for stage in cli.STAGES[: cli.STAGES.index("report")]:
        cli.run(stage)
    value = artifacts.read_report("evaluate")["score"]["value"]
    verdicts = [gate.model_dump() for gate in gates.verdicts()]
    print("\n" + json.dumps({"value": value, "gates": verdicts}), flush=True)
