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

    def compare(self, measured):
        self.assert_done(run("validate", self.experiment, "--measured", measured, "--out", self.out))
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
