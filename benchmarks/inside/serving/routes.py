"""The server of a render with other routes for `/predict`: `routes.py ROUTE`.

"direct" is the route of the template. "middleware" runs it behind FastAPI's middleware. "ordinary"
is FastAPI's own route for the same function, with the API key check as a dependency.
"""

import sys
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from scratch_detector.serving import app, inference


class Ordinary(APIRoute):
    """The route that `app.post("/predict")` would create."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, dependencies=[Depends(inference.require_key)], **more)


route = sys.argv[1]
if route != "direct":
    app.PredictionServer.__call__ = FastAPI.__call__  # type: ignore[method-assign]
if route == "ordinary":
    app.DirectRoute = Ordinary  # type: ignore[assignment, misc]
app.rehearse()
