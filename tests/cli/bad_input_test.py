"""What the user gets wrong: exit status 1, one line on stderr that names the place, and nothing written."""

import json
import os
import shutil
import unittest
from pathlib import Path

from alchemist_cli import CliTestCase, run
from samples import EXPERIMENT, TRACES, write_profile

# By format: a line to put in the place of the second request's, and what the message has to name.
BROKEN_LINES = {
    "vidur": [(2, "0.5,twenty,3", "num_prefill_tokens"), (2, "0.5,20", "3 fields"), (2, "0.5,-20,3", "num_prefill_tokens"),
              (2, "soon,20,3", "arrived_at"), (2, "nan,20,3", "arrived_at"), (2, "0.5,1e12,3", "num_prefill_tokens")],
    "azure": [(2, "yesterday,39,10", "TIMESTAMP"), (2, "2023-13-16 18:15:50.99,39,10", "TIMESTAMP"),
              (2, "2023-11-16 18:15:50.9951690,,10", "ContextTokens")],
    "burstgpt": [(2, "45,ChatGPT,1.5,23,131,Conversation log", "Request tokens"), (2, "45,ChatGPT,108", "6 fields"),
                 (2, "1e300,ChatGPT,108,23,131,Conversation log", "time within")],
    "mooncake": [(1, '{"timestamp": 300, "input_length": 700', "JSON object"),
                 (1, '{"timestamp": 300, "input_length": 700, "hash_ids": [1, 3]}', "output_length"),
                 (1, '{"timestamp": 300, "input_length": 700, "output_length": 6, "hash_ids": "1"}', "hash_ids"),
                 (1, '{"timestamp": "x", "input_length": 700, "output_length": 6, "hash_ids": [1, 3]}', "timestamp")],
    "llmservingsim": [(1, '{"arrival_time_ns": -1, "input_toks": 20, "output_toks": 5}', "arrival_time_ns"),
                      (1, '{"arrival_time_ns": 1, "session_id": "a", "sub_requests": [7]}', "sub_requests"),
                      (1, '{"arrival_time_ns": 1, "input_toks": 20, "output_toks": 5, "input_tok_ids": [1]}',
                       "input_tok_ids")],
    "vllm_bench": [(0, '{"duration": 2.5, "total_input_tokens": 67}', "--save-detailed"),
                   (0, '{"input_lens": [37, 30]', "JSON object"),
                   (0, '{"input_lens": [37, 30], "output_lens": [2], "ttfts": [1, 1], "itls": [[], []]}', "output_lens"),
                   (0, '{"input_lens": [37], "output_lens": [2], "ttfts": ["soon"], "itls": [[]]}', "ttfts"),
                   (0, '{"input_lens": [37], "output_lens": [2], "ttfts": [1], "itls": [7]}', "itls")],
    "sharegpt": [(3, '{"id": "b", "conversations": [{"from": "human", "value": 7},', "messages"),
                 (3, '{"id": "b", "conversations": [{"from": "parrot", "value": "x"},', "parrot"),
                 (3, '{"id": "b", "conversations": [{"from" "human", "value": "x"},', "not valid JSON")],
}


class BadInput(CliTestCase):
    def setUp(self):
        self.folder = self.make_directory()
        self.out = self.folder / "out"
        self.experiment = self.folder / "experiment.yaml"
        self.experiment.write_text(EXPERIMENT)

    def refuse(self, *arguments, expected):
        """`alchemist run EXPERIMENT ARGUMENTS --out ...` fails with one line and leaves nothing behind."""
        result = run("run", self.experiment, *arguments, "--out", self.out)
        self.assert_one_line_error(result, *expected)
        self.assertFalse(self.out.exists(), list(self.folder.rglob("*")))

    def refuse_text(self, text, *expected):
        self.experiment.write_text(text)
        self.refuse(expected=[str(self.experiment), *expected])

    def test_broken_line_of_each_trace_format(self):
        for name, broken in BROKEN_LINES.items():
            file, text = TRACES[name]
            for index, replacement, expected in broken:
                lines = text.splitlines()
                lines[index] = replacement
                path = self.folder / file
                path.write_text("\n".join(lines) + "\n")
                with self.subTest(format=name, line=replacement):
                    place = f"{path}:{index + 1}: "
                    if name == "sharegpt":
                        result = run("workload", "inspect", path, "--characters-per-token", "4")
                        self.assert_one_line_error(result, place, expected)
                    else:
                        self.refuse("--trace", path, expected=[place, expected])

    def test_empty_traces(self):
        path = self.folder / "trace.csv"
        for text, expected in (("", "is empty"), ("\n\n", "is empty"), ("arrived_at,num_prefill_tokens,num_decode_tokens\n",
                                                                     "has no requests"),
                               ("arrived_at,num_prefill_tokens,num_decode_tokens\n1,0,5\n", "nothing to serve"),
                               ("a,b\n1,2\n", "expected a trace")):
            path.write_text(text)
            with self.subTest(text=text):
                self.refuse("--trace", path, expected=[str(path), expected])

    def test_missing_files(self):
        self.refuse("--trace", self.folder / "none.csv", expected=["--trace", "none.csv"])
        self.refuse("--policy", self.folder / "none.yaml", expected=["--policy", "none.yaml"])
        self.refuse("--set", f"profile={self.folder}/none", expected=["profile", f"{self.folder}/none"])
        self.refuse("--set", f"hardware={self.folder}/none.yaml", expected=["hardware", "none.yaml"])
        missing = self.folder / "none.yaml"
        self.assert_one_line_error(run("run", missing, "--out", self.out), f"{missing}: no such file")
        self.assert_one_line_error(run("run", "no_such_experiment"), "no_such_experiment", "default")
        self.assert_one_line_error(run("run", self.folder), str(self.folder))

    def test_traces_that_are_no_files(self):
        self.refuse("--trace", self.folder, expected=["--trace", "is a folder"])
        pipe = self.folder / "pipe.csv"
        os.mkfifo(pipe)
        self.refuse("--trace", pipe, expected=["--trace", "cannot be read twice"])
        result = run("workload", "inspect", "requests.azure")
        self.assert_one_line_error(result, "\"requests.azure\" is not among the built-in workloads", "ends with", ".csv")

    def test_files_that_name_themselves_as_their_base(self):
        for key in ("hardware", "model", "policy", "workload"):
            own = self.folder / f"{key}.yaml"
            own.write_text("base: ./own.yaml\n".replace("own", key))
            with self.subTest(key=key):
                self.refuse("--set", f"{key}={own}", expected=[f"{own}:1: ", "key base: expected fewer files"])

    def test_workloads_without_a_request(self):
        workload = "{arrivals: {poisson: {rate: 1}}, lengths: {fixed: {prompt: 9, output: 9}}, duration: 1 us}"
        self.refuse("--set", f"workload={workload}", expected=["key workload: yields no request"])

    def test_unknown_keys(self):
        self.refuse_text(EXPERIMENT + "sede: 8\n", ":9: ", "sede", "did you mean \"seed\"")
        self.refuse_text(EXPERIMENT + "serving: {block_sise: 16}\n", ":9: ", "serving.block_sise", "block_size")
        self.refuse_text(EXPERIMENT.replace("rate: 20", "rate: 20, cv: 2"), ":4: ", "workload.arrivals.poisson.cv")

    def test_units_and_sizes(self):
        self.refuse_text(EXPERIMENT.replace("ttft: 1 s", "ttft: 1"), ":7: ", "slo.ttft", "without a unit")
        self.refuse_text(EXPERIMENT.replace("ttft: 1 s", "ttft: 1 parsec"), ":7: ", "slo.ttft", "unknown unit")
        self.refuse_text(EXPERIMENT.replace("ttft: 1 s", "ttft: -1 s"), ":7: ", "slo.ttft", "not negative")
        for key in ("max_num_seqs", "max_num_batched_tokens", "block_size", "kv_cache_tokens", "tensor_parallel"):
            for value in ("-1", "0", "1.5", "many", "1e30"):
                with self.subTest(key=key, value=value):
                    self.refuse("--set", f"serving.{key}={value}", expected=[f"serving.{key}={value}", "whole number"])
        self.refuse("--set", "serving.gpu_memory_utilization=1.1", expected=["gpu_memory_utilization", "to 1"])
        self.refuse("--set", "hardware.memory=80", expected=["hardware.memory", "without a unit"])
        self.refuse("--set", "workload.requests=0", expected=["workload.requests"])

    def test_model_too_large(self):
        self.refuse("--set", "model=llama-2-70b", "--set", "hardware=rtx4090",
                    expected=["llama-2-70b does not fit", "weights take", "tensor_parallel"])
        self.refuse("--set", "serving.kv_cache_tokens=2000000000", expected=["kv_cache_tokens", "do not fit"])

    def test_beyond_the_clock(self):
        for arrivals in ("{poisson: {rate: 1e-9}}", "{fixed: {rate: 1e-9}}", "{gamma: {rate: 1e-9, cv: 10}}",
                         "{diurnal: {rate: 1e-9}}", "{on_off: {rate_on: 1e-9, mean_on: 4000 h, mean_off: 4000 h}}"):
            self.refuse("--set", f"workload.arrivals={arrivals}", expected=["more than 100 years"])
        self.refuse("--set", "workload.arrivals={on_off: {rate_on: 1, mean_on: 1 ns, mean_off: 1 ns}}",
                    expected=["workload.arrivals", "mean_on"])
        for key, value in (("slo.ttft", "9000 h"), ("hardware.step_overhead", "2000000 h"), ("workload.duration", "1e9 s")):
            self.refuse("--set", f"{key}={value}", expected=[key, "at most a year"])
        for key, value, least in (("memory_bandwidth", "1e-300 GB/s", "1 MB/s"), ("link_h2d_bandwidth", "4.8 B/s", "1 MB/s"),
                                  ("matrix_flops", "1e-300 FLOP/s", "1 GFLOP/s")):
            self.refuse("--set", f"hardware.{key}={value}", expected=[key, f"expected at least {least}"])
        trace = self.folder / "trace.csv"
        trace.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n-6e9,10,5\n6e9,20,3\n")
        self.refuse("--trace", trace, expected=[str(trace), "more than 100 years"])
        trace.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n0,10,5\n1e6,20,3\n")
        self.refuse("--set", "workload={trace: {file: %s, rate_scale: 1e-6}}" % trace,
                    expected=[str(trace), "more than 100 years"])

    def test_more_replicas_than_memory_for_them(self):
        self.refuse("--set", "cluster.gpus=100000", expected=["cluster.gpus", "KV blocks"])

    def test_broken_yaml(self):
        self.refuse_text("model: [tiny\n", "not valid YAML")
        self.refuse_text("", "is empty")
        self.refuse_text("- model\n", "expected a mapping")
        self.refuse_text(EXPERIMENT + "seed: 8\n", "seed", "given twice")
        self.refuse_text(EXPERIMENT.replace("model: tiny", "model: tny"), ":1: ", "did you mean \"tiny\"")

    def test_profile_with_holes(self):
        profile = self.folder / "profile"
        write_profile(profile)
        self.assert_done(run("run", self.experiment, "--set", f"profile={profile}", "--json"))
        good = (profile / "attention.csv").read_text()
        for line, expected in (("16,1024,256,128,", "16,1024,256,128"), ("0,0,1,2048,", "n_decode,kv_decode = 1,2048"),
                               ("2048,0,0,0,", "2048,0,0,128")):
            with self.subTest(hole=line):
                rows = [row for row in good.splitlines() if not row.startswith(line)]
                self.assertEqual(len(good.splitlines()) - 1, len(rows))
                (profile / "attention.csv").write_text("\n".join(rows) + "\n")
                self.refuse("--set", f"profile={profile}",
                            expected=[str(profile / "attention.csv"), "has a hole", expected])
        (profile / "attention.csv").write_text(good.replace("prefill_chunk", "chunk"))
        self.refuse("--set", f"profile={profile}", expected=[str(profile / "attention.csv") + ":1: ", "prefill_chunk"])
        (profile / "attention.csv").unlink()
        self.refuse("--set", f"profile={profile}", expected=[str(profile / "attention.csv"), "no such file"])

    def test_profile_of_another_degree(self):
        profile = self.folder / "profile"
        write_profile(profile)
        self.refuse("--set", f"profile={profile}", "--set", "serving.tensor_parallel=2", "--set", "cluster.gpus=2",
                    expected=["tensor_parallel: is 2, but profile " + str(profile), "a GPU with whole layers"])

    def test_unwritable_out(self):
        file = self.folder / "file"
        file.write_text("mine")
        for out in (file, file / "below", "/proc/none"):
            with self.subTest(out=out):
                self.assert_one_line_error(run("run", self.experiment, "--out", out), str(out))
        self.assertEqual("mine", file.read_text())

    @unittest.skipIf(os.geteuid() == 0, "root may write everywhere")
    def test_folder_without_permission(self):
        self.folder.chmod(0o500)
        self.addCleanup(self.folder.chmod, 0o700)
        self.assert_one_line_error(run("run", self.experiment, "--out", self.out), str(self.out))

    def test_full_disk(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("/dev/full is missing")
        self.out.mkdir()
        (self.out / "requests.csv.partial").symlink_to("/dev/full")
        result = run("run", self.experiment, "--set", "workload.requests=5000", "--out", self.out)
        self.assert_one_line_error(result, "requests.csv", "No space left")
        self.assertEqual([], list(self.out.iterdir()))

    def test_failure_keeps_earlier_results(self):
        self.assert_done(run("run", self.experiment, "--out", self.out))
        before = {file.name: file.read_bytes() for file in self.out.iterdir()}
        (self.folder / "trace.csv").write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n1,x,5\n")
        result = run("run", self.experiment, "--trace", self.folder / "trace.csv", "--out", self.out)
        self.assert_one_line_error(result, "trace.csv:2: ")
        self.assertEqual(before, {file.name: file.read_bytes() for file in self.out.iterdir()})

    def test_options(self):
        self.refuse("--set", "seed", expected=["--set seed: expected KEY.PATH=VALUE"])
        self.refuse("--set", "=3", expected=["--set =3: expected KEY.PATH=VALUE"])
        self.assert_one_line_error(run("run", self.experiment, "--trace-events"), "--trace-events", "--out")
        self.assert_user_error(run("run"), "EXPERIMENT")
        self.assert_user_error(run("run", self.experiment, "--sed", "3"), "--sed")
        self.assert_user_error(run("run", self.experiment, "--seed", "x"), "--seed")

    def test_empty_arguments(self):
        for arguments in (["run", "default", "--trace", ""], ["run", "default", "--out", ""],
                          ["workload", "convert", "x.csv", "--to", "azure", "--out", ""], ["calibrate", "--out", ""]):
            with self.subTest(arguments=arguments):
                self.assert_one_line_error(run(*arguments), "is empty", f'behind "{arguments[-2]}"')

    def test_models_without_kernels(self):
        self.assert_one_line_error(run("calibrate", "--device", "cpu", "--model", "qwen3-30b-a3b", "--out", self.out),
                                   "model qwen3-30b-a3b: experts are not computed by the kernels, only simulated")
        profile = self.folder / "profile"
        write_profile(profile)
        self.refuse("--set", f"profile={profile}", "--set", "model={base: tiny, experts: 8, experts_per_token: 2}",
                    expected=[str(profile), "dense layers", "tiny has 8 experts"])

    def test_a_model_too_small_to_calibrate(self):
        model = self.folder / "flat.yaml"
        tiny = Path(os.environ["ALCHEMIST_SOURCE_DIR"]) / "configs/models/tiny.yaml"
        model.write_text(tiny.read_text().replace("layers: 4", "layers: 1"))
        self.assert_one_line_error(run("calibrate", "--device", "cpu", "--model", model, "--out", self.out),
                                   "--model: expected at least 2 layers, got the 1 of flat")
        self.assertFalse(self.out.exists())

    def test_paths_on_the_command_line_are_those_of_the_shell(self):
        (self.folder / "trace.csv").write_text(TRACES["vidur"][1])
        run_here = ["run", self.experiment, "--set", "workload=trace.csv"]
        self.assert_done(run(*run_here, cwd=self.folder))
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir()
        self.assert_one_line_error(run(*run_here, cwd=elsewhere), str(elsewhere / "trace.csv"))
        (elsewhere / "profile").mkdir()
        self.assert_one_line_error(run("run", self.experiment, "--set", "profile=profile", cwd=elsewhere),
                                   str(elsewhere / "profile"))

    def test_a_profile_of_another_model_is_told(self):
        profile = self.folder / "profile"
        shutil.copytree(Path(os.environ["ALCHEMIST_SOURCE_DIR"]) / "results/gpu/2026-11-27_h200/profile", profile)
        arguments = ["--set", f"profile={profile}", "--set", "workload.requests=5"]
        result = run("run", "tiny", "--policy", "temporal", *arguments)
        self.assert_done(result)
        self.assertIn("was measured with model llama-3.1-8b, but this is tiny with lora", result.stderr)
        result = run("run", "default", "--policy", "temporal", *arguments)
        self.assert_done(result)
        self.assertNotIn("was measured with", result.stderr)
        result = run("run", "default", "--policy", "temporal", "--set", "training.lora_modules=[q, v]", *arguments)
        self.assert_done(result)
        self.assertIn("was measured with adapters on all linear modules, but this is llama-3.1-8b with lora on q v:",
                      result.stderr)

    def test_captured_steps_of_a_calibration_are_not_padded(self):
        """Nine requests decode at once. vLLM captures steps of eight and of sixteen, our backend of nine."""
        profile = self.folder / "profile"
        shutil.copytree(Path(os.environ["ALCHEMIST_SOURCE_DIR"]) / "results/gpu/2026-11-27_h200/profile", profile)
        arguments = ["run", "default", "--set", f"profile={profile}", "--set", "workload={arrivals: {fixed: {rate: 1000}}, "
                     "lengths: {fixed: {prompt: 100, output: 50}}, requests: 9}", "--json", "--set"]

        def tpot(graphs):
            result = run(*arguments, f"serving.cuda_graphs={graphs}")
            self.assert_done(result)
            return json.loads(result.stdout)["median_tpot_ms"]
        exact = tpot("false")
        self.assertGreater(tpot("true"), exact)
        (profile / "meta.yaml").write_text((profile / "meta.yaml").read_text() + "cuda_graphs: true\n")
        self.assertEqual(tpot("true"), exact)

    def test_refused_requests_are_counted(self):
        result = run("run", "default", "--set", "serving.kv_cache_tokens=1024", "--set", "workload.requests=200", "--json")
        self.assert_done(result)
        summary = json.loads(result.stdout)
        self.assertGreater(summary["refused"], 0)
        self.assertEqual(200, summary["refused"] + summary["completed"])
        # Of 64 blocks of 16 tokens one is never given out, as in vLLM.
        self.assertIn(f"{summary['refused']} of 200 requests were refused: prompt and answer together exceed 1008 tokens",
                      result.stderr)

    def test_output_onto_what_is_no_file(self):
        fifo = self.folder / "fifo"
        os.mkfifo(fifo)
        trace = self.folder / "trace.csv"
        trace.write_text(TRACES["vidur"][1])
        self.assert_one_line_error(run("workload", "convert", trace, "--to", "vidur", "--out", fifo), "is no regular file")
        self.assertTrue(fifo.is_fifo())
        link = self.folder / "link.csv"
        target = self.folder / "target.csv"
        target.write_text("old")
        link.symlink_to(target)
        self.assert_done(run("workload", "convert", trace, "--to", "vidur", "--out", link))
        self.assertTrue(link.is_symlink())
        self.assertNotEqual("old", target.read_text())

    def test_what_a_format_has_no_place_for(self):
        """Converting says what is lost, if anything is."""
        talk = self.folder / "talk.csv"
        talk.write_text("arrived_at,num_prefill_tokens,num_decode_tokens,session_id,turn\n"
                        "0,20,5,1,0\n1,30,5,2,0\n2,40,5,1,1\n")
        chain = self.folder / "chain.jsonl"
        chain.write_text('{"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [1, 2]}\n'
                         '{"timestamp": 1, "input_length": 700, "output_length": 5, "hash_ids": [1, 3]}\n')
        for trace, to, lost in [(talk, "vidur", None), (talk, "burstgpt", None),
                                (talk, "azure", "which of them are later turns of a conversation (1)"),
                                (talk, "mooncake", "which of them are later turns of a conversation (1)"),
                                (chain, "mooncake", None), (chain, "vidur", "which prompts begin alike (2 have hashes of it)"),
                                (chain, "llmservingsim", "which prompts begin alike (2 have hashes of it)")]:
            with self.subTest(trace=trace.name, to=to):
                result = run("workload", "convert", trace, "--to", to, "--out", self.folder / "out.txt")
                self.assert_done(result)
                self.assertIn(" requests\n", result.stderr)
                self.assertEqual([f"alchemist: warning: {to} does not say {lost}"] if lost else [],
                                 [line for line in result.stderr.splitlines() if "warning" in line])

    def test_numbers_on_the_command_line(self):
        for arguments, option, expected in [
                (["run", self.experiment], "--seed", "a whole number of at least 0"),
                (["workload", "inspect", "sharegpt"], "--seed", "a whole number of at least 0"),
                (["workload", "inspect", "sharegpt"], "--rate-scale", "a number from 1e-06 to 1000000"),
                (["workload", "inspect", "sharegpt"], "--block-tokens", "a whole number from 1 to 1048576"),
                (["staleness"], "--learning-rate", "a number from 0 to 1"),
                (["staleness"], "--samples", "a whole number from 1 to 1024"),
                (["sweep", "default"], "--jobs", "a whole number from 1 to 4096"),
                (["show", "model", "tiny"], "--rank", "a whole number from 1 to 65536")]:
            for value in ["nan", "inf", "-1", "1e999", "99999999999999999999", "7x", ""]:
                with self.subTest(arguments=arguments, option=option, value=value):
                    out = [] if arguments[0] in ("workload", "show") else ["--out", self.out]
                    result = run(*arguments, f"{option}={value}", *out)
                    self.assert_user_error(result, option, *([expected, f'got "{value}"'] if value else []))
                    self.assertFalse(self.out.exists())
        for value in ["0", "9223372036854775807"]:
            self.assert_done(run("run", self.experiment, "--seed", value))


if __name__ == "__main__":
    unittest.main()
