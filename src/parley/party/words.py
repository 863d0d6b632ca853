"""What stands on the ledger, in words."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from parley.ledger.contract import plan_id
from parley.ledger.contract.plans import Terms
from parley.ledger.contract.refusal import Refusal
from parley.party.chronicle import Entry

SHORT: Final = 12
"""Letters of an id that are shown; any unique beginning is accepted."""
Body = Mapping[str, Any]
"""The body of a transaction; of a refused one, it may hold anything."""


def moment(seconds: float) -> str:
    """A time, as our clock shows it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def count(number: int, thing: str, things: str = "") -> str:
    """``1 run``, ``2 runs``; ``things``: a plural of another form."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def bucket(rows: int) -> str:
    """A bucket of numbers of rows."""
    return f"{1 << rows:,} to {(2 << rows) - 1:,} rows"


def deed(entry: Entry) -> str:
    """What a record says its sender did or wanted; a body of no sense gives the type alone."""
    tell = _DEEDS.get(entry.type)
    try:
        if entry.type == "plan.propose":
            return _proposes_plan(entry.sender, entry.body)
        return entry.type if tell is None else tell(entry.body)
    except (KeyError, TypeError, ValueError, AttributeError, msgspec.ValidationError, Refusal):
        return entry.type


def subject_in_words(subject: Body) -> str:
    """What is voted on."""
    tell = _SUBJECTS.get(str(subject["kind"]))
    return str(subject["kind"]) if tell is None else tell(subject)


_SUBJECTS: Final[dict[str, Callable[[Body], str]]] = {
    "admit": lambda it: f"admit {it['member']} as {it['role']}",
    "remove": lambda it: f"remove {it['member']}: {it['why']}",
    "suspend": lambda it: f"suspend {it['member']}: {it['why']}",
    "reinstate": lambda it: f"reinstate {it['member']}: {it['why']}",
    "threshold": lambda it: (
        f"require {it['threshold']['yes']} of {it['threshold']['out_of']} for {it['vote']}"
    ),
    "version": lambda it: f"use version {it['version']} of the contract from height {it['height']}",
    "sequencer": lambda it: f"let {it['member']} order the transactions",
    "engine": lambda it: f"move to CometBFT at height {it['height']}",
}


def _short(identifier: object) -> str:
    return str(identifier)[:SHORT]


def _proposes_plan(sender: str, body: Body) -> str:
    terms = Terms.of(body["terms"])
    return f"proposes plan {_short(plan_id(sender, terms))}: {terms.purpose}"


def _committed(body: Body) -> str:
    return f"round {body['round']} of {body['run']} ({body['messages']:,} messages, root {body['root'][:8]})"


def _committed_several(body: Body) -> str:
    last = body["first"] + len(body["rounds"]) - 1
    messages = sum(said["messages"] for said in body["rounds"])
    rounds = f"rounds {body['first']} to {last}" if last > body["first"] else f"round {last}"
    return f"{rounds} of {body['run']} ({messages:,} messages)"


def _measures(body: Body) -> str:
    return ", ".join(f"{each['name']} {each['ppm'] / 1_000_000:.4f}" for each in body["metrics"])


def _grant(body: Body) -> str:
    kind = body["kind"]
    much = f"{count(body['runs'], 'run')} and {count(body['predictions'], 'prediction')}"
    return f"grants {kind['proposer']} {much} on {kind['table']}: {kind['purpose']}"


_DEEDS: Final[dict[str, Callable[[Body], str]]] = {
    "genesis": lambda it: f"founds {it['name']!r}",
    "member.join": lambda _: "joins with keys of its own",
    "member.announce": lambda it: f"is reached at {it['address'] or 'no address'}",
    "member.announce-node": lambda it: f"has a CometBFT node at {it['address'] or 'no address'}",
    "sequencer.takeover": lambda it: f"orders from now on, as {len(it['promises'])} members have promised",
    "member.appeal": lambda it: f"answers {it['about']}",
    "key.rotate": lambda it: f"replaces its {it['kind']} key",
    "vote.propose": lambda it: f"proposes to {subject_in_words(it['subject'])}",
    "vote.cast": lambda it: f"votes {it['ballot']} on {_short(it['proposal'])}",
    "table.register": lambda it: f"registers table {it['name']} of {bucket(it['rows'])}",
    "table.withdraw": lambda it: f"withdraws table {it['name']}",
    "plan.approve": lambda it: f"approves plan {_short(it['plan'])}",
    "plan.reject": lambda it: f"rejects plan {_short(it['plan'])}: {it['why']}",
    "plan.withdraw": lambda it: f"withdraws plan {_short(it['plan'])}: {it['why']}",
    "grant.give": _grant,
    "grant.revoke": lambda it: f"revokes grant {_short(it['grant'])}",
    "grant.use": lambda it: f"lets plan {_short(it['plan'])} through by grant {_short(it['grant'])}",
    "run.propose": lambda it: f"wants to run plan {_short(it['plan'])} as {it['run']}",
    "run.start": lambda it: f"starts {it['run']}",
    "run.align": lambda it: f"aligned {it['rows']:,} rows in {it['run']} ({it['messages']:,} messages)",
    "round.commit": lambda it: f"commits {_committed(it)}",
    "rounds.commit": lambda it: f"commits {_committed_several(it)}",
    "run.finish": lambda it: f"finishes {it['run']}: {_measures(it)}",
    "run.share": lambda it: f"commits its piece of {it['run']}",
    "run.pause": lambda it: f"pauses {it['run']}: {it['reason']}",
    "run.resume": lambda it: f"resumes {it['run']}",
    "run.cancel": lambda it: f"cancels {it['run']}: {it['reason']}",
    "run.fail": lambda it: f"says that {it['run']} has failed: {it['reason']}",
    "model.release": lambda it: f"consents to {it['release']['quota']:,} predictions of {it['model']}",
    "grant.release": lambda it: f"releases {it['model']} by grant {_short(it['grant'])}",
    "model.withdraw": lambda it: f"withdraws model {it['model']}",
    "model.merge": lambda it: f"lets {it['receiver']} hold the whole of {it['model']}",
    "prediction.commit": lambda it: f"answers {count(it['count'], 'prediction')} of {it['model']}",
    "round.reveal": lambda it: f"shows message {it['index']} of round {it['round']} of {it['run']}",
    "conduct.record": lambda it: f"records of {it['about']} in {it['run']}: {it['incident']}",
    "contribution.record": lambda it: f"records what {it['party']} was worth to {it['run']}",
    "evidence.submit": lambda it: f"shows evidence of {it['proof']['kind']}",
    "run.expire": lambda it: f"says that {it['run']} is past its deadline",
}
