"""Fixtures that every test folder shares."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.environments import cache_dir, product_python, tf1_python

__all__ = ["product_python", "tf1_python"]

# What a case takes depends on the machine, and on whether machine code has to be compiled first.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")
# Set before any test imports TensorFlow: its chatter would fill the report.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# Outside the repository, so that a fresh clone at the same place finds what was compiled.
os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_dir() / "numba"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of files that the original code wrote."""
    folder = os.environ.get("YT8M_SHARED")
    if not folder:
        pytest.skip("Set YT8M_SHARED to the folder of original files to run this test.")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def fixtures(shared: Path) -> Path:
    """Checkpoints, graphs, archives and predictions written under TensorFlow 1.15."""
    return shared / "fixtures"


@pytest.fixture(autouse=True)
def only_our_architectures() -> Iterator[None]:
    """Take back the architectures that a test registered: other tests go over all there are."""
    yield
    if models := sys.modules.get("yt8m_ensemble.models.registry"):
        for name, model in list(models.REGISTRY.items()):
            if not model.__module__.startswith("yt8m_ensemble."):
                del models.REGISTRY[name]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the files that hold slow tests, so that processes side by side end together."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the tests over one second that are not marked `slow`; a busy machine lists more.

    The first test of a process also pays for imports.
    """
    for report in terminalreporter.getreports("passed"):
        if report.duration > 1 and "slow" not in report.keywords:
            terminalreporter.write_line(
                f"Not marked slow: {report.nodeid}, {report.duration:.1f} s"
            )
