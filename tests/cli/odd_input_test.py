"""Odd input and odd machines: one clear message, or a warning of what would be ignored; never a hang, a foreign library's
text, a place in the sources or a control character on the terminal."""

import os
import sqlite3
import subprocess
import unittest
from pathlib import Path

from alchemist_cli import CliTestCase, run
from samples import EXPERIMENT

TRAINING = EXPERIMENT + "policy: alchemist\ntraining: {batch_tokens: 512, feedback: {share: 1, delay: {fixed: 10 ms}}}\n"


class OddInput(CliTestCase):
    def setUp(self):
        self.folder = self.make_directory()
        self.experiment = self.folder / "experiment.yaml"
        self.experiment.write_text(TRAINING)
        self.out = self.folder / "out"

    def refuse(self, *arguments, expected):
        self.assert_one_line_error(run("run", self.experiment, *arguments, "--out", self.out), *expected)
        self.assertFalse(self.out.exists())

    def warnings(self, *settings):
        result = run("run", self.experiment, "--json", *(word for text in settings for word in ("--set", text)))
        self.assert_done(result)
        return [line for line in result.stderr.splitlines() if line.startswith("alchemist: warning: ")]

    def test_a_comma_where_yaml_has_none(self):
        """yaml-cpp would look for the end of such documents until the memory is full."""
        for text, expected in ((",", ":1: not valid YAML: a comma"), ("# a comment\n,model: tiny\n", ":2: not valid YAML"),
                               ("model: tiny\n---\n, model: tiny\n", ":3: expected one YAML document")):
            with self.subTest(text=text):
                self.experiment.write_text(text)
                self.refuse(expected=[str(self.experiment) + expected])
        self.experiment.write_text(TRAINING)
        self.refuse("--set", "policy=,", expected=["--set policy=,: key policy: expected a value, got nothing"])

    def test_text_with_control_characters(self):
        self.refuse("--set", "seed=\n'1\n'", expected=["--set seed=\\n'1\\n': key seed: expected a whole number"])
        for key, base in (("policy", "temporal"), ("hardware", "cpu-2core"), ("model", "tiny")):
            self.refuse("--set", f'{key}={{base: {base}, name: "a\\e[31m"}}', expected=[f"key {key}.name: ", '"a\\x1b[31m"'])
        self.refuse("--set", 'policy={base: temporal, name: "a\\u009b31m\u00e9"}', expected=['"a\\xc2\\x9b31m\u00e9"'])
        self.experiment.write_text('model: "ti\\e[31mny\\n"\n')
        self.refuse(expected=[':1: key model: "ti\\x1b[31mny\\n" is not among'])
        trace = self.folder / "trace.csv"
        trace.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n1,2\x1b[2J,5\n")
        self.assert_one_line_error(run("workload", "inspect", trace), 'got "2\\x1b[2J"')
        trace.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n1,2\u009b2J,5\n")
        self.assert_one_line_error(run("workload", "inspect", trace), 'got "2\\xc2\\x9b2J"')

    def test_rates_beyond_numbers(self):
        for key, value in (("memory_bandwidth", "1e300 TB/s"), ("link_pageable_bandwidth", "1e300 GB/s"),
                           ("matrix_flops", "1e300 PFLOP/s")):
            self.refuse("--set", f"hardware.{key}={value}", expected=[f"hardware.{key}={value}", "too large"])

    def test_turns_without_sessions(self):
        trace = self.folder / "trace.csv"
        trace.write_text("arrived_at,num_prefill_tokens,num_decode_tokens,session,turn\n0,10,5,a,0\n1,30,5,a,1\n")
        self.refuse("--trace", trace, expected=[f"{trace}:1: ", '"turn"', '"session_id"'])

    def test_memory_that_is_not_there(self):
        limited = "ulimit -v 600000; exec \"$0\" \"$@\""  # KiB
        arguments = [os.environ["ALCHEMIST"], "run", str(self.experiment), "--set", "workload.requests=400000000", "--set",
                     "workload.arrivals={fixed: {rate: 1e6}}", "--out", str(self.out)]
        works = ["bash", "-c", limited, os.environ["ALCHEMIST"], "list"]
        if subprocess.run(works, capture_output=True, check=False).returncode != 0:
            self.skipTest("sanitizers need more address space")
        result = subprocess.run(["bash", "-c", limited, *arguments], capture_output=True, text=True, timeout=600,
                                check=False, env={**os.environ, "LC_ALL": "C"})  # bash warns of one that is not installed
        self.assert_one_line_error(result, "out of memory")
        self.assertFalse(self.out.exists())

    def test_a_log_that_no_run_wrote(self):
        log = self.folder / "events.log"
        self.assert_done(run("run", self.experiment, "--record-events", log))
        lines = log.read_text().splitlines()
        first = next(i for i, line in enumerate(lines) if " completion " in line)
        behind = next(i for i in range(first + 1, len(lines)) if " > " not in lines[i])
        log.write_text("\n".join(lines[:behind] + [lines[first]] + lines[behind:]) + "\n")
        result = run("replay", log)
        self.assert_one_line_error(result, f"{log}:{behind + 1}: a fresh node cannot have been told this: check failed: ")
        self.assertNotIn(".cc", result.stderr)
        self.assertNotIn("::", result.stderr)

    def test_a_damaged_database(self):
        sweep = self.folder / "sweep.yaml"
        sweep.write_text("base: ./experiment.yaml\ngrid: {workload.rate: [10]}\nseeds: [1]\n")
        self.assert_done(run("sweep", sweep, "--out", self.out))
        for column, value, expected in (("config", "a: [", "what is there is damaged: it is not valid YAML"),
                                        ("summary", "{", f"{self.out}/results.sqlite: the summary of point 0 with seed 1 is "
                                                         "damaged")):
            with self.subTest(column=column):
                database = sqlite3.connect(self.out / "results.sqlite")
                whole = database.execute(f"SELECT {column} FROM runs").fetchone()[0]
                database.execute(f"UPDATE runs SET {column} = ?", (value,))
                database.commit()
                self.assert_user_error(run("sweep", sweep, "--out", self.out, "--resume"), expected)
                database.execute(f"UPDATE runs SET {column} = ?", (whole,))
                database.commit()
                database.close()
        self.assert_done(run("sweep", sweep, "--out", self.out, "--resume"))

    def test_figures_of_a_folder_whose_name_is_too_long(self):
        self.assert_one_line_error(run("plot", 300 * "x"), 300 * "x" + ": File name too long")

    def test_figures_told_to_an_output_that_is_full(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("/dev/full is missing")
        self.assert_done(run("run", self.experiment, "--out", self.out))
        with open("/dev/full", "w", encoding="utf-8") as full:
            result = subprocess.run([os.environ["ALCHEMIST"], "plot", str(self.out), "--format", "svg"], stdout=full,
                                    stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual((1, "alchemist: cannot write to standard output: No space left on device\n"),
                         (result.returncode, result.stderr))

    def test_figures_without_a_home(self):
        """matplotlib, which keeps its files there, would say so."""
        result = subprocess.run([os.environ["ALCHEMIST"], "plot", str(self.folder / "nothing")], capture_output=True,
                                text=True, check=False, env={**os.environ, "MPLCONFIGDIR": "/proc/none"})
        self.assert_one_line_error(result, "nothing")

    def test_no_feedback_is_told(self):
        self.assertEqual([], self.warnings())
        for setting in ("training.feedback.share=0", "training.feedback.delay={fixed: 1 h}"):
            self.assertRegex("\n".join(self.warnings(setting)), "nothing was trained: no feedback came before the run ended")

    def test_keys_of_which_no_use_is_made_are_told(self):
        for policy, keys in (("{base: temporal, gpu_record_share: 0.2, keep_for: 1 s}", "gpu_record_share, keep_for: record"),
                             ("{base: reuse, host_record_share: 0.2, gpu_record_share: 0.2}", "host_record_share: neither"),
                             ("{base: serve_only, stretch: 0.1, micro_batch_tokens: 64}",
                              "stretch, micro_batch_tokens: train is none")):
            with self.subTest(policy=policy):
                warnings = self.warnings(f"policy={policy}")
                self.assertEqual(1, len(warnings), warnings)
                self.assertIn(f"no use is made of {keys}", warnings[0])
        self.assertEqual([], self.warnings("policy={base: compact, gpu_record_share: 0.2, host_record_share: 0.2}"))

    def test_adapters_of_full_fine_tuning(self):
        full = ("policy=temporal", "training.method=full", "training.feedback.share=0.5")
        self.assertNotIn("no use is made", "\n".join(self.warnings(*full)))
        told = self.warnings(*full, "training.lora_rank=64", "training.lora_modules=[q, v]")
        self.assertIn("no use is made of lora_rank, lora_modules: method is full", "\n".join(told))

    def test_turns_that_come_before_earlier_ones_are_told(self):
        trace = self.folder / "trace.csv"
        lines = ["arrived_at,num_prefill_tokens,num_decode_tokens,session_id,turn", "2,90,5,a,2", "0,10,5,a,0", "1,30,5,a,1"]
        trace.write_text("\n".join(lines) + "\n")
        self.assertNotIn("turn", run("run", self.experiment, "--trace", trace).stderr)
        trace.write_text("\n".join([*lines, "3,40,5,a,1", "4,50,5,b,0"]) + "\n")
        self.assertIn(f"{trace}:5: arrives behind a later turn", run("run", self.experiment, "--trace", trace).stderr)

    def test_sessions_of_a_closed_loop(self):
        loop = "workload.arrivals={closed_loop: {concurrent: 3}}"
        self.assertEqual([], self.warnings(loop, "workload.sessions={turns: 2, think_time: {fixed: 1 s}}"))
        warnings = self.warnings(loop, "workload.sessions={turns: 2, think_time: {fixed: 1 s}, answer_delay: 1 s, "
                                       "warm_up: 1 h}")
        self.assertEqual(1, len(warnings), warnings)
        self.assertIn("no use is made of answer_delay, warm_up: in a closed loop", warnings[0])


class BuiltInConfigurations(CliTestCase):
    def test_make_use_of_all_their_keys(self):
        for file in sorted((Path(os.environ["ALCHEMIST_SOURCE_DIR"]) / "configs/policies").glob("*.yaml")):
            result = run("run", "tiny", "--policy", file.stem, "--set", "cluster={gpus: 2, training_gpus: 1}", "--set",
                         "workload.requests=20")
            with self.subTest(policy=file.stem):
                self.assert_done(result)
                self.assertNotIn("no use is made", result.stderr)


if __name__ == "__main__":
    unittest.main()
