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


def pytest_collection_modifyitems(items):
    """The longest test begins first: at the end the other workers would wait for it."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/system/test_demo.py"))
