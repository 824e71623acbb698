"""Rows of choices in which every pair of choices that fit each other occurs."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from allpairspy import AllPairs

Row = dict[str, Any]


def make_pairwise(options: Mapping[str, Sequence[Any]], excluded: set[frozenset[Any]]) -> list[Row]:
    """Return few rows, each with one choice per option; excluded pairs of values do not occur."""

    def is_offered(row: Mapping[str, Any]) -> bool:
        pairs = itertools.combinations(map(str, row.values()), 2)
        return excluded.isdisjoint(map(frozenset, pairs))

    rows = [
        dict(zip(options, row, strict=True))
        for row in AllPairs(
            options.values(),
            filter_func=lambda row: is_offered(dict(zip(options, row, strict=False))),
        )
    ]
    every = [
        {one: a, other: b}
        for one, other in itertools.combinations(options, 2)
        for a, b in itertools.product(options[one], options[other])
    ]
    needed = [pair for pair in every if is_offered(pair)]
    # With a filter, AllPairs leaves pairs out.
    while missing := [p for p in needed if not any(p.items() <= row.items() for row in rows)]:
        row: Row = {}
        for pair in missing:
            if is_offered(row | pair) and all(row.get(n, v) == v for n, v in pair.items()):
                row |= pair
        for name, values in options.items():
            if name not in row:
                row[name] = next(v for v in values if is_offered(row | {name: v}))
        rows.append({name: row[name] for name in options})
    return rows
