"""Files that appear complete or not at all."""

import os
from pathlib import Path

from plot.errors import InputError


def write(directory, files, stale=()):
    """`files`: {path relative to `directory`: bytes}. All are written beside their places before the first one takes its
    name, so that a full disk leaves what was there. `stale`: files that go then, as far as they are there."""
    directory = Path(directory)
    partial = {}
    try:
        for name, content in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            partial[path] = path.with_name(path.name + ".partial")
            partial[path].write_bytes(content)
        for path, written in partial.items():
            os.replace(written, path)
        for path in stale:
            path.unlink(missing_ok=True)
    except OSError as error:
        for written in partial.values():
            written.unlink(missing_ok=True)
        raise InputError(f"cannot write {error.filename or directory}: {error.strerror}") from error
