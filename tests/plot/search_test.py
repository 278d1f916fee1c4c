import tempfile
import unittest
from pathlib import Path

import support  # noqa: F401

from plot import inputs, search, style, study

_AXES = "policy,training.max_itl,workload.requests"
_RESULTS = f"point,{_AXES},seed,status,message\n0,temporal,hidden,600,1,ok,\n1,alchemist,hidden,600,1,ok,\n"
# Two policies at three gaps; the better half goes on to longer runs.
_SEARCH = f"""round,rank,point,{_AXES},seeds,feasible,score,kept
1,1,0,alchemist,20 ms,300,1,true,90,true
1,2,0,alchemist,10 ms,300,1,true,80,true
1,3,0,temporal,20 ms,300,1,true,70,true
1,4,0,temporal,10 ms,300,1,true,60,false
1,5,0,alchemist,hidden,300,1,true,50,false
1,6,0,temporal,hidden,300,1,false,40,false
2,1,0,alchemist,20 ms,600,2,true,95,true
2,2,0,alchemist,10 ms,600,2,true,85,false
2,3,0,temporal,20 ms,600,2,true,75,false
"""


def tearDownModule():
    style.plt.close("all")


def drawn(found=_SEARCH, sweep="maximise: x\nhalving: {workload.requests: [300, 600]}\n"):
    style.use()
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("results.csv", _RESULTS), ("search.csv", found),
                           ("intervals.csv", f"point,{_AXES},metric,n,mean,ci95_low,ci95_high\n"
                                             "0,temporal,hidden,600,x,1,5,,\n1,alchemist,hidden,600,x,1,5,,\n"),
                           ("sweep.yaml", sweep)):
            (Path(folder) / name).write_text(text)
        return next(search.figures(study.make(*inputs.read([folder])[:2])[0]))


def bars(figure, panel=0):
    """{label: score}; labels stand beside the first panel."""
    panels = figure.drawing.axes
    names = [label.get_text().replace("\N{NO-BREAK SPACE}", " ") for label in panels[0].get_yticklabels()]
    return {names[round(bar.get_y() + bar.get_height() / 2)]: bar.get_width() for bar in panels[panel].patches}


class Search(unittest.TestCase):
    def test_each_candidate_has_a_bar_with_all_that_varies(self):
        figure = drawn()
        self.assertEqual({"temporal, max_itl=10 ms": 60, "temporal, max_itl=20 ms": 70, "temporal, max_itl=hidden": 40,
                          "alchemist, max_itl=10 ms": 80, "alchemist, max_itl=20 ms": 90,
                          "alchemist, max_itl=hidden": 50}, bars(figure))
        self.assertEqual({"temporal, max_itl=20 ms": 75, "alchemist, max_itl=10 ms": 85, "alchemist, max_itl=20 ms": 95},
                         bars(figure, 1))

    def test_what_does_not_vary_is_not_named(self):
        rows = [line for line in _SEARCH.splitlines(True) if "20 ms" in line or "round" in line]
        self.assertEqual({"temporal": 70, "alchemist": 90}, bars(drawn("".join(rows))))

    def test_who_goes_on_has_a_tick_and_who_misses_a_bound_no_filling(self):
        figure = drawn()
        first = figure.drawing.axes[0]
        self.assertEqual([90, 80, 70], [text.xy[0] for text in first.texts])
        self.assertEqual([40], [bar.get_width() for bar in first.patches if bar.get_facecolor()[3] == 0])
        self.assertEqual("Search for the highest x", figure.title)
        self.assertNotIn("No candidate", figure.caption)

    def test_nobody_of_the_last_round_within_the_bounds(self):
        found = "".join(line.replace("true,", "false,") if line.startswith("2,") else line
                        for line in _SEARCH.splitlines(True))
        self.assertIn("No candidate keeps the bounds.", drawn(found).caption)

    def test_lowest(self):
        sweep = "minimise: x\nhalving: {workload.requests: [300, 600]}\n"
        self.assertEqual("Search for the lowest x", drawn(sweep=sweep).title)

    def test_of_many_candidates_those_that_went_furthest(self):
        rows = [f"1,{i + 1},0,temporal,{i} ms,300,1,true,{1000 - i},true\n" for i in range(60)]
        figure = drawn(_SEARCH.splitlines(True)[0] + "".join(rows))
        self.assertEqual({f"temporal, max_itl={i} ms": 1000 - i for i in range(48)}, bars(figure))
        self.assertIn("12 more candidates are left out.", figure.caption)
        rows += ["2,1,0,temporal,59 ms,600,1,true,5,true\n"]  # who went on is drawn, however far behind before
        self.assertIn("temporal, max_itl=59 ms", bars(drawn(_SEARCH.splitlines(True)[0] + "".join(rows))))


if __name__ == "__main__":
    unittest.main()
