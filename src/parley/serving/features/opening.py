"""Opening what a registered table declares, or does not declare, as its source when a model is used."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from functools import partial

from parley.core.errors import UsageError
from parley.core.log import Log
from parley.data.ids import IdRule, parse_rule
from parley.data.profile import Family
from parley.data.sources import SqlSource, parse_source
from parley.learn.shares import ModelShare
from parley.serving.features.coded import Coding, Features
from parley.serving.features.function import PYTHON, FunctionSource
from parley.serving.features.lines import Statement
from parley.serving.features.query import QuerySource
from parley.serving.features.registered import RegisteredTable, Snapshot
from parley.serving.features.sources import FetchedFeatures, RowSource
from parley.store.catalogue import Serving, TableRecord


async def open_features(
    record: TableRecord,
    share: ModelShare,
    rule: str,
    log: Log,
    *,
    clock: Callable[[], float] = time.monotonic,
    environment: Mapping[str, str] = os.environ,
) -> Features:
    """The columns of a share out of the declared source.

    Args:
        record: the registered table.
        share: ours of the model.
        rule: by which the plan's parties compare ids.
        log: told what fails in passing, and exceptions of a function.
        clock: monotonic seconds, for ages.
        environment: where variables of a url are looked up.

    Raises:
        UsageError: the source cannot be opened, or the table itself cannot be read.
    """
    parsed = parse_rule(rule)
    serving = record.serving or Serving()
    if not serving.source:
        coding = Coding(share.columns, f"table {record.name!r}")
        reading = partial(Snapshot.read, record, coding, parsed, environment)
        return await asyncio.to_thread(RegisteredTable, reading, parsed, serving.age, clock, log)
    source = await asyncio.to_thread(open_source, record, serving, parsed, log, environment)
    coding = Coding(share.columns, shown(serving))
    return FetchedFeatures(source, coding, record, parsed, serving, clock=clock, environment=environment)


def open_source(
    record: TableRecord, serving: Serving, rule: IdRule, log: Log, environment: Mapping[str, str]
) -> RowSource:
    """The source that a table declares, which is not the table itself.

    Raises:
        UsageError: as `check_serving`, and what importing a function raises.
    """
    source = check_serving(serving)
    if source is None:
        return FunctionSource(serving.source, record.id, rule, deadline=serving.deadline, log=log)
    return QuerySource(
        source,
        record.id,
        _family(record),
        rule,
        deadline=serving.deadline,
        environment=environment,
    )


def check_serving(serving: Serving) -> SqlSource | None:
    """Whether a declared source is one; the query, if it is one.

    Raises:
        UsageError: ``serving-source``, ``serving-parameter``, or what `parse_source` raises.
    """
    if serving.source.startswith(PYTHON):
        if serving.query is None:
            return None
        raise UsageError(
            "sql-query-unneeded",
            f"a query was given for {serving.source!r}, which is no database",
            remedy="leave the query out, or name a database",
        )
    source = parse_source(serving.source, serving.query)
    if not isinstance(source, SqlSource):
        raise UsageError(
            "serving-source",
            f"{source} is a file or object, which cannot be asked by id",
            remedy="name a database with a query, or python:package.module:function; leave --source out to"
            " use the registered table itself",
        )
    Statement.of(source)
    return source


def shown(serving: Serving) -> str:
    """The source without secrets; empty: the registered table itself."""
    if not serving.source or serving.source.startswith(PYTHON):
        return serving.source
    return str(parse_source(serving.source, serving.query))


def _family(record: TableRecord) -> Family:
    """What the table's ids are."""
    columns = () if record.profile is None else record.profile.columns
    return next((column.family for column in columns if column.name == record.id), "text")
