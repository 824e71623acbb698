"""The model. Replace it with any regressor of scikit-learn, LightGBM or XGBoost."""

from lightgbm import LGBMRegressor

from ..problem.losses import QUANTILE
from ..scope import load_scope

# A finished model in this folder is taken as it is: see docs/training.md.
TRUSTED_SHA256 = ""  # of a .joblib or .pkl file that you wrote; loading one runs code in it
ORIGIN = ""  # who trained it, on which data; shown in the model card


def build_model(seed: int) -> LGBMRegressor:
    """Return gradient-boosted trees, not fitted; a scikit-learn `Pipeline` works as well.

    They minimise the absolute error, or the loss of the metric `pinball`.
    """
    objective = "quantile" if load_scope().metric == "pinball" else "regression_l1"
    return LGBMRegressor(
        objective=objective,
        alpha=QUANTILE,
        n_estimators=200,
        num_leaves=15,
        random_state=seed,
        n_jobs=1,
        verbosity=-1,
    )
