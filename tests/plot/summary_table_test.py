import re
import unittest

import support  # noqa: F401

from plot import study, summary_table


def point(policy, trained, goodput, rate="8", label=""):
    values = {"train_tokens_per_s": study.Interval(trained), "request_goodput": study.Interval(goodput)}
    return study.Point({"policy": policy, "workload.rate": rate}, values, [("1", "ok", "")], label=label,
                       config={"slo": {"ttft": "1 s", "itl": "100 ms"}})


def chosen(points, axes=("policy", "workload.rate")):
    page = summary_table.choice(study.Study("s", list(axes), points, []))
    return re.findall(r'<th scope="row"[^>]*>([^<]*)</th>', page), page


class Choice(unittest.TestCase):
    def test_most_training_among_those_that_keep_the_slo(self):
        points = [point("serve_only", 0, 8.0), point("token_fill", 300, 2.0), point("alchemist", 200, 7.7),
                  point("temporal", 100, 7.9), point("oracle", 400, 8.0)]
        names, page = chosen(points)
        self.assertEqual(["alchemist"], names)
        self.assertIn("temporal −50.0 %", page)
        self.assertIn("the SLO: TTFT 1 s, ITL 100 ms)", page)

    def test_equals_are_not_behind(self):
        page = chosen([point("alchemist", 200, 8.0), point("temporal", 200, 8.0), point("reuse", 199.99, 8.0)])[1]
        self.assertIn(">alchemist 0.0 %, reuse 0.0 %<", page)
        self.assertEqual(["0.000", "−0.001", "−200", "0"], [summary_table.number(x) for x in (-0.0004, -0.0006, -200, 0)])

    def test_without_objectives_the_one_that_trains_most(self):
        points = [point("alchemist", 200, 1.0), point("temporal", 100, 1.0), point("oracle", 300, 1.0)]
        for each in points:
            del each.values["request_goodput"]
            each.config["slo"] = {}
        names, page = chosen(points)
        self.assertEqual(["alchemist"], names)
        self.assertIn("Without an SLO", page)
        self.assertNotIn("goodput", page)

    def test_each_load_has_its_own(self):
        points = [point("alchemist", 200, 7.7), point("temporal", 100, 7.9), point("alchemist", 100, 11, "12"),
                  point("temporal", 200, 12, "12")]
        self.assertEqual(["alchemist", "temporal"], chosen(points)[0])

    def test_nobody_can_choose_what_knows_the_future_whatever_it_is_called(self):
        for seer in ("{base: oracle, name: seer}", "{base: reuse, record: foreseen, evict: farthest}"):
            points = [point(seer, 400, 8.0), point("alchemist", 200, 8.0), point("temporal", 100, 8.0)]
            self.assertEqual(["alchemist"], chosen(points)[0])
        points = [point("temporal", 100, 8.0), point("alchemist", 200, 8.0), point("seer", 400, 8.0)]
        points[2].config["policy"] = {"name": "seer", "base": "oracle"}
        self.assertEqual(["alchemist"], chosen(points)[0])

    def test_a_name_keeps_its_hyphens(self):
        self.assertIn("re-use −50.0 %", chosen([point("alchemist", 200, 8.0), point("re-use", 100, 8.0)])[1])

    def test_objectives_that_an_axis_sets_are_not_those_of_the_base(self):
        points = [point(policy, 100, 8.0) for policy in ("alchemist", "temporal")]
        for each in points:
            each.axes["slo.ttft"] = "5 s"
        self.assertIn("the SLO)", chosen(points, ["policy", "workload.rate", "slo.ttft"])[1])

    def test_no_choice_no_table(self):
        self.assertEqual("", chosen([point("serve_only", 0, 8.0), point("temporal", 100, 8.0)])[1])
        self.assertEqual("", chosen([point("oracle", 100, 8.0), point("{base: oracle, name: seer}", 100, 8.0)])[1])

    def test_loads_without_a_choice_are_told(self):
        page = chosen([point("alchemist", 100, 0), point("temporal", 100, 0)])[1]
        self.assertIn("None of those that train keeps, at any load, 95 % of the best goodput", page)
        self.assertNotIn("<table", page)
        points = [point("alchemist", 100, 8), point("temporal", 90, 8)]
        self.assertNotIn("there is none", chosen(points)[1])
        points += [point("serve_only", 0, 12, "12"), point("alchemist", 100, 5, "12"), point("temporal", 90, 5, "12")]
        names, page = chosen(points)
        self.assertEqual(["alchemist"], names)
        self.assertIn("At 1 of 2 loads there is none.", page)

    def test_runs_of_different_loads_are_no_choice(self):
        points = [point("alchemist", 200, 7.7, label="alchemist, rate=8"),
                  point("temporal", 100, 3.9, "4", label="temporal, rate=4")]
        self.assertEqual("", chosen(points)[1])
        for each in points:
            del each.axes["workload.rate"]
        self.assertEqual(["alchemist, rate=8"], chosen(points, ["policy"])[0])


class Cells(unittest.TestCase):
    """The table of every point."""

    def rows(self, *points):
        page = summary_table.numbers(study.Study("s", ["policy"], points, []))
        return [re.sub(r"<[^>]*>", "|", row) for row in re.findall(r"<tr>(.*?)</tr>", page)[1:]]

    def test_numbers_stand_in_their_units_with_half_their_intervals(self):
        values = {"bound_fraction": study.Interval(0.5, 0.375, 0.625, 3), "peak_total_bytes": study.Interval(3 * 2.0**30),
                  "peak_host_bytes": study.Interval(2.0**31)}
        row, = self.rows(study.Point({"policy": "planned"}, values, [("1", "ok", ""), ("2", "failed", "x")], saturated=1))
        for text in ("|50.0 |± 12.5|", "|3.00|", "|2.00|", "|1 of 2|", "|saturated|"):
            self.assertIn(text, row)

    def test_digits(self):
        self.assertEqual(["150", "99.9", "9.99", "0.999", "12,346"],
                         [summary_table.number(value) for value in (150.4, 99.94, 9.994, 0.9994, 12345.6)])

    def test_a_difference_is_bold_where_its_interval_does_not_hold_0(self):
        points = [study.Point({"policy": policy}, {"p99_ttft_ms": study.Interval(5.0)}) for policy in ("temporal", "planned")]
        for low, high, sure in ((1, 3, True), (-3, -1, True), (-3, 1, False), (-1, 3, False)):
            each = study.Difference((), "planned", "temporal", "p99_ttft_ms", study.Interval((low + high) / 2, low, high, 3))
            page = summary_table.differences(study.Study("s", ["policy"], points, [], [each]))
            self.assertEqual(sure, 'class="sure"' in page, (low, high))
            self.assertIn("from temporal", page)

    def test_points_that_ask_for_different_objectives_name_none(self):
        points = [point("alchemist", 200, 8.0), point("temporal", 100, 8.0)]
        points[1].config["slo"] = {"ttft": "9 s"}
        self.assertIn("the SLO)", chosen(points)[1])

    def test_a_share_of_the_best_goodput_is_enough(self):
        points = [point("serve_only", 0, 100.0), point("alchemist", 200, 96.0), point("temporal", 100, 99.0)]
        self.assertEqual(["alchemist"], chosen(points)[0])


if __name__ == "__main__":
    unittest.main()
