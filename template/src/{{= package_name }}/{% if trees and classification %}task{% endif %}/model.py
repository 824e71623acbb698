"""The model. Replace it with any classifier of scikit-learn, LightGBM or XGBoost."""

from lightgbm import LGBMClassifier

# A finished model in this folder is taken as it is: see docs/training.md.
LABELS: list[str] = []  # in the order of its outputs, if it has numbers instead of names
TRUSTED_SHA256 = ""  # of a .joblib or .pkl file that you wrote; loading one runs code in it
ORIGIN = ""  # who trained it, on which data; shown in the model card


def build_model(seed: int) -> LGBMClassifier:
    """Return gradient-boosted trees, not fitted; a scikit-learn `Pipeline` works as well."""
    return LGBMClassifier(
        n_estimators=200, num_leaves=15, random_state=seed, n_jobs=1, verbosity=-1
    )
