import unittest

import support  # noqa: F401

from plot import quantities


class Quantities(unittest.TestCase):
    def test_numbers_and_units(self):
        for text, expected in (("64", (64.0, "")), ("0.5", (0.5, "")), ("25 GB/s", (25.0, "GB/s")),
                               ("2500 MB/s", (2.5, "GB/s")), ("1 TB/s", (1000.0, "GB/s")), ("80 GiB", (80.0, "GiB")),
                               ("512 MiB", (0.5, "GiB")), ("2.5 ms", (0.0025, "s")), ("2 min", (120.0, "s")),
                               ("3 ns", (3e-9, "s")), ("3 us", (3e-6, "s")), ("2 h", (7200.0, "s")), ("1 d", (86400.0, "s")),
                               ("989 TFLOP/s", (989.0, "TFLOP/s")), ("1e3", (1000.0, ""))):
            with self.subTest(text=text):
                value, unit = quantities.parse(text)
                self.assertAlmostEqual(1, value / expected[0])
                self.assertEqual(expected[1], unit)

    def test_words(self):
        for text in ("alchemist", "4 apples", "", "true", "{poisson: {rate: 4}}", "1.2.3"):
            self.assertIsNone(quantities.parse(text), text)

    def test_order(self):
        self.assertEqual(["2", "10", "a", "b"], sorted(["b", "10", "a", "2"], key=quantities.sort_key))
        self.assertEqual(["900 MB/s", "1 GB/s"], sorted(["1 GB/s", "900 MB/s"], key=quantities.sort_key))

    def test_common_unit(self):
        self.assertEqual("GB/s", quantities.common_unit(["1 GB/s", "500 MB/s"]))
        self.assertEqual("", quantities.common_unit(["1", "2"]))
        self.assertIsNone(quantities.common_unit(["1", "2 s"]))
        self.assertIsNone(quantities.common_unit(["1", "many"]))


if __name__ == "__main__":
    unittest.main()
