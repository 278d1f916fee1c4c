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

    def test_each_load_has_its_own(self):
        points = [point("alchemist", 200, 7.7), point("temporal", 100, 7.9), point("alchemist", 100, 11, "12"),
                  point("temporal", 200, 12, "12")]
        self.assertEqual(["alchemist", "temporal"], chosen(points)[0])

    def test_no_choice_no_table(self):
        self.assertEqual("", chosen([point("serve_only", 0, 8.0), point("temporal", 100, 8.0)])[1])
        self.assertEqual("", chosen([point("alchemist", 100, 0), point("temporal", 100, 0)])[1])

    def test_runs_of_different_loads_are_no_choice(self):
        points = [point("alchemist", 200, 7.7, label="alchemist, rate=8"),
                  point("temporal", 100, 3.9, "4", label="temporal, rate=4")]
        self.assertEqual("", chosen(points)[1])
        for each in points:
            del each.axes["workload.rate"]
        self.assertEqual(["alchemist, rate=8"], chosen(points, ["policy"])[0])


if __name__ == "__main__":
    unittest.main()
