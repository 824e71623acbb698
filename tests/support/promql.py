"""Check PromQL expressions against the metrics that a process exports."""

import re
from collections.abc import Iterator
from typing import Any

import promql_parser

Samples = dict[str, list[dict[str, str]]]
OF_PROMETHEUS = {"job", "instance"}  # labels that Prometheus adds on scraping
SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def samples(metrics: str) -> Samples:
    """Parse `/metrics`: the labels of each series, by metric name."""
    found: Samples = {}
    for name, labels in SAMPLE.findall(metrics):
        found.setdefault(name, []).append(dict(LABEL.findall(labels)))
    return found


def parts(node: Any) -> Iterator[Any]:
    """Yield all nodes of a parsed expression."""
    yield node
    for name in ("expr", "lhs", "rhs", "vector_selector", "args"):
        below = getattr(node, name, None)
        for child in below if isinstance(below, list) else [below]:
            if child is not None:
                yield from parts(child)


def find_metrics(expression: str, known: Samples) -> set[str]:
    """Return the metrics that an expression reads, after checking that they are exported.

    Raises:
        ValueError: the expression is not PromQL.
        AssertionError: a name, a label or a value of a label is not exported.
    """
    names, labels = set[str](), set[str]()
    for node in parts(promql_parser.parse(expression)):
        if isinstance(node, promql_parser.VectorSelector):
            assert node.name in known, f"{node.name} is not exported: {expression}"
            names.add(node.name)
            for matcher in node.matchers.matchers:
                values = {series.get(matcher.name, "") for series in known[node.name]}
                pattern = matcher.value if "Re" in str(matcher.op) else re.escape(matcher.value)
                fits = any(re.fullmatch(pattern, value) for value in values)
                assert fits, f"no {node.name} has {matcher.name} {matcher.value}: {expression}"
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            labels |= set(node.modifier.labels)
        elif isinstance(node, promql_parser.BinaryExpr) and node.modifier:
            labels |= set(getattr(node.modifier.matching, "labels", []))
    there = {label for name in names for series in known[name] for label in series}
    assert labels <= there | OF_PROMETHEUS, f"no label {labels - there}: {expression}"
    return names
