"""The settings of the project: limits in scope.yaml, and parameters in params.yaml.

The keys that depend on where the model runs are in `target/`.
"""

from functools import cache
from pathlib import Path
from typing import Literal, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator

from .framework.keys import FrameworkParams
from .problem import PROBLEM
from .problem.keys import ProblemScope
from .target.alert_limits import LOOK_BACK_S, never_fires
from .target.keys import TARGET, TargetParams, TargetScope, TargetWatch

SCOPE = Path("scope.yaml")
PARAMS = Path("params.yaml")
Model = TypeVar("Model", bound=BaseModel)


class Watch(TargetWatch, frozen=True, extra="forbid"):
    """Alert limits of a model in use, in addition to latency and quality."""

    max_drift_score: float = Field(
        default=1, gt=0, description="Drift score of any signal; see drift_false_alarm_rate."
    )
    retrain_of_h: int = Field(
        default=6, ge=1, description="Period that retrain_after_h refers to, in hours."
    )
    retrain_after_h: int = Field(
        default=3,
        ge=1,
        validate_default=True,
        description="Hours with an alert about the model, within the last retrain_of_h hours, "
        "after which a candidate is trained.",
    )

    @field_validator("retrain_of_h")
    @classmethod
    def _check_retrain_period(cls, value: int) -> int:
        if value * 3600 > LOOK_BACK_S:
            raise never_fires(f"at most {LOOK_BACK_S // 3600}, which is a week", 6)
        return value

    @field_validator("retrain_after_h")
    @classmethod
    def _check_retrain_window(cls, value: int, info: ValidationInfo) -> int:
        of_h: int = info.data.get("retrain_of_h", value)
        if value > of_h:
            raise never_fires(f"at most retrain_of_h, which is {of_h}", max(of_h // 2, 1))
        return value


class Scope(TargetScope, ProblemScope, frozen=True, extra="forbid"):
    """The limits that were agreed in the interview; gates and alerts compare with them."""

    project: str = Field(description="Name of the project.")
    modality: Literal["image", "audio", "tabular"] = Field(description="Kind of the inputs.")
    problem: str = Field(PROBLEM, validate_default=True, description="Type of the answers.")
    target: str = Field(description="Where the model runs. `make upgrade` can change it.")
    not_for: str = Field(description="What the model must not be used for.")
    decider: str = Field(description="Owner of the limits; approves changes to them.")
    data_owner: str = Field(description="Owner of schema.yaml.")
    max_leaks: int = Field(ge=0, description="Inputs that are in two splits.")
    max_near_copy_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share of held-out inputs that have a near copy in another split.",
    )
    max_label_conflicts: int = Field(ge=0, description="Inputs that have two labels.")
    max_repeated_ids: int = Field(ge=0, description="Ids that occur more than once.")
    max_latency_p95_ms: float = Field(
        gt=0, description="95th percentile of the latency of a prediction, in milliseconds."
    )
    max_model_mb: float = Field(gt=0, description="Size of the shipped model file.")
    peak_requests_per_s: float = Field(gt=0, description="Predictions per second at the peak.")
    max_cost_usd_month: float = Field(gt=0, description="Cost of running it, in USD per month.")
    buy_usd_month: float = Field(
        gt=0, description="Cost of buying the same as a service, in USD per month."
    )
    watch: Watch = Field(Watch(), description="When the model in use needs attention.")

    @field_validator("problem")
    @classmethod
    def _check_problem(cls, value: str) -> str:
        if value != PROBLEM:
            how = "`poc2prod update --to current --answer problem=...`"
            raise ValueError(f"this code is for {PROBLEM}; change both with {how}")
        return value

    @field_validator("target")
    @classmethod
    def _check_target(cls, value: str) -> str:
        if value != TARGET:
            how = "`poc2prod update --to current --answer target=...`"
            raise ValueError(f"this code is for {TARGET}; change both with {how}")
        return value

    @property
    def max_latency_p95_s(self) -> float:
        """The latency limit in seconds, the unit of Prometheus."""
        return self.max_latency_p95_ms / 1000

    @property
    def latency_bucket(self) -> str:
        """The label `le` of the bucket of prediction_latency_seconds that ends at the limit."""
        return str(self.max_latency_p95_s)


class Params(FrameworkParams, TargetParams, frozen=True, extra="forbid"):
    """Parameters for experiments and operation; none of them is a limit."""

    seed: int = Field(description="Seed of every random number.")
    drift_window: int = Field(
        ge=50, description="Latest predictions that are compared with the reference."
    )
    drift_false_alarm_rate: float = Field(
        gt=0,
        lt=0.1,
        description="Probability of a false alarm per full window, over all signals together.",
    )
    metrics_url: str = Field(description="Where `make monitor` reads the drift scores.")


def read_yaml(path: Path, model: type[Model]) -> Model:
    """Read a YAML file into its model.

    Raises:
        SystemExit: the file is missing or not valid; every wrong key is named with its rule.
    """
    try:
        return model.model_validate(yaml.safe_load(path.read_text()))
    except FileNotFoundError:
        raise SystemExit(f"{path} is missing in {Path.cwd()}.") from None
    except yaml.YAMLError as error:
        raise SystemExit(f"{path} is not YAML: {error}") from None
    except ValidationError as error:
        wrong = (
            f"\n  {'.'.join(map(str, e['loc'])) or 'file'}: got {e['input']!r}; "
            + ("no such setting here: remove it" if e["type"] == "extra_forbidden" else e["msg"])
            for e in error.errors()
        )
        raise SystemExit(f"{path} is not valid:" + "".join(wrong)) from None


@cache
def load_scope() -> Scope:
    """Read scope.yaml, once per process."""
    return read_yaml(SCOPE, Scope)


@cache
def load_params() -> Params:
    """Read params.yaml, once per process."""
    return read_yaml(PARAMS, Params)
