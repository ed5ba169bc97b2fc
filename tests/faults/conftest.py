"""Commands run in this process set variables of the environment; they end with the test."""

import os
from unittest import mock

import pytest


@pytest.fixture(autouse=True)
def own_environment():
    with mock.patch.dict(os.environ):
        yield
