"""Reports: a table whose columns line up, and a chart that is valid SVG."""

import xml.etree.ElementTree as ElementTree

import pytest

from bench.harness.chart import Bar, bars
from bench.harness.report import number, table
from bench.harness.results import Measure, Results


def test_a_table_lines_up_and_judges_the_first_peer() -> None:
    measure = Measure("GET", "req/s", target=3)
    results = Results([measure], "us")
    for server, values in {"us": (40_000.0, 44_000.0), "peer": (10_000.0, 11_000.0)}.items():
        for value in values:
            results.add(measure, server, value)
    header, _, row = table(results, ["peer", "absent"]).splitlines()
    assert len(header) == len(row)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [
        "GET",
        "req/s",
        "42 000 (40 000 to 44 000)",
        "10 500 (10 000 to 11 000)",
        "-",
        "4.00",
        "-",
        "≥ 3",
        "reached",
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1234567.0, "1 234 567"), (99.95, "100.0"), (12.34, "12.3"), (1.234, "1.23")],
)
def test_numbers_keep_three_digits_that_count(value: float, shown: str) -> None:
    assert number(value) == shown


def test_bars_grow_with_the_ratio_and_start_at_equality() -> None:
    document = ElementTree.fromstring(
        bars(
            "a < b", [Bar("slower", 0.5, None), Bar("faster", 2.0, 1.5), Bar("fastest", 8.0, None)]
        )
    )
    shapes = [dict(one.attrib) for one in document.iter() if one.tag.endswith("rect")][1:]
    slower, faster, fastest = (float(shape["width"]) for shape in shapes)
    assert slower == pytest.approx(faster, abs=0.2)
    assert fastest == pytest.approx(3 * faster, abs=0.4)
    assert float(shapes[1]["x"]) == float(shapes[2]["x"]) > float(shapes[0]["x"])
