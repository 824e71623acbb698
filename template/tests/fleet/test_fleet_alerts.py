"""Every limit in the section `fleet` of scope.yaml has an alert rule."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_every_limit_under_fleet_is_read_by_a_rule() -> None:
    limits = yaml.safe_load((ROOT / "scope.yaml").read_text())["fleet"].keys()
    rules = (ROOT / "deploy/alerts/fleet.yml").read_text()
    assert limits <= set(re.findall(r':scope_limit:strictest\{key="(\w+)"\}', rules))
