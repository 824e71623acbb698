"""Read answers files: YAML, one `question: answer` per line."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

from .questions import describe
from .refusal import Refusal

ANSWERS = ".copier-answers.yml"  # where Copier records them in a project
CONFLICT = re.compile(r"^(<{7}|={7}|>{7})( |$)", re.MULTILINE)
RULE = "write one `question: answer` per line, like `target: edge`"


def read_answers(path: Path) -> tuple[dict[Any, Any], list[str]]:
    """Return the answers in a file, and a message for each question that is answered twice.

    Raises Refusal if the file cannot be read or is not a YAML mapping.
    """
    try:
        text = path.read_text("utf-8")
        if marked := CONFLICT.search(text):
            number = text.count("\n", 0, marked.start()) + 1
            raise Refusal(
                f"{path}, line {number}: conflict markers of git; keep one line per question, and "
                "delete the markers"
            )
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        given = loader.construct_document(node) if node else None
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}; name an answers file") from None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise Refusal(f"{path}{line}: not YAML, {error.problem}; {RULE}") from None
    except (yaml.YAMLError, ValueError, RecursionError, LookupError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise Refusal(f"{path}: not YAML, {reason}; {RULE}") from None
    if not (isinstance(node, yaml.MappingNode) and isinstance(given, dict)):
        raise Refusal(f"{path}: got {describe(given)}; {RULE}")
    return given, _list_duplicates(node)


def _list_duplicates(node: yaml.MappingNode) -> list[str]:
    lines = defaultdict(list)
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            lines[key.value].append(str(key.start_mark.line + 1))
    return [
        f"{name}: answered more than once, on lines {' and '.join(where)}; keep one"
        for name, where in lines.items()
        if len(where) > 1
    ]
