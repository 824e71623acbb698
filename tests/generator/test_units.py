"""Numbers as people type them: with units, separators and decimal commas."""

import pytest

from conftest import QUESTIONS

ACCEPTED = [
    ("max_latency_p95_ms", "200 ms", 200),
    ("max_latency_p95_ms", "1 000 milliseconds", 1000),
    ("max_latency_p95_ms", "1,000.5", 1000.5),
    ("max_latency_p95_ms", "1,5", 1.5),
    ("peak_requests_per_s", "0.2/s", 0.2),
    ("peak_requests_per_s", "20 requests per second", 20),
    ("peak_requests_per_s", "1e3", 1000),
    ("max_model_mb", "5MB", 5),
    ("max_model_mb", "1\u202f000 MB", 1000),
    ("max_cost_usd_month", "$300", 300),
    ("max_cost_usd_month", "300 USD", 300),
    ("max_cost_usd_month", "300 USD/month", 300),
    ("min_metric", "0,9", 0.9),
    ("min_metric", "95 %", 0.95),
    ("min_metric", "57%", 0.57),
]


@pytest.mark.parametrize(("name", "typed", "number"), ACCEPTED)
def test_accepts_the_unit_of_the_question(name: str, typed: str, number: float) -> None:
    assert QUESTIONS.parse(name, typed) == number


EXPLAINED = [
    ("max_latency_p95_ms", "0.2 s", "a number in ms; write 200"),
    ("max_latency_p95_ms", "5 MB", "a number in ms, like 50.0"),
    ("peak_requests_per_s", "12 per minute", "a number per second; write 0.2"),
    ("max_model_mb", "1.5 GB", "a number in MB; write 1500"),
    ("max_cost_usd_month", "300 EUR", "a number in USD per month, like 200.0"),
    ("max_cost_usd_month", "1.000.000", "a number in USD per month, like 200.0"),
    ("min_metric", "0.9 ms", "a number, like 0.9"),
    ("min_metric", "12,34,56", "a number, like 0.9"),
]


@pytest.mark.parametrize(("name", "typed", "rule"), EXPLAINED)
def test_explains_another_unit(name: str, typed: str, rule: str) -> None:
    value = QUESTIONS.parse(name, typed)
    assert value == typed
    before, _ = QUESTIONS.settle({}, until=name)
    assert QUESTIONS.problem(name, value, before) == rule
