import tempfile
import unittest
from pathlib import Path
from unittest import mock

import support  # noqa: F401

import numpy

from plot import memory, style, timeline
from plot.errors import InputError
from plot.study import Interval, Point, Study


class StepFunction(unittest.TestCase):
    # 5 from 1 s, 2 from 3 s, 7 from 3.5 s, 1 from 6 s. Bins of 2 s: 0-2 sees nothing and 5; 2-4 sees 5, 2 and 7; 4-6
    # what is left of 7; 6-8 only 1, since its row begins with the bin.
    def test_peaks_hold_until_the_next_row(self):
        peaks = timeline.peaks(numpy.array([1, 3, 3.5, 6]), numpy.array([5, 2, 7, 1]), numpy.array([0, 2, 4, 6, 8]))
        self.assertEqual([5, 7, 7, 1], list(peaks))

    def test_nothing_before_the_first_row(self):
        self.assertEqual([0, 3], list(timeline.peaks(numpy.array([1.0]), numpy.array([3.0]), numpy.array([0, 1, 2]))))


class Parts(unittest.TestCase):
    # Two parts of which one comes as the other goes: 5 and 1, then 2 and 7. Bins of 2 s: nothing; the second row, which
    # has the larger total, and not the peak of each; what is left of it.
    def test_a_stack_is_what_was_there_at_one_moment(self):
        parts = timeline.at_peaks(numpy.array([2.5, 3]), numpy.array([[5.0, 2], [1, 7]]), numpy.array([6.0, 9]),
                                  numpy.array([0, 2, 4, 6]))
        self.assertEqual([[0, 2, 2], [0, 7, 7]], parts.tolist())

    # The row stands for several moments, none of which had more than 12 of these 16.
    def test_peaks_of_one_row_share_its_total(self):
        parts = timeline.at_peaks(numpy.array([0.0]), numpy.array([[4.0], [12]]), numpy.array([12.0]), numpy.array([0, 1]))
        self.assertEqual([[3], [9]], parts.tolist())


class Rates(unittest.TestCase):
    # 8 from 0 to 4 s and 6 from 3 to 5 s are 2/s and 3/s. Bins of 2 s: 2; (2 * 2 + 3 * 1) / 2 = 3.5; 3 * 1 / 2 = 1.5.
    def test_amounts_come_in_evenly(self):
        starts, ends, amounts = numpy.array([0.0, 3]), numpy.array([4.0, 5]), numpy.array([8.0, 6])
        rate = timeline.rate(starts, ends, amounts, numpy.array([0, 2, 4, 6]))
        numpy.testing.assert_allclose([2, 3.5, 1.5], rate)

    def test_order_does_not_matter_and_nothing_is_lost(self):
        starts, ends, amounts = numpy.array([5.0, 0, 2]), numpy.array([5.0, 1, 9]), numpy.array([4.0, 1, 7])
        rate = timeline.rate(starts, ends, amounts, numpy.linspace(0, 10, 21))
        self.assertAlmostEqual(12, rate.sum() * 0.5)

    def test_none(self):
        self.assertEqual([0, 0], list(timeline.rate(*[numpy.array([])] * 3, numpy.array([0, 1, 2]))))


class Figures(unittest.TestCase):
    def test_runs_that_are_left_out_are_counted(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(timeline, "_figure") as figure:
            points = [Point({"policy": "reuse", "seed": str(i)}, {"train_tokens_per_s": Interval(1.0)}, label=f"reuse, {i}",
                            directories=[Path(folder) / str(i)]) for i in range(7)]
            for shown, note in ((7, " 6 of 7 runs are shown."), (6, "")):
                figure.reset_mock()
                list(timeline.figures(Study("s", ["policy", "seed"], points[:shown], [])))
                self.assertEqual([note] * 6, [call.args[3] for call in figure.call_args_list])


class Panels(unittest.TestCase):
    EDGES = numpy.array([0.0, 1, 2, 3, 4])

    def panel(self, draw, *arguments):
        figure, axes = style.panels(1, 1)
        self.addCleanup(style.plt.close, figure)
        draw(axes[0][0], *arguments, self.EDGES)
        return axes[0][0]

    def directory(self, **files):
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        for name, text in files.items():
            (folder / name.replace("_csv", ".csv").replace("_json", ".json")).write_text(text)
        return folder

    def test_requests_wait_until_they_are_scheduled_and_run_until_they_have_finished(self):
        """One runs from 0 to 2 s, the next one comes at 1 s and takes its place at 2 s: never two that run."""
        requests = {"arrived_s": numpy.array([0.0, 1]), "scheduled_s": numpy.array([0.0, 2]),
                    "finished_s": numpy.array([2.0, 3])}
        lines = {line.get_label(): list(line.get_ydata()) for line in self.panel(timeline._draw_queue, requests).lines}
        self.assertEqual({"running": [1, 1, 1, 0], "waiting": [0, 1, 0, 0]}, lines)

    def test_the_link_is_in_gigabytes_of_a_second(self):
        event = '{"name":"reload","ph":"X","ts":1000000,"dur":2000000,"args":{"bytes":8000000000}}\n'
        panel = self.panel(timeline._draw_link, self.directory(trace_json=event))
        lines = {line.get_label(): line.get_ydata() for line in panel.lines}
        numpy.testing.assert_allclose([0, 4, 4, 0], lines["host to device"])
        numpy.testing.assert_allclose([0] * 4, lines["device to host"])

    def test_tokens_with_a_record_are_those_called_reused(self):
        steps = "start_s,end_s,reused_tokens,recomputed_tokens\n0,2,60,20\n"
        panel = self.panel(timeline._draw_training, self.directory(steps_csv=steps))
        heights = {area.get_label(): area.get_paths()[0].vertices[:, 1].max() for area in panel.collections}
        self.assertAlmostEqual(30, heights["reused"])
        self.assertAlmostEqual(40, heights["recomputed"])  # on top of it

    def test_memory_is_the_mean_of_the_replicas(self):
        rows = "".join(f"0,{replica},{gib * memory.GIB},0,0,0,{gib * memory.GIB},{memory.GIB}\n"
                       for replica, gib in ((0, 2), (1, 6)))
        header = "time_s,replica,weights_bytes,kv_bytes,activations_bytes,training_bytes,total_bytes,host_bytes\n"
        panel = self.panel(timeline._draw_memory, self.directory(memory_csv=header + rows))
        self.assertEqual(4, panel.collections[0].get_paths()[0].vertices[:, 1].max())
        self.assertEqual([1] * 4, list(panel.lines[0].get_ydata()))

    def test_a_run_ends_with_its_last_step(self):
        folder = self.directory(requests_csv="arrived_s,scheduled_s,finished_s\n0,0,2\n",
                                steps_csv="start_s,end_s,reused_tokens,recomputed_tokens\n1,5,8,8\n",
                                memory_csv="time_s,replica,weights_bytes,kv_bytes,activations_bytes,training_bytes,"
                                           "total_bytes,host_bytes\n0,0,1,1,1,1,4,0\n")
        made = Study("s", ["policy"], [Point({"policy": "reuse"}, {"x": Interval(1.0)}, directories=[folder])], [])
        figure, = timeline.figures(made)
        self.addCleanup(style.plt.close, figure.drawing)
        self.assertEqual((0, 5), figure.drawing.axes[0].get_xlim())

    def test_of_many_loads_the_highest(self):
        points = [Point({"policy": policy, "rate": rate}, {"x": Interval(1.0)}, directories=[Path(f"{policy}{rate}")])
                  for policy in ("reuse", "planned") for rate in "1234"]
        with mock.patch.object(timeline, "_figure") as figure:
            list(timeline.figures(Study("s", ["policy", "rate"], points, [])))
            self.assertEqual(["4", "4"], [call.args[1].axes["rate"] for call in figure.call_args_list])


class Trace(unittest.TestCase):
    def read(self, text):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trace.json"
            path.write_text(text)
            return timeline.transfers(path)

    def test_transfers_by_direction(self):
        found = self.read('{"traceEvents":[\n{"name":"decode","ph":"X","ts":0,"dur":5},\n'
                          '{"name":"reload","ph":"X","pid":1,"tid":300,"ts":1000000,"dur":500000,"args":{"bytes":7}},\n'
                          '{"name":"offload","ph":"X","pid":1,"tid":400,"ts":0,"dur":1,"args":{"bytes":9}}\n]}\n')
        self.assertEqual([[1.0, 1.5, 7.0]], found["reload"].tolist())
        self.assertEqual([[0.0, 1e-6, 9.0]], found["offload"].tolist())

    def test_broken_event(self):
        with self.assertRaisesRegex(InputError, r"trace\.json:2: expected a trace event"):
            self.read('[\n{"name":"reload","ts":1}\n]\n')


if __name__ == "__main__":
    unittest.main()
