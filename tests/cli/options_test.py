"""Options of a command that contradict each other or an experiment: what the message blames."""

import json
import unittest

from alchemist_cli import CliTestCase, run
from samples import TRACES

SHORT = '{"timestamp": 0, "input_length": 10, "output_length": 5, "hash_ids": [1]}\n'


class Options(CliTestCase):
    def refuse(self, *arguments, expected):
        self.assert_one_line_error(run("run", "default", *arguments), *expected)

    def test_given_twice(self):
        trace = self.make_directory() / "trace.csv"
        trace.write_text(TRACES["vidur"][1])
        for option, value, setting in (("--trace", trace, "workload=chat"), ("--trace", trace, f"workload.trace={trace}"),
                                       ("--policy", "alchemist", "policy=temporal"),
                                       ("--policy", "alchemist", "policy.base=temporal"), ("--seed", "3", "seed=4")):
            with self.subTest(setting=setting):
                self.refuse(option, value, "--set", setting,
                            expected=[f"{option} {value} and --set {setting}: expected one of the two"])
        self.assert_done(run("run", "default", "--trace", trace, "--set", "workload.rate=4", "--policy", "temporal",
                             "--set", "serving.max_num_seqs=64", "--seed", "3"))

    def test_block_tokens_of_a_trace(self):
        """Both ways that the message tells work."""
        trace = self.make_directory() / "trace.jsonl"
        trace.write_text(SHORT)
        self.refuse("--trace", trace, expected=["state the block size (--set workload.trace.block_tokens=N; of "
                                                "`alchemist workload`: --block-tokens N)"])
        for source in (["--trace", trace], ["--set", f"workload={trace}"]):
            self.assert_done(run("run", "default", *source, "--set", "workload.trace.block_tokens=16"))
        self.assert_done(run("workload", "inspect", trace, "--block-tokens", "16"))
        self.refuse("--trace", trace, "--set", "workload.trace.block_tokes=4",
                    expected=["--set workload.trace.block_tokes=4: key workload.trace.block_tokes: unknown key"])
        self.refuse("--set", "workload=chat", "--set", "workload.trace.block_tokens=4",
                    expected=["key workload.trace: the workload \"chat\" replays no trace"])

    def test_paths_are_relative_to_the_working_directory(self):
        """Also within a mapping and below a key of an experiment that lies elsewhere (the README's command)."""
        folder = self.make_directory()
        (folder / "sharegpt.json").write_text(TRACES["sharegpt"][1])
        lengths = "{empirical: {file: sharegpt.json, characters_per_token: 4}}"
        for settings in ([f"workload={{arrivals: {{poisson: {{rate: 4}}}}, requests: 20, lengths: {lengths}}}"],
                         [f"workload.lengths={lengths}", "workload.requests=20"]):
            words = [word for setting in settings for word in ("--set", setting)]
            self.assert_done(run("run", "default", *words, cwd=folder))

    def test_what_a_workload_command_names(self):
        """A workload that is not there is told without a key, which nobody wrote."""
        out = self.make_directory() / "out.csv"
        for command in (["inspect", "nofile"], ["inspect", "nofile.csv"], ["inspect", "no/file.yaml", "--rate", "3"],
                        ["generate", "nofile", "--out", out, "--requests", "5"]):
            with self.subTest(command=command):
                result = run("workload", *command)
                self.assert_one_line_error(result, command[1])
                self.assertNotIn("key", result.stderr)

    def test_options_of_traces(self):
        for option, value in (("--rate-scale", "2"), ("--format", "azure")):
            self.assert_one_line_error(run("workload", "inspect", "sharegpt", option, value),
                                       f"{option}: sharegpt is no trace")
        trace = self.make_directory() / "trace.csv"
        trace.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n0,9,1\n1,9,1\n")
        for command in (["inspect", trace], ["convert", trace, "--to", "azure", "--out", trace.with_suffix(".out")]):
            self.assert_one_line_error(run("workload", *command, "--rate", "3", "--rate-scale", "2"),
                                       "--rate, --rate-scale: expected one of them")
        described = trace.with_name("described.yaml")
        described.write_text("trace: {file: trace.csv, rate: 4}\n")
        result = run("workload", "inspect", described, "--rate-scale", "2", "--json")
        self.assertEqual(2, json.loads(result.stdout)["requests_per_s"])

    def test_formats_to_write(self):
        out = self.make_directory() / "out"
        for to in ("auto", "foo", "sharegpt"):
            for command in (["generate", "chat"], ["convert", "x.csv"]):
                result = run("workload", *command, "--to", to, "--out", out)
                self.assert_one_line_error(
                    result, f'--to: expected vidur, azure, burstgpt, mooncake or llmservingsim, got "{to}"')
        self.assertFalse(out.exists())

    def test_what_is_set_is_blamed(self):
        for setting in ("foo.bar=1", "model.heads=7", "hardware.speed=1", "policy.window_layer=4"):
            self.refuse("--set", setting, expected=[f"alchemist: --set {setting}: key {setting[:3]}"])
        self.refuse("--set", "hardware.memory=1 GiB", expected=["does not fit", "(with --set hardware.memory=1 GiB)"])

    def test_words_in_place_of_numbers(self):
        self.refuse("--set", "training.max_itl=hiden", expected=["expected hidden or a length of time", 'got "hiden"'])
        for key in ("kv_cache_tokens", "max_model_len"):
            self.refuse("--set", f"serving.{key}=auto2", expected=["expected auto or a whole number", 'got "auto2"'])
        self.refuse("--set", "serving.enable_lora=aut", expected=["expected auto or true or false", 'got "aut"'])
        self.refuse("--set", "training=null", expected=["key training: expected a value, got nothing"])

    def test_folders_in_place_of_files(self):
        folder = self.make_directory()
        self.assert_one_line_error(run("run", folder), f"{folder}: is a folder, not a file")
        self.refuse("--policy", folder, expected=[f"{folder}: is a folder, not a file"])

    def test_kinds_to_show(self):
        self.assert_one_line_error(run("show", "foo", "x"), "policy, experiment, sweep, breakeven")


if __name__ == "__main__":
    unittest.main()
