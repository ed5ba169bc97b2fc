"""The Python API: every command has its function there, and nothing is loaded before it is used."""

import ast
from pathlib import Path

import pytest

import yt8m_ensemble
from tests.contracts.test_imports import loaded_by

pytestmark = pytest.mark.tf

STEPS = Path(yt8m_ensemble.__file__).parent / "steps"


@pytest.mark.parametrize("name", yt8m_ensemble.__all__)
def test_a_public_name_is_there_and_documented(name):
    assert getattr(yt8m_ensemble, name).__doc__


def test_names_are_sorted():
    assert yt8m_ensemble.__all__ == sorted(set(yt8m_ensemble.__all__))


def test_every_command_calls_a_public_step():
    called = set()
    for path in (STEPS.parent / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                ("yt8m_ensemble.steps", "yt8m_ensemble.recipe")
            ):
                called |= {alias.name for alias in node.names if alias.name.islower()}
    # An equation, so that what is no longer called cannot stay listed.
    assert called - set(yt8m_ensemble.__all__) == {"choose_features"}


def test_importing_the_package_loads_nothing_heavy():
    assert not loaded_by("import yt8m_ensemble") & {"numpy", "tensorflow", "click"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no 'nonsense'"):
        _ = yt8m_ensemble.nonsense
