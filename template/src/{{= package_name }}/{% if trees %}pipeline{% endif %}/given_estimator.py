"""Load a finished model from `task/`, as its library saved it."""

import io
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import joblib

from ..problem.estimators import XGBOOST
from ..refusal import Refusal
from ..task import model as task_model
from .estimator import load_skops

FOLDER = Path(str(task_model.__file__)).parent
NATIVE = (".skops", ".txt", ".json", ".ubj")  # skops, LightGBM and XGBoost: data, no code
PICKLES = (".joblib", ".pkl", ".pickle")


def find_given() -> Path | None:
    """Return the finished model in `task/`, or None if the model is to be fitted.

    Raises:
        Refusal: there are several.
    """
    paths = [p for end in (*NATIVE, *PICKLES) if (p := FOLDER / f"model{end}").exists()]
    if len(paths) > 1:
        names = [path.name for path in paths]
        raise Refusal("finished models in task/", names, "one of them", names[:1])
    return paths[0] if paths else None


def load_given(path: Path) -> Any:
    """Return the finished model.

    Raises:
        Refusal: the file is damaged, or a pickle that `TRUSTED_SHA256` does not name.
    """
    if path.suffix in PICKLES:
        return _load_pickle(path)
    try:
        if path.suffix == ".txt":
            return import_module("lightgbm").Booster(model_file=path)
        if path.suffix == ".skops":
            return load_skops(path)
        model = getattr(import_module("xgboost"), XGBOOST)()
        model.load_model(path)
    except Refusal:
        raise
    except Exception as error:  # each library has its own errors
        why = str(error).splitlines()[0]
        rule = f"a model that skops, LightGBM or XGBoost saved ({why})"
        raise Refusal("model", path.name, rule, "model.txt") from None
    return model


def _load_pickle(path: Path) -> Any:
    content = path.read_bytes()
    digest = sha256(content).hexdigest()
    trusted = getattr(task_model, "TRUSTED_SHA256", "")
    if digest != trusted:
        rule = (
            "loading a pickle runs any code that its author put into it, which can read, send or"
            " delete your files: save the model with `skops.io.dump` as model.skops instead, or,"
            " only if you wrote this file, copy its hash into task/model.py"
        )
        raise Refusal("TRUSTED_SHA256", trusted, f"{path.name}: {rule}", digest)
    print(f"Warning: {path.name} is a pickle, and code in it runs now (TRUSTED_SHA256).")
    try:
        return joblib.load(io.BytesIO(content))  # reads what `pickle` wrote, too
    except Exception as error:  # unpickling raises any exception
        why = str(error).splitlines()[0]
        raise Refusal("model", path.name, f"a pickle ({why})", "model.joblib") from None


def check_width(model: Any, width: int) -> None:
    """Compare the number of inputs with that of the features.

    Raises:
        Refusal: they differ.
    """
    expected = getattr(model, "n_features_in_", None)
    if expected is None and hasattr(model, "num_feature"):
        expected = model.num_feature()
    if expected not in (None, width):
        rule = f"the {expected} inputs of the finished model, in its order; edit features()"
        raise Refusal("width of features() in task/features.py", width, rule, expected)
