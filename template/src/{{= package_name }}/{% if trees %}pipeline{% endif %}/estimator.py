"""Store estimators of scikit-learn, LightGBM and XGBoost, and convert them to ONNX.

They are stored with skops, not with pickle: loading a file checks its types first, and runs no
code of an unknown type.
"""

import copy
import re
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType as BoosterInput
from skl2onnx import to_onnx, update_registered_converter
from skl2onnx.common import shape_calculator
from skl2onnx.common.data_types import FloatTensorType
from skops import io

from ..artifacts import CHECKPOINT
from ..problem.answer import Head
from ..refusal import Refusal
from .splits import require_head

OPSETS = {"": 17, "ai.onnx.ml": 3}  # which all supported versions of onnxruntime run
BOOSTER_OPSET = 15  # the highest of onnxmltools
# What skops does not know: compiled types of trees, and the models of other libraries.
TRUSTED = {
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "sklearn._loss._loss.CyHalfBinomialLoss",
    "sklearn._loss._loss.CyHalfMultinomialLoss",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRegressor",
}
OWN = f"{__package__.partition('.')[0]}.task."  # your transformers
CONVERTERS = {  # module of onnxmltools, function in it, estimators
    "lightgbm": ("LightGbm", "convert_lightgbm", ("LGBMClassifier", "LGBMRegressor")),
    "xgboost": ("XGBoost", "convert_xgboost", ("XGBClassifier", "XGBRegressor")),
}
OPTIONS = {"zipmap": [False, True, "columns"], "nocl": [True, False], "raw_scores": [True, False]}


def save_checkpoint(model: Any, facts: dict[str, Any]) -> None:
    """Write the fitted estimator, and what the ONNX file has to say about it.

    Raises:
        Refusal: it contains types that `load_checkpoint` would refuse.
    """
    CHECKPOINT.parent.mkdir(parents=True, exist_ok=True)
    CHECKPOINT.unlink(missing_ok=True)
    draft = CHECKPOINT.with_suffix(".part")
    io.dump(facts | {"estimator": model}, draft)
    _list_types(draft)
    draft.replace(CHECKPOINT)


def load_checkpoint() -> tuple[Any, dict[str, Any]]:
    """Return the fitted estimator, and the facts about it.

    Raises:
        SystemExit: the checkpoint is missing, damaged, of unknown types, or has other labels.
    """
    try:
        content = load_skops(CHECKPOINT)
        head = Head.model_validate(content)
        model = content.pop("estimator")
    except Exception as error:  # skops raises any exception for a damaged file
        why = str(error).splitlines()[0]
        words = f"is not a checkpoint of this model ({why})"
        raise SystemExit(f"{CHECKPOINT} {words}. Run the train stage.") from None
    require_head(CHECKPOINT, head)
    return model, content


def load_skops(path: Path) -> Any:
    """Load a file of skops if it contains only known types, and types of `task/`.

    Raises:
        Refusal: it contains others, which could run code.
    """
    return io.load(path, trusted=_list_types(path))


def _list_types(path: Path) -> list[str]:
    """Return the types that skops does not know."""
    found: list[str] = io.get_untrusted_types(file=path)
    unknown = [name for name in found if name not in TRUSTED and not name.startswith(OWN)]
    if unknown:
        rule = "only estimators of scikit-learn, LightGBM and XGBoost, and classes in task/"
        raise Refusal(f"types in {path.name}", unknown, rule, "sklearn.pipeline.Pipeline")
    return found


def describe(model: Any) -> str:
    """Return the class of an estimator, or those of the steps of a pipeline."""
    steps = [step for _, step in getattr(model, "steps", [("", model)])]
    return ", ".join(type(step).__name__ for step in steps)


def convert(model: Any, width: int) -> onnx.ModelProto:
    """Return the estimator as ONNX, with the input `x`, float32 (n, width).

    Raises:
        Refusal: it cannot be converted.
    """
    _register_converters()
    shape = [None, width]
    options = {id(model): {"zipmap": False}} if hasattr(model, "predict_proba") else None
    try:
        if type(model).__name__ == "Booster":  # LightGBM reads its own files as one
            types: list[Any] = [("x", BoosterInput(shape))]
            how = {"target_opset": BOOSTER_OPSET, "zipmap": False}
            graph = convert_lightgbm(_round_thresholds(model), initial_types=types, **how)
        else:
            types = [("x", FloatTensorType(shape))]
            graph = to_onnx(model, initial_types=types, options=options, target_opset=OPSETS)
    except Exception as error:  # converters raise any exception
        rule = f"an estimator that skl2onnx converts ({str(error).splitlines()[0][:120]})"
        raise Refusal("model in task/model.py", describe(model), rule, "LGBMClassifier") from None
    assert isinstance(graph, onnx.ModelProto)  # noqa: S101 (the libraries are not typed)
    return graph


def _register_converters() -> None:
    """Let skl2onnx convert estimators of the other libraries that are installed."""
    for library, (module, function, names) in CONVERTERS.items():
        if not find_spec(library):
            continue
        path = f"onnxmltools.convert.{library}.operator_converters.{module}"
        converter = getattr(import_module(path), function)
        for name in names:
            kind = "classifier" if name.endswith("Classifier") else "regressor"
            shapes = getattr(shape_calculator, f"calculate_linear_{kind}_output_shapes")
            options = OPTIONS if kind == "classifier" else {"split": None}
            estimator = getattr(import_module(library), name)
            convert = partial(_convert_lightgbm, converter) if library == "lightgbm" else converter
            update_registered_converter(estimator, f"Own{name}", shapes, convert, options=options)


def _convert_lightgbm(converter: Any, scope: Any, operator: Any, container: Any) -> None:
    """Call a converter of onnxmltools for the estimator with rounded thresholds."""
    operator.raw_operator = copy.copy(operator.raw_operator)
    operator.raw_operator._Booster = _round_thresholds(operator.raw_operator.booster_)
    converter(scope, operator, container)


def _round_thresholds(booster: Any) -> Any:
    """Return a LightGBM model with the same answers for float32, which float32 thresholds allow.

    Its thresholds are float64, between two values of the training data. ONNX rounds them to the
    nearest float32, which can be the larger of the two: that value would then go the other way.
    """
    text = re.sub(r"\ntree_sizes=.*", "", booster.model_to_string())  # in bytes; they change
    text = re.sub(r"(?<=\nthreshold=).*", _round_line, text)
    return type(booster)(model_str=text)


def _round_line(line: re.Match[str]) -> str:
    exact = np.array(line[0].split(), np.float64)
    rounded = exact.astype(np.float32)
    below = np.nextafter(rounded, np.float32(-np.inf))
    return " ".join(repr(float(value)) for value in np.where(rounded > exact, below, rounded))
