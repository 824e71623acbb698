"""Reads files of answers: YAML, one `question: answer` per line."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

from .questions import describe
from .refusal import Refusal

ANSWERS = ".copier-answers.yml"  # where Copier records them in a project
RULE = "write one `question: answer` a line, like `target: edge`"


def read_answers(path: Path) -> tuple[dict[Any, Any], list[str]]:
    """Read what a file answers, and which questions it answers twice.

    Raises Refusal when the file cannot be read or is no YAML mapping.
    """
    try:
        loader = yaml.SafeLoader(path.read_text("utf-8"))
        node = loader.get_single_node()
        given = loader.construct_document(node) if node else None
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}; name a file of answers") from None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise Refusal(f"{path}{line}: not YAML, {error.problem}; {RULE}") from None
    except (yaml.YAMLError, ValueError, RecursionError, LookupError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise Refusal(f"{path}: not YAML, {reason}; {RULE}") from None
    if not (isinstance(node, yaml.MappingNode) and isinstance(given, dict)):
        raise Refusal(f"{path}: got {describe(given)}; {RULE}")
    return given, _answered_twice(node)


def _answered_twice(node: yaml.MappingNode) -> list[str]:
    lines = defaultdict(list)
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            lines[key.value].append(str(key.start_mark.line + 1))
    return [
        f"{name}: answered more than once, on lines {' and '.join(where)}; keep one"
        for name, where in lines.items()
        if len(where) > 1
    ]
