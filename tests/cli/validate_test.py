"""alchemist validate: the error of a simulation against a measured run."""

import csv
import json
import unittest

from alchemist_cli import CliTestCase, run
from samples import EXPERIMENT, shared_data

HEADER = "request,input_length,output_length,queued_s,scheduled_s,first_token_s,last_token_s\n"


class Validate(CliTestCase):
    def setUp(self):
        self.folder = self.make_directory()
        self.out = self.folder / "out"
        self.experiment = self.folder / "experiment.yaml"
        self.experiment.write_text(EXPERIMENT)

    def measured_from(self, factor):
        """The simulated run itself with all times stretched by `factor`, as a measured one."""
        self.assert_done(run("run", self.experiment, "--out", self.folder / "run"))
        with open(self.folder / "run/requests.csv", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        text = HEADER
        for row in rows:
            # Nobody waits for a place in this run: the engine schedules a request in the moment in which it takes it in.
            start = float(row["scheduled_s"])
            later = [start + factor * (float(row[name]) - start) for name in ("first_token_s", "finished_s")]
            text += ",".join([row["request_id"], row["num_prefill_tokens"], row["num_decode_tokens"],
                              row["scheduled_s"], row["scheduled_s"], *(f"{time:.9f}" for time in later)]) + "\n"
        path = self.folder / "measured.csv"
        path.write_text(text)
        return path

    def compare(self, measured, *options):
        self.assert_done(run("validate", self.experiment, "--measured", measured, *options, "--out", self.out))
        return json.loads((self.out / "comparison.json").read_text())

    def test_a_run_agrees_with_itself(self):
        comparison = self.compare(self.measured_from(1))
        self.assertEqual(15, len(comparison["metrics"]))
        self.assertEqual(50, comparison["requests"])
        self.assertLess(comparison["largest_absolute_error"], 1e-5)

    def test_errors_have_the_sign_of_the_simulation(self):
        # The measured run took 25 % longer: the simulation is 20 % too fast, in every metric.
        comparison = self.compare(self.measured_from(1.25))
        for metric in comparison["metrics"]:
            self.assertAlmostEqual(-0.2, metric["error"], places=4, msg=metric)
        self.assertAlmostEqual(0.2, comparison["mean_absolute_error"], places=4)

    def test_bad_measurements(self):
        path = self.folder / "measured.csv"
        for text, expected in (("", "is empty"), (HEADER, "holds no request"), (HEADER + "0,10,5,0,1,2\n", ":2: "),
                               (HEADER + "0,10,5,0,1,x,3\n", ":2: "), (HEADER + "0,10,5,0,3,2,1\n", "queued_s <= scheduled_s"),
                               (HEADER + "1,10,5,0,1,2,3\n", "request 0 is missing")):
            path.write_text(text)
            with self.subTest(text=text):
                result = run("validate", self.experiment, "--measured", path, "--out", self.out)
                self.assert_one_line_error(result, expected)
                self.assertFalse(self.out.exists())
        self.assert_one_line_error(run("validate", self.experiment, "--measured", "none.csv", "--out", self.out), "none.csv")
        self.assert_user_error(run("validate", self.experiment, "--out", self.out), "--measured")

    def bench_of(self, factor, **changes):
        """The simulated run with all times stretched by `factor`, as `vllm bench serve` writes what its client measured."""
        self.assert_done(run("run", self.experiment, "--out", self.folder / "run"))
        with open(self.folder / "run/requests.csv", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        rows.reverse()  # in any order
        starts = [float(row["arrived_s"]) for row in rows]
        firsts = [float(row["first_token_s"]) for row in rows]
        ends = [float(row["finished_s"]) for row in rows]
        failed = len(rows)  # stands for no request of the simulated run
        bench = {"backend": "vllm", "total_input_tokens": 7,
                 "input_lens": [int(row["num_prefill_tokens"]) for row in rows] + [5],
                 "output_lens": [int(row["num_decode_tokens"]) for row in rows] + [0],
                 "start_times": [1e6 + start for start in starts] + [1e6],
                 "ttfts": [factor * (first - start) for first, start in zip(firsts, starts)] + [0.0],
                 "itls": [[factor * (end - first) / (tokens - 1)] * (tokens - 1) for end, first, tokens in
                          zip(ends, firsts, (int(row["num_decode_tokens"]) for row in rows))] + [[]],
                 "errors": [""] * failed + ["Service Unavailable"]}
        path = self.folder / "bench.json"
        path.write_text(json.dumps(bench | changes))
        return path

    def test_what_a_client_of_vllm_measured_is_replayed_and_compared(self):
        for factor, error in ((1, 0), (1.25, -0.2)):
            self.experiment.write_text(EXPERIMENT)
            measured = self.bench_of(factor)
            self.experiment.write_text(EXPERIMENT.replace("rate: 20", "rate: 3"))  # the file says what came when
            comparison = self.compare(measured)
            self.assertEqual(50, comparison["requests"])
            self.assertEqual(["ttft", "tpot", "itl", "e2el"],
                             list(dict.fromkeys(metric["metric"] for metric in comparison["metrics"])))
            for metric in comparison["metrics"]:
                if metric["metric"] != "itl" or metric["statistic"] == "mean":  # all gaps of an answer are made equal
                    self.assertAlmostEqual(error, metric["error"], places=4, msg=metric)

    def test_arrivals_of_a_client_are_its_own(self):
        """Of a request that comes during a step the engine knows later: a client counts from when it sent it."""
        trace = self.folder / "trace.csv"
        trace.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n0,2000,2\n0.001,20,2\n")
        replayed = run("run", self.experiment, "--trace", trace, "--json")
        mean = json.loads(replayed.stdout)["mean_ttft_ms"]
        bench = self.folder / "bench.json"
        bench.write_text(json.dumps({"input_lens": [2000, 20], "output_lens": [2, 2], "start_times": [0, 0.001],
                                     "ttfts": [1, 1], "itls": [[1], [1]]}))
        ttft = self.compare(bench)["metrics"][0]
        self.assertEqual(("ttft", "mean"), (ttft["metric"], ttft["statistic"]))
        self.assertAlmostEqual(mean, ttft["simulated_ms"], places=3)

    def test_runs_of_a_client_that_say_too_little(self):
        path = self.folder / "bench.json"
        good = json.loads(self.bench_of(1).read_text())
        bad = ((good | {"ttfts": [0] * 51}, "was it streamed?"), (good | {"output_lens": [0] * 51}, "that was answered"),
               ({key: value for key, value in good.items() if key != "start_times"}, "has no start_times"))
        for text, expected in bad:
            path.write_text(json.dumps(text))
            result = run("validate", self.experiment, "--measured", path, "--out", self.out)
            self.assert_one_line_error(result, str(path), expected)
            self.assertFalse(self.out.exists())

    def test_real_run_of_vllm_on_an_rtx_4090(self):
        data = shared_data() / "vllm_rtx4090_llama31_8b"
        if not data.exists():
            self.skipTest(f"{data} is missing: set ALCHEMIST_SHARED_DATA to the folder of reference data")
        result = run("validate", "vllm_rtx4090_llama31_8b", "--set", f"profile={data}/profile", "--set",
                     f"workload={data}/workload.jsonl", "--measured", data / "measured_requests.csv", "--out", self.out)
        self.assert_done(result)
        comparison = json.loads((self.out / "comparison.json").read_text())
        self.assertEqual(300, comparison["requests"])
        errors = [abs(metric["error"]) for metric in comparison["metrics"]]
        self.assertEqual(15, len(errors))
        # 0.46 % is the mean absolute error of the simulator that published this run, in the same 15 figures.
        self.assertLess(sum(errors) / 15, 0.0046)
        self.assertLess(max(errors), 0.015)
        self.assertAlmostEqual(sum(errors) / 15, comparison["mean_absolute_error"])


if __name__ == "__main__":
    unittest.main()
