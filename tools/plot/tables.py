"""CSV files, read strictly: what is missing or is no number is an error that says where."""

import csv
import math

import numpy

from plot.errors import InputError, at


def _shown(text):
    """A field as an error shows it: on one line, and not all of a long one."""
    line = text.replace("\n", "\\n")
    return f"\"{line[:40]}…\"" if len(line) > 40 else f"\"{line}\""


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
            self.fail(column, f"expected a number, got {_shown(text)}")
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
            self.fail(column, f"expected a whole number of at least 0, got {_shown(self.text(column))}")
        return int(value)


def _rows(path, required):
    """The header, then a Row for each line. Of columns with the same name the first counts."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.reader(file, strict=True)
            try:
                yield from _checked(path, reader, required)
            except csv.Error as error:
                raise at(path, reader.line_num, str(error)) from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise at(path, 0, f"not a text file in UTF-8: {error.reason}") from error


def _checked(path, reader, required):
    header = next(reader, [])
    positions = {}
    for position, name in enumerate(header):
        positions.setdefault(name, position)
    for name in required:
        if name not in positions:
            raise at(path, 1, f"column {name} is missing")
    yield header
    for fields in reader:
        if len(fields) != len(header):
            raise at(path, reader.line_num, f"expected {len(header)} fields as in the header, got {len(fields)}")
        yield Row(path, reader.line_num, positions, fields)


def read_columns(path, names):
    """Columns of numbers as arrays, {name: array}; every field must hold one. For tables that may be long."""
    rows = _rows(path, names)
    next(rows)
    values = [[row.required(name) for name in names] for row in rows]
    array = numpy.array(values, dtype=float).reshape(len(values), len(names))
    return {name: array[:, i] for i, name in enumerate(names)}


class Table:
    """A whole table: its header and rows."""

    def __init__(self, path, required=()):
        rows = _rows(path, required)
        self.header = next(rows)
        self.rows = list(rows)

    def __contains__(self, column):
        return column in self.header

    def between(self, first, last):
        """Names of the columns after `first` and before `last`."""
        return self.header[self.header.index(first) + 1:self.header.index(last)]
