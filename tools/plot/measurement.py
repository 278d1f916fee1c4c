"""What a real device was measured to do: a part of the report beside the studies of runs and sweeps."""

from dataclasses import dataclass
from pathlib import Path


@dataclass
class Measurement:
    path: Path

    def subject(self):
        """In one line."""
        return str(self.path)

    def figures(self):
        raise NotImplementedError

    def numbers(self):
        """All of them, as a table of the report."""
        raise NotImplementedError
