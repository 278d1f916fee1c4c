import re
import tempfile
import unittest
from pathlib import Path

import support  # noqa: F401

from plot import output, study, summary_table
from plot.errors import InputError
from plot.tables import Table, read_columns


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def file(self, text):
        path = self.folder / "table.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path


class Tables(Folder):
    def test_the_first_of_equal_columns_counts(self):
        table = Table(self.file("point,seed,seed\n1,2,3\n"), ["seed"])
        self.assertEqual("2", table.rows[0].text("seed"))
        self.assertEqual([], table.between("point", "seed"))

    def test_quoted_fields_and_their_lines(self):
        table = Table(self.file('a,b\n"two\nlines, one field",x\n1,y\n'))
        self.assertEqual("two\nlines, one field", table.rows[0].text("a"))
        with self.assertRaisesRegex(InputError, r"table\.csv:4: column b: expected a number, got \"y\""):
            table.rows[1].number("b")

    def test_numbers(self):
        row = Table(self.file("a,b,c,d\n1.5,,-3,2\n")).rows[0]
        self.assertEqual((1.5, None, 2), (row.number("a"), row.number("b"), row.count("d")))
        for column in "ac":
            with self.assertRaisesRegex(InputError, f"column {column}: expected a whole number"):
                row.count(column)
        with self.assertRaisesRegex(InputError, "column b: expected a number, got nothing"):
            row.required("b")

    def test_errors(self):
        for text, expected in (("", "table.csv:1: column a is missing"), ("b\n1\n", "table.csv:1: column a is missing"),
                               ("a,b\n1\n", "table.csv:2: expected 2 fields"),
                               ("a,b\n1,2,3\n", "table.csv:2: expected 2 fields"), (b"a\n\xff\n", "UTF-8"),
                               ('a\n"x\n', "table.csv:2: ")):
            with self.subTest(text=text), self.assertRaises(InputError) as caught:
                Table(self.file(text), ["a"])
            self.assertIn(expected, str(caught.exception))

    def test_columns(self):
        columns = read_columns(self.file("a,b,c\n1,x,2\n3,y,4\n"), ["c", "a"])
        self.assertEqual([[2, 4], [1, 3]], [columns["c"].tolist(), columns["a"].tolist()])
        self.assertEqual(0, len(read_columns(self.file("a,b\n"), ["a"])["a"]))
        with self.assertRaisesRegex(InputError, "table.csv:2: column b"):
            read_columns(self.file("a,b\n1,inf\n"), ["b"])


class Output(Folder):
    def test_all_or_nothing(self):
        (self.folder / "b").mkdir()  # where a file should go
        (self.folder / "a").write_bytes(b"old")
        with self.assertRaisesRegex(InputError, "cannot write .*b"):
            output.write(self.folder, {"a": b"new", "b/c": b"x", "b": b"y"})
        self.assertEqual([], list(self.folder.rglob("*.partial")))

    def test_folders_are_made(self):
        output.write(self.folder / "x", {"y/z": b"1"})
        self.assertEqual(b"1", (self.folder / "x/y/z").read_bytes())


class Numbers(unittest.TestCase):
    def test_digits(self):
        self.assertEqual(["0", "0.012", "1.23", "12.3", "123", "12,346", "−1.50"],
                         [summary_table.number(v) for v in (0, 0.0123, 1.234, 12.34, 123.4, 12345.6, -1.5)])

    def test_every_column_is_the_key_that_its_heading_says(self):
        """Each key has a value of its own, the first run's interval of 8 around it; the second point failed."""
        values = {key: study.Interval((100 + i) / factor, (96 + i) / factor, (104 + i) / factor)
                  for i, (key, (_, _, factor)) in enumerate(summary_table.COLUMNS.items())}
        points = [study.Point({"policy": "reuse"}, values, [("1", "ok", ""), ("2", "failed", "x")]),
                  study.Point({"policy": "race"}, {}, [("1", "failed", "x")])]
        html = summary_table.numbers(study.Study("s", ["policy"], points, []))
        headings = re.findall(r"<button type=\"button\">(.*?)</button>", html)
        cells = re.findall(r"<td data-value=\"([^\"]*)\">(.*?)</td>", html.split("<tbody>")[1].splitlines()[1])
        told = dict(zip(headings[1:], cells, strict=True))
        self.assertEqual(("1", "1 of 2"), told.pop("runs"))
        expected = ["training", "training per GPU-second", "of the bound", "redundant forward", "goodput", "P99 TTFT",
                    "P99 TPOT", "P99 ITL", "peak GPU memory", "peak host memory", "version lag"]
        keys = ["train_tokens_per_s", "train_tokens_per_gpu_s", "bound_fraction", "train_redundant_forward_fraction",
                "request_goodput", "p99_ttft_ms", "p99_tpot_ms", "p99_itl_ms", "peak_total_bytes", "peak_host_bytes",
                "train_mean_version_lag"]
        self.assertEqual(keys, list(summary_table.COLUMNS))
        self.assertEqual({name: (f"{100 + i}", f"{100 + i} <span class=\"interval\">± 4.00</span>")
                          for i, name in enumerate(expected)}, told)


if __name__ == "__main__":
    unittest.main()
