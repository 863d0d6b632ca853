"""What tests of several folders share and what is started once."""

import pytest

from tests.postgres import running_server


@pytest.fixture(scope="session")
def postgres_server():
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server():
    from tests.mariadb import server  # noqa: PLC0415 (its driver is an extra)

    with server() as running:
        yield running
