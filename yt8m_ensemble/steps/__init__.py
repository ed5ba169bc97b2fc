"""One function per command, also the Python API: open inputs, call rooms, write atomically."""
