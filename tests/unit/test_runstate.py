"""The states of a run at one party: the table is whole, and the page that shows it is true."""

from pathlib import Path

import pytest

from parley.core.errors import ProtocolBug
from parley.party.runstate import DEADLINES, STATES, TERMINAL, TRANSITIONS, diagram, move

PAGE = Path(__file__).parents[2] / "docs" / "runs.md"


def test_every_state_that_does_not_last_has_a_deadline_and_ways_to_end():
    for state in STATES:
        leaving = {target for source, _, target in TRANSITIONS if source == state}
        if state in TERMINAL:
            assert not leaving
            assert state not in DEADLINES
        else:
            assert {"failed", "cancelled"} <= leaving
            assert DEADLINES[state]


def test_every_state_is_reached():
    assert {target for *_, target in TRANSITIONS} | {"queued"} == set(STATES)


def test_what_is_not_in_the_table_does_not_happen():
    events = {event for _, event, _ in TRANSITIONS}
    for state in STATES:
        for event in events:
            moves = [target for source, each, target in TRANSITIONS if (source, each) == (state, event)]
            if moves:
                assert [move(state, event)] == moves
            else:
                with pytest.raises(ProtocolBug, match=f"cannot {event} while {state}"):
                    move(state, event)


def test_the_page_shows_the_table():
    text = PAGE.read_text()
    assert f"```mermaid\n{diagram()}```" in text
    for state, words in DEADLINES.items():
        assert f"| {state} | {words} |" in text
