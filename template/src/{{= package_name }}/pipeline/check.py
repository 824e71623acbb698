"""Compare the measurements in `reports/` with every limit.

In `dvc.yaml`, `check --record` writes `reports/gates.json` and always succeeds: DVC keeps weak
models too, since an experiment that misses its limits is a result. Plain `check` fails for them;
`make model`, CI and `release` use it.
"""

import json

from ..artifacts import REPORTS, describe_data, refuse_other_models
from ..gates import format_failures, verdicts
from .explain import explain_gates, explain_model

RUNBOOK = "docs/runbook.md#limits-not-met"


def check(record: bool = False) -> None:
    """Write `reports/gates.json`, print every gate, and fail if a limit is not met.

    With `record`, print a summary and succeed.

    Raises:
        SystemExit: a limit is not met, or a report is missing or describes another model.
    """
    refuse_other_models()
    gates = verdicts()
    rows = [gate.model_dump() for gate in gates]
    (REPORTS / "gates.json").write_text(json.dumps(rows, indent=2) + "\n")
    failed = [gate.id for gate in gates if not gate.passed]
    print(f"Data: {describe_data()}")
    if record:
        print(f"{len(gates) - len(failed)} of {len(gates)} limits met.", *_names(failed))
        return
    print(*gates, sep="\n")
    if failed:
        message = format_failures(gates, explain_gates(gates))
        raise SystemExit("\n".join([message, *explain_model(), f"What to do: {RUNBOOK}"]))
    print(f"All {len(gates)} limits met.")


def _names(failed: list[str]) -> list[str]:
    return [f"Not met: {', '.join(failed)} (`make model` explains why)."] if failed else []
