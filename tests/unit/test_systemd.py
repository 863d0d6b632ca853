"""The service file says what the program needs."""

import configparser
import shlex
from pathlib import Path

from parley.cli.main import main

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "parley.service"


def unit():
    parser = configparser.ConfigParser()
    parser.optionxform = str
    parser.read_string(UNIT.read_text())
    return parser


def test_the_service_starts_a_command_that_exists_and_writes_only_into_the_home(capsys):
    service = unit()["Service"]
    program, command, *options = shlex.split(service["ExecStart"])
    assert program.endswith("/parley")
    assert service["ReadWritePaths"] == options[options.index("--home") + 1]
    assert main([command, "--help"]) == 0
    known = capsys.readouterr().out
    assert all(option in known for option in options if option.startswith("--"))


def test_a_worker_without_memory_does_not_stop_the_party_and_a_stopped_party_comes_back():
    service = unit()["Service"]
    assert service["OOMPolicy"] == "continue"
    assert service["Restart"] == "always"
    assert service["KillMode"] == "mixed"
