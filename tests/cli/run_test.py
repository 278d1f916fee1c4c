"""alchemist run: result files, their agreement with each other, and that the same seed gives the same bytes."""

import csv
import json
import unittest

from alchemist_cli import CliTestCase, run
from samples import EXPERIMENT, TRACES

FILES = ["config.yaml", "memory.csv", "memory_phases.csv", "requests.csv", "steps.csv", "summary.json"]

LATENCIES = [f"{statistic}_{metric}_ms" for metric in ("ttft", "tpot", "itl", "e2el")
             for statistic in ("mean", "median", "p90", "p95", "p99")]
PHASES = [f"train_{phase}_ms" for phase in ("step", "forward", "restore_stall", "backward", "gradient_wait",
                                           "optimizer", "recording")]
SUMMARY_KEYS = {
    "schema", "engine", "seed", "hardware", "model", "policy", "completed", "refused", "duration_s", "request_throughput",
    "request_goodput", "output_throughput", *LATENCIES, "num_preemptions", "prefix_hit_tokens", "stale_prefix_hit_tokens", "saturated",
    "train_tokens_per_s", "train_tokens_per_gpu_s", "train_samples", "feedback_samples", "train_steps", "train_preemptions", *PHASES,
    "train_redundant_forward_fraction", "train_tokens_reused", "train_tokens_recomputed", "train_tokens_dropped",
    "train_max_tokens", "train_mean_version_lag", "peak_weights_bytes", "peak_kv_bytes", "peak_activations_bytes",
    "peak_training_bytes", "peak_total_bytes", "peak_train_side_bytes", "gpu_memory_bytes", "peak_host_bytes", "link_h2d_bytes", "link_d2h_bytes",
    "link_h2d_utilisation", "link_d2h_utilisation", "gpu_busy_fraction", "hedge_wasted_bytes", "hedge_wasted_ms",
    "bound_train_tokens_per_s", "bound_fraction"}

REQUEST_COLUMNS = ("request_id,session_id,turn,arrived_s,scheduled_s,first_token_s,finished_s,num_prefill_tokens,"
                   "num_decode_tokens,prefix_hit_tokens,num_preemptions,ttft_ms,tpot_ms,e2el_ms,slo_met,recorded_tokens,"
                   "recorded_bytes,trained_at_s,version_lag").split(",")


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


class Run(CliTestCase):
    def setUp(self):
        self.folder = self.make_directory()
        self.experiment = self.folder / "experiment.yaml"
        self.experiment.write_text(EXPERIMENT)

    def run_to(self, name, *arguments):
        """Runs the experiment with results in a folder of that name; all its files."""
        self.assert_done(run("run", self.experiment, "--out", self.folder / name, *arguments))
        return contents(self.folder / name)

    def test_default_experiment(self):
        result = run("run", "default", "--set", "workload.requests=50", "--out", self.folder / "out")
        self.assert_done(result)
        self.assertIn("requests completed", result.stdout)
        self.assertIn("TTFT", result.stdout)
        self.assertEqual(FILES, sorted(contents(self.folder / "out")))

    def test_requests_file(self):
        self.run_to("out")
        with open(self.folder / "out/requests.csv", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual(REQUEST_COLUMNS, list(rows[0]))
        self.assertEqual(50, len(rows))
        self.assertEqual(list(range(50)), sorted(int(row["request_id"]) for row in rows))
        for row in rows:
            times = [float(row[name]) for name in ("arrived_s", "scheduled_s", "first_token_s", "finished_s")]
            self.assertEqual(sorted(times), times)
            self.assertAlmostEqual(1e3 * (times[2] - times[0]), float(row["ttft_ms"]), places=4)
            self.assertAlmostEqual(1e3 * (times[3] - times[0]), float(row["e2el_ms"]), places=4)
        summary = json.loads((self.folder / "out/summary.json").read_text())
        self.assertEqual(50, summary["completed"])
        mean = sum(float(row["ttft_ms"]) for row in rows) / 50
        self.assertAlmostEqual(mean, summary["mean_ttft_ms"], places=4)
        met = sum(row["slo_met"] == "true" for row in rows)
        self.assertAlmostEqual(met / summary["duration_s"], summary["request_goodput"], places=6)

    def test_summary_has_every_key(self):
        result = run("run", self.experiment, "--json")
        self.assert_done(result)
        summary = json.loads(result.stdout)
        self.assertEqual(SUMMARY_KEYS, set(summary))
        self.assertEqual({"version", "git_hash"}, set(summary["engine"]))
        self.assertEqual(7, summary["seed"])
        self.assertNotIn("NaN", result.stdout)
        self.assertEqual(result.stdout.encode(), self.run_to("out")["summary.json"])

    def test_same_seed_same_bytes(self):
        first = self.run_to("a", "--trace-events")
        self.assertEqual(first, self.run_to("b", "--trace-events"))
        self.assertEqual(sorted([*FILES, "trace.json"]), sorted(first))
        other = self.run_to("c", "--trace-events", "--seed", "8")
        for name in ("requests.csv", "memory.csv", "summary.json", "trace.json", "config.yaml"):
            self.assertNotEqual(first[name], other[name], name)

    def test_every_built_in_workload_is_reproducible(self):
        for workload in ("bursty", "chat", "closed-loop", "code", "diurnal", "poisson-fixed", "sharegpt"):
            arguments = ("run", "default", "--set", f"workload={workload}", "--set", "workload.requests=40", "--out")
            self.assert_done(run(*arguments, self.folder / f"{workload}_a"))
            self.assert_done(run(*arguments, self.folder / f"{workload}_b"))
            self.assertEqual(contents(self.folder / f"{workload}_a"), contents(self.folder / f"{workload}_b"), workload)

    def test_resolved_configuration_runs_again(self):
        first = self.run_to("a", "--set", "serving.max_num_seqs=4", "--seed", "3")
        self.assert_done(run("run", self.folder / "a/config.yaml", "--out", self.folder / "b"))
        self.assertEqual(first, contents(self.folder / "b"))

    def test_trace_events(self):
        events = json.loads(self.run_to("out", "--trace-events")["trace.json"])["traceEvents"]
        lanes = {event["args"]["name"] for event in events if event["name"] == "thread_name"}
        self.assertEqual({"serving", "training", "host-to-device", "device-to-host"}, lanes)
        counters = {event["name"] for event in events if event["ph"] == "C"}
        self.assertGreaterEqual(len(counters), 2, counters)  # memory by category and queue length
        spans = [event for event in events if event["ph"] == "X"]
        self.assertGreater(len(spans), 50)
        end = 0
        for span in spans:  # one lane is in use: its spans follow each other
            self.assertGreaterEqual(span["ts"], end - 1e-3)
            end = span["ts"] + span["dur"]

    def test_results_of_an_earlier_run_are_replaced(self):
        self.run_to("out", "--trace-events")
        again = self.run_to("out", "--seed", "8")
        self.assertEqual(FILES, sorted(again))  # the trace of another run is gone

    def test_a_report_of_an_earlier_run_is_not_left_unsaid(self):
        self.run_to("out")
        (self.folder / "out/report.html").write_text("of the first run")
        again = run("run", self.experiment, "--out", self.folder / "out")
        self.assert_done(again)
        self.assertIn(f"{self.folder}/out/report.html shows an earlier run", again.stderr)

    def test_replays_every_trace_format(self):
        for name, (file, text) in TRACES.items():
            if name == "sharegpt":
                continue  # has no arrivals; see test_lengths_of_a_trace
            (self.folder / file).write_text(text)
            summary = json.loads(self.run_to(name, "--trace", self.folder / file)["summary.json"])
            self.assertEqual({"vidur": 3, "llmservingsim": 3}.get(name, 2), summary["completed"], name)

    def test_lengths_of_a_trace(self):
        file, text = TRACES["sharegpt"]
        (self.folder / file).write_text(text)
        lengths = "{empirical: {file: %s, characters_per_token: 4}}" % (self.folder / file)
        result = run("run", self.experiment, "--set", f"workload.lengths={lengths}", "--json")
        self.assert_done(result)
        self.assertEqual(50, json.loads(result.stdout)["completed"])


if __name__ == "__main__":
    unittest.main()
