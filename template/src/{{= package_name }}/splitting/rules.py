"""`split` in `schema.yaml`: what decides whether an example is for training, validation or test."""

import re
from pathlib import PurePath
from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from ..refusal import Refusal

By = Literal["payload", "id", "group", "time", "given", "function"]
NEED_A_PLACE: tuple[By, ...] = ("group", "time", "given")


class Split(BaseModel, frozen=True, extra="forbid"):
    """How the examples are divided. Projects made before 0.5.0 have none: they divide by id."""

    by: By = "id"
    column: str = ""  # of a table
    folder: int = Field(default=0, ge=0)  # of the path of a file: 1 is the first below the source
    pattern: str = ""  # a regular expression that matches a part of the path of a file
    seed: int = Field(default=0, ge=0)  # of the hash: `ingest PATH` chooses one

    @model_validator(mode="after")
    def _has_one_place(self) -> Self:
        places = [name for name in ("column", "folder", "pattern") if getattr(self, name)]
        if self.by in NEED_A_PLACE and len(places) != 1:
            example = f"{{by: {self.by}, column: NAME}}"
            raise ValueError(f"by: {self.by} needs either column, folder or pattern, as {example}")
        if self.by not in NEED_A_PLACE and places:
            raise ValueError(f"by: {self.by} does not use {places[0]}; is it by: group?")
        try:
            re.compile(self.pattern)
        except re.error as error:
            message = f"pattern {self.pattern!r} is not a regular expression: {error}"
            raise ValueError(message) from None
        return self

    @property
    def place(self) -> str:
        """Return where the key of an example is found."""
        found = {"column": self.column, "folder": self.folder, "pattern": self.pattern}
        return next((f"{name} {value}" for name, value in found.items() if value), "")

    def locate(self, path: PurePath) -> tuple[str, list[str]]:
        """Return the group of a file, and its folders without the one that names the group.

        Raises:
            Refusal: the path, which is relative to the source, does not contain the group.
        """
        folders = list(path.parts[:-1])
        if self.column:
            rule = "a folder or a pattern, because the examples are files"
            raise Refusal("split.column", self.column, rule, r"{by: group, pattern: 'person\d+'}")
        if self.folder:
            if len(folders) < max(2, self.folder):
                rule = f"a label and a group in every path, but {path} has too few folders"
                raise Refusal("split.folder", self.folder, rule, "label/person-7/1.png")
            return folders.pop(self.folder - 1), folders
        if not self.pattern:
            return "", folders
        found = re.search(self.pattern, path.as_posix())
        if not found or not found[found.re.groups and 1]:
            rule = f"a pattern that matches every path, but it does not match {path}"
            raise Refusal("split.pattern", self.pattern, rule, r"person\d+")
        return found[found.re.groups and 1], folders
