"""A terminal of so many columns in place of standard output."""

import io


def make_terminal(monkeypatch, width):
    """Return what is written to standard output from now on, which claims to be a terminal."""
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "dumb")
    return screen
