"""CSV files, read strictly: what is missing or is no number is an error that says where."""

import csv
import math

from plot.errors import InputError, at


class Row:
    """One line of a table; columns are asked for by name."""

    def __init__(self, path, line, columns, fields):
        self.path, self.line, self._columns, self._fields = path, line, columns, fields

    def text(self, column):
        return self._fields[self._columns[column]]

    def fail(self, column, message):
        raise at(self.path, self.line, f"column {column}: {message}")

    def number(self, column):
        """A finite number, or none where the field is empty."""
        text = self.text(column)
        if text == "":
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            self.fail(column, f"expected a number, got \"{text}\"")
        return value

    def required(self, column):
        """As number(), and the field must not be empty."""
        value = self.number(column)
        if value is None:
            self.fail(column, "expected a number, got nothing")
        return value

    def count(self, column):
        """A whole number of at least 0."""
        value = self.required(column)
        if value < 0 or value != int(value):
            self.fail(column, f"expected a whole number of at least 0, got \"{self.text(column)}\"")
        return int(value)


class Table:
    """Header and rows. Of columns with the same name the first counts."""

    def __init__(self, path, required=()):
        self.path = path
        try:
            with open(path, newline="", encoding="utf-8") as file:
                self._read(csv.reader(file, strict=True), required)
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise at(path, 0, f"not a text file in UTF-8: {error.reason}") from error

    def _read(self, reader, required):
        try:
            self.header = next(reader, [])
            positions = {}
            for position, name in enumerate(self.header):
                positions.setdefault(name, position)
            for name in required:
                if name not in positions:
                    raise at(self.path, 1, f"column {name} is missing")
            self.rows = []
            for fields in reader:
                if len(fields) != len(self.header):
                    raise at(self.path, reader.line_num,
                             f"expected {len(self.header)} fields as in the header, got {len(fields)}")
                self.rows.append(Row(self.path, reader.line_num, positions, fields))
        except csv.Error as error:
            raise at(self.path, reader.line_num, str(error)) from error

    def __contains__(self, column):
        return column in self.header

    def between(self, first, last):
        """Names of the columns after `first` and before `last`."""
        return self.header[self.header.index(first) + 1:self.header.index(last)]
