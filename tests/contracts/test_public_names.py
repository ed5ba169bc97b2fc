"""The Python API: every command has its function there, and nothing is loaded before it is used."""

from importlib import import_module
from pathlib import Path

import pytest

import yt8m_ensemble
from tests.contracts.test_imports import loaded_by
from yt8m_ensemble.options import Command

pytestmark = pytest.mark.tf

STEPS = Path(yt8m_ensemble.__file__).parent / "steps"


@pytest.mark.parametrize("name", yt8m_ensemble.__all__)
def test_a_public_name_is_there_and_documented(name):
    assert getattr(yt8m_ensemble, name).__doc__


def test_names_are_sorted():
    assert yt8m_ensemble.__all__ == sorted(set(yt8m_ensemble.__all__))


def test_every_command_is_public():
    commands = {
        name
        for path in STEPS.glob("[a-z]*.py")
        for name, value in vars(import_module(f"yt8m_ensemble.steps.{path.stem}")).items()
        if isinstance(value, Command)
    }
    assert commands <= set(yt8m_ensemble.__all__)


def test_importing_the_package_loads_nothing_heavy():
    assert not loaded_by("import yt8m_ensemble") & {"numpy", "tensorflow", "click"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no 'nonsense'"):
        _ = yt8m_ensemble.nonsense  # type: ignore[attr-defined]
