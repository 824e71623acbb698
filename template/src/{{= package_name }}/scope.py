"""The promises and the parameters, each read from its one file."""

from functools import cache
from pathlib import Path
from typing import Literal, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

SCOPE = Path("scope.yaml")
PARAMS = Path("params.yaml")
Model = TypeVar("Model", bound=BaseModel)

# The page of deploy/alerts/server.yml that needs the fastest burn asks for 14.4 times the error
# budget. A budget of more than 1 / 14.4 burns slower than that even if every request fails.
FASTEST_BURN = 14.4
# The rules in deploy/alerts/ look back a week at most; Prometheus keeps 15 days by default.
LOOK_BACK_S = 7 * 86_400


def _never_fires(rule: str, example: object) -> PydanticCustomError:
    """Refuse a limit with which its alert would be silent for ever."""
    words = f"{rule}, or its alert could never fire, for example {example!r}"
    return PydanticCustomError("never_fires", "{words}", {"words": words})


class Challenger(BaseModel, frozen=True, extra="forbid"):
    """What stops a challenger, on top of the promises that hold for every answer."""

    max_errors: float = Field(gt=0, le=1)
    max_slowdown: float = Field(gt=0)
    max_disagreement: float = Field(gt=0, le=1)
    max_shift: float = Field(gt=0, le=1)


class Fleet(BaseModel, frozen=True, extra="forbid"):
    """When a device needs attention, besides a broken promise of latency and drift."""

    max_silence_s: float = Field(gt=60)  # it reports once a minute
    max_staleness_days: float = Field(gt=0)
    min_disk_free_mb: float = Field(gt=0)

    @field_validator("max_silence_s")
    @classmethod
    def _check_look_back(cls, value: float) -> float:
        if value > LOOK_BACK_S:
            raise _never_fires(f"at most {LOOK_BACK_S}, which is a week", 300)
        return value


class Watch(BaseModel, frozen=True, extra="forbid"):
    """When a model in use needs attention, besides a broken promise."""

    max_drift_score: float = Field(default=1, gt=0)
    max_model_age_days: float = Field(default=90, gt=0)
    max_idle_s: float = Field(default=3600, gt=0)
    retrain_of_h: int = Field(default=6, ge=1)
    retrain_after_h: int = Field(default=3, ge=1, validate_default=True)

    @field_validator("max_idle_s", "retrain_of_h")
    @classmethod
    def _check_look_back(cls, value: float, info: ValidationInfo) -> float:
        in_seconds = info.field_name == "max_idle_s"
        unit_s = 1 if in_seconds else 3600
        example = 3600 if in_seconds else 6
        if value * unit_s > LOOK_BACK_S:
            raise _never_fires(f"at most {LOOK_BACK_S // unit_s}, which is a week", example)
        return value

    @field_validator("retrain_after_h")
    @classmethod
    def _check_retrain_window(cls, value: int, info: ValidationInfo) -> int:
        of_h: int = info.data.get("retrain_of_h", value)
        if value > of_h:
            raise _never_fires(f"at most retrain_of_h, which is {of_h}", max(of_h // 2, 1))
        return value


class FailSafe(BaseModel, frozen=True, extra="forbid"):
    """What a device says when its model has no answer, or none in time."""

    label: str = Field(min_length=1, max_length=64)
    after_times_p95: float = Field(ge=1)


class Scope(BaseModel, frozen=True, extra="forbid"):
    """What the project promised in the interview: the limit of every gate."""

    project: str
    modality: Literal["image", "audio", "tabular"]
    target: Literal["cloud", "edge", "hybrid"]
    not_for: str
    decider: str
    data_owner: str
    max_leaks: int = Field(ge=0)
    max_label_conflicts: int = Field(ge=0)
    max_repeated_ids: int = Field(ge=0)
    metric: Literal["accuracy", "macro_f1", "macro_recall"]
    min_metric: float = Field(gt=0, lt=1)
    confidence: float = Field(gt=0.5, lt=1)
    max_slice_gap: float = Field(ge=0, lt=1)
    baseline: Literal["majority", "linear"]
    min_gain_over_baseline: float
    max_onnx_difference: float = Field(gt=0)
    min_int8_agreement: float = Field(gt=0, le=1)
    max_int8_drop: float
    max_latency_p95_ms: float = Field(gt=0)
    max_model_mb: float = Field(gt=0)
    peak_requests_per_s: float = Field(gt=0)
    # All, where nothing else is promised: without a server.
    min_availability: float = Field(1.0, gt=0, le=1, validate_default=True)
    max_cost_usd_month: float = Field(gt=0)
    buy_usd_month: float = Field(gt=0)
    challenger: Challenger | None = None  # without a server there is nobody to try one
    payloads: Literal["none", "hashed", "all"] = "none"  # what only a server keeps
    ask_server_below: float = Field(0, ge=0, le=1)
    fail_safe: FailSafe = FailSafe(label="review", after_times_p95=10)  # only a device reads it
    watch: Watch = Watch()
    fleet: Fleet | None = Field(None, validate_default=True)  # without devices there is none

    @field_validator("min_availability")
    @classmethod
    def _check_error_budget(cls, value: float, info: ValidationInfo) -> float:
        is_served = info.data.get("target") != "edge"
        if is_served and not 1 - 1 / FASTEST_BURN < value < 1:
            raise _never_fires(f"above {1 - 1 / FASTEST_BURN:.4f} and below 1", 0.999)
        return value

    @field_validator("fleet")
    @classmethod
    def _require_for_devices(cls, value: Fleet | None, info: ValidationInfo) -> Fleet | None:
        if value is None and info.data.get("target") in ("edge", "hybrid"):
            words = "alerts about devices read it, and `make upgrade` brings its keys"
            raise PydanticCustomError("missing", "{words}", {"words": words})
        return value

    @property
    def max_latency_p95_s(self) -> float:
        """The promised p95 in seconds, the unit of Prometheus."""
        return self.max_latency_p95_ms / 1000

    @property
    def latency_bucket(self) -> str:
        """The label `le` of the bucket of prediction_latency_seconds that ends at the promise."""
        return str(self.max_latency_p95_s)

    @property
    def deadline_ms(self) -> float:
        """After this, a device does not wait for its model any longer."""
        return self.fail_safe.after_times_p95 * self.max_latency_p95_ms


class Params(BaseModel, frozen=True, extra="forbid"):
    """What may be turned while experimenting."""

    seed: int
    training_threads: int = Field(ge=1)
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    calibration_examples: int = Field(ge=1)
    drift_window: int = Field(ge=50)
    drift_false_alarm_rate: float = Field(gt=0, lt=0.1)
    metrics_url: str
    journal_share: float = Field(1, ge=0, le=1)  # what only a server reads
    journal_days: float = Field(30, gt=0)
    journal_mb: float = Field(500, ge=1)
    labelled_window: int = Field(200, ge=20)
    capture: str = ""  # what only a device reads has a default
    capture_every_s: float = Field(1, gt=0)
    outbox_mb: float = Field(8, ge=1)
    server_url: str = Field("", pattern=r"^(https?://\S+)?$")
    unsure_mb: float = Field(8, ge=1)
    upload_url: str = Field("", pattern=r"^(https?://\S+|mqtts?://[^/@\s]+/[^\s#+]+)?$")
    keep_days: float = Field(90, gt=0)
    device: str = Field("", pattern=r"^[A-Za-z0-9_.:-]{0,64}$")
    update_url: str = Field("", pattern=r"^(https?://\S+)?$")
    update_every_s: int = Field(3600, ge=1)


def read_yaml(path: Path, model: type[Model]) -> Model:
    """Read one YAML file into its model.

    Raises:
        SystemExit: the file is missing, or keys of it are wrong; each is named with its rule.
    """
    try:
        return model.model_validate(yaml.safe_load(path.read_text()))
    except (FileNotFoundError, yaml.YAMLError) as error:
        raise SystemExit(f"{path} is missing here, or no YAML ({error}).") from None
    except ValidationError as error:
        wrong = (
            f"\n  {'.'.join(map(str, e['loc'])) or 'file'}: got {e['input']!r}; {e['msg']}"
            for e in error.errors()
        )
        raise SystemExit(f"{path} is not valid:" + "".join(wrong)) from None


@cache
def load_scope() -> Scope:
    """Read the promises, once."""
    return read_yaml(SCOPE, Scope)


@cache
def load_params() -> Params:
    """Read the parameters, once."""
    return read_yaml(PARAMS, Params)
