"""Our server with `/predict` as an ordinary FastAPI route, or as ours behind FastAPI's middleware.

`routes.py ROUTE`: "direct" is what the template ships, "middleware" goes through FastAPI's stack to
the same route, "ordinary" is the route that FastAPI makes of the same function, with the check of
the API key as a dependency.
"""

import sys
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from scratch_detector.serving import app, inference


class Ordinary(APIRoute):
    """What `app.post("/predict")` makes."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, dependencies=[Depends(inference.require_key)], **more)


route = sys.argv[1]
if route != "direct":
    app.PredictionServer.__call__ = FastAPI.__call__  # type: ignore[method-assign]
if route == "ordinary":
    app.DirectRoute = Ordinary  # type: ignore[assignment, misc]
app.rehearse()
