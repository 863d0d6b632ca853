"""The report of a run in words and tables."""

from collections.abc import Iterable
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from parley.cli.output import bullets, columns, facts, heading, size
from parley.party.report import Quality, RunReport, StepCost

_IMPORTANT: Final = 8
_BAR: Final = 20
_DIGITS: Final = {"auc": 4, "ks": 4, "accuracy": 4, "rmse": 6}


def show_report(console: Console, report: RunReport) -> None:
    """Print a run's report, for the party that led it."""
    console.print(Text.assemble((report.run, "bold"), f" finished: {report.rounds} rounds"))
    facts(console, _rows(report))
    if report.quality:
        heading(console, f"quality on the {report.test:,} rows held out")
        console.print(_quality(report.quality))
    heading(console, "columns that matter most")
    console.print(_importances(report))
    heading(console, "where time and bytes went, on our side")
    console.print(_costs(report.costs))
    heading(console, "what each side learnt of the others, besides the model")
    for learnt in report.learnt:
        console.print(Text(f"  {learnt.party}"))
        bullets(console, learnt.facts)
    if report.warnings:
        heading(console, "worth knowing about our own table")
        for warning in report.warnings:
            console.print(Text(f"  · {warning}"))
    heading(console, "our piece of the model")
    console.print(Text(f"  parley model show {report.run}"))


def _rows(report: RunReport) -> list[tuple[str, str]]:
    entered = ", ".join(f"{party} {count:,}" for party, count in report.rows.items())
    parts = (("training", report.training), ("validation", report.validation), ("held out", report.test))
    used = ", ".join(f"{count:,} {name}" for name, count in parts if count)
    return [("ids entered", entered), ("in common", f"{report.common:,}"), ("of these", used)]


def _quality(quality: Iterable[Quality]) -> Table:
    by_model: dict[str, dict[str, float | None]] = {}
    for each in quality:
        by_model.setdefault(each.model, {})[each.metric] = each.value
    metrics = list(next(iter(by_model.values())))
    table = columns("", *(metric.upper() for metric in metrics), right=[each.upper() for each in metrics])
    for model, values in by_model.items():
        cells = [_measure(metric, values.get(metric)) for metric in metrics]
        table.add_row(Text(f"  {model}"), *cells, style="bold" if model == "joint" else None)
    return table


def _measure(metric: str, value: float | None) -> str:
    return "not defined" if value is None else f"{value:.{_DIGITS.get(metric, 4)}f}"


def _importances(report: RunReport) -> Table:
    total = sum(feature.gain for feature in report.importances) or 1.0
    table = columns("  party", "column", "share of gain", "", "splits", right=("share of gain", "splits"))
    for feature in report.importances[:_IMPORTANT]:
        share = feature.gain / total
        bar = Text("█" * max(1, round(share * _BAR)), style="cyan")
        table.add_row(f"  {feature.party}", Text(feature.column), f"{share:.1%}", bar, f"{feature.splits:,}")
    left = len(report.importances) - _IMPORTANT
    if left > 0:
        table.add_row("", Text(f"and {left} more", style="dim"))
    return table


def _costs(costs: Iterable[StepCost]) -> Table:
    headings = ("seconds", "crypto", "network", "waiting", "sent", "received")
    table = columns("  step", *headings, right=headings)
    for cost in costs:
        table.add_row(
            f"  {cost.step}",
            *(f"{value:.2f}" for value in (cost.seconds, cost.crypto, cost.network, cost.waiting)),
            size(cost.sent),
            size(cost.received),
        )
    return table
