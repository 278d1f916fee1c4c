"""alchemist validate --device and calibrate: a few requests for real, and what goes wrong."""

import csv
import json
import os
import re
import unittest

from alchemist_cli import CliTestCase, run
from samples import write_profile

FEW = ["--set", "workload.requests=12", "--set", "workload.rate=20", "--set", "training.batch_tokens=512",
       "--set", "training.feedback={share: 1, delay: {fixed: 50 ms}}"]


class ValidateDevice(CliTestCase):
    def validate(self, policy, *arguments):
        out = self.make_directory() / "out"
        result = run("validate", "tiny", "--device", "cpu", "--policy", policy, *FEW, "--out", out, *arguments)
        self.assert_done(result)
        real = json.loads((out / "real" / "summary.json").read_text())
        simulated = json.loads((out / "simulated" / "summary.json").read_text())
        return result, out, real, simulated

    def test_both_worlds(self):
        result, out, real, simulated = self.validate("planned")
        self.assertIn("all equal", result.stdout)
        self.assertTrue(real["device"].startswith("CPU, f32"))
        self.assertNotIn("device", simulated)
        self.assertEqual(12, real["completed"])
        self.assertGreater(real["duration_s"], 0.3)
        for key in ["completed", "prefix_hit_tokens"]:
            self.assertEqual(simulated[key], real[key])
        with open(out / "comparison.csv", newline="", encoding="utf-8") as file:
            rows = {row["metric"]: row for row in csv.DictReader(file)}
        self.assertEqual(real["mean_ttft_ms"], float(rows["mean_ttft_ms"]["real"]))
        self.assertEqual(simulated["mean_ttft_ms"], float(rows["mean_ttft_ms"]["simulated"]))
        # Its own prices are not those of the machine, so that with what the operations took the simulation is another.
        self.assertNotEqual(rows["mean_e2el_ms"]["simulated"], rows["mean_e2el_ms"]["repriced"])
        self.assertEqual("", rows["mean_e2el_ms"]["at_speed"])
        self.assert_operations(out / "operations.csv", real)
        with open(out / "operation_times.csv", newline="", encoding="utf-8") as file:
            times = list(csv.DictReader(file))
        with open(out / "operations.csv", newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                of_kind = [float(each["real_us"]) for each in times if each["operation"] == row["operation"]]
                self.assertEqual(int(row["count"]), len(of_kind))
                self.assertAlmostEqual(float(row["real_s"]), 1e-6 * sum(of_kind), places=5)
        for world in ["real", "simulated"]:
            for name in ["config.yaml", "requests.csv", "memory.csv", "trace.json"]:
                self.assertTrue((out / world / name).exists(), f"{world}/{name}")
        self.assert_done(run("replay", out / "events.log"))

    def test_training_that_gives_its_memory_back(self):
        """Of the memory, training takes most for good and a sample, which goes to the host but for a layer, most of the
        rest, so that a prompt that comes meanwhile waits for it. Users who wait for their answers are thinking often
        enough for training to begin, however slow the machine is, and come back while it goes on, however fast. The host
        has room for little more than a sample."""
        for policy in ["alchemist", "answers", "compact", "elastic"]:
            with self.subTest(policy=policy):
                result, out, real, _ = self.validate(
                    policy, "--set", "policy.window_layers=1", "--set", "hardware.host_memory=32 MiB", "--set",
                    "serving.kv_cache_tokens=7600", "--set", "training.batch_tokens=256", "--set", "training.max_itl=40 ms",
                    "--set", "workload={arrivals: {closed_loop: {concurrent: 5}}, lengths: {fixed: {prompt: 420, output: 16}}, "
                    "sessions: {turns: 1, think_time: {exponential: 300 ms}}, requests: 60}")
                self.assertIn("all equal", result.stdout)
                self.assertEqual(60, real["completed"])
                self.assertGreater(real["train_preemptions"], 0)
                self.assertGreater(real["link_d2h_bytes"], 0)
                self.assert_done(run("replay", out / "events.log"))

    def test_a_model_with_norms_of_heads(self):
        """Records have another layout there, and training makes queries and keys again from what they hold."""
        result, out, real, simulated = self.validate(
            "elastic", "--set", "model={base: tiny, qk_norm: true}", "--set", "training.batch_tokens=128", "--set",
            "training.max_itl=40 ms", "--set",
            "workload={arrivals: {closed_loop: {concurrent: 3}}, lengths: {fixed: {prompt: 90, output: 8}}, "
            "sessions: {turns: 1, think_time: {exponential: 300 ms}}, requests: 30}")
        self.assertIn("all equal", result.stdout)
        self.assertGreater(real["train_steps"], 0)
        self.assertGreater(real["train_tokens_reused"], 0)
        self.assertEqual(simulated["completed"], real["completed"])
        self.assert_done(run("replay", out / "events.log"))

    def test_short_records_fill_the_host(self):
        """Each takes whole pages there, in both worlds."""
        result, out, real, _ = self.validate(
            "alchemist", "--set", "hardware.host_memory=24 MiB", "--set", "training.feedback.delay={fixed: 60 s}", "--set",
            "workload={arrivals: {fixed: {rate: 400}}, lengths: {fixed: {prompt: 5, output: 2}}, requests: 300}")
        self.assertIn("all equal", result.stdout)
        self.assertGreater(real["peak_host_bytes"], 11 << 20)

    def assert_operations(self, path, real):
        """What the device ran, each kind beside its price: all of the training that the results count, and no more time
        than the run took. How much is trained of so few requests depends on the machine's speed."""
        with open(path, newline="", encoding="utf-8") as file:
            rows = {row["operation"]: row for row in csv.DictReader(file)}
        self.assertEqual(["decode", "prefill"], list(rows)[:2])
        for row in rows.values():
            self.assertGreater(float(row["priced_s"]), 0)
            self.assertAlmostEqual(float(row["priced_s"]) / float(row["real_s"]) - 1, float(row["error"]))
        if real["train_steps"] > 0:
            self.assertEqual(["forward", "head", "backward", "optimizer"], list(rows)[2:])
            backward = sum(float(rows[name]["real_s"]) for name in ["head", "backward"])
            self.assertGreaterEqual(1.001 * backward, 1e-3 * real["train_steps"] * real["train_backward_ms"])
        self.assertLess(sum(float(row["real_s"]) for row in rows.values()), real["duration_s"])

    def test_recorded_tokens_are_the_same(self):
        """With room for every record, so that none depends on when another one went."""
        policy = self.make_directory() / "roomy.yaml"
        for answers in ["false", "true"]:
            policy.write_text("description: roomy\nrecord: minimal\nplace: stay\nevict: oldest\nrestore: none\n"
                              f"train: headroom\ngpu_record_share: 0.8\nrecord_answers: {answers}\n")
            _, out, real, _ = self.validate(policy)
            recorded, tokens = [], {}
            for world in ["real", "simulated"]:
                with open(out / world / "requests.csv", newline="", encoding="utf-8") as file:
                    rows = list(csv.DictReader(file))
                recorded.append({row["request_id"]: (row["recorded_tokens"], row["recorded_bytes"]) for row in rows})
                tokens = {row["request_id"]: (int(row["recorded_tokens"]), int(row["num_prefill_tokens"]),
                                              int(row["num_decode_tokens"]), int(row["prefix_hit_tokens"])) for row in rows}
            self.assertEqual(recorded[0], recorded[1])
            for recorded_tokens, prompt, answer, hit in tokens.values():
                self.assertEqual(prompt - hit + (answer - 1 if answers == "true" else 0), recorded_tokens)
            self.assert_done(run("replay", out / "events.log"))

    def test_emulated_link_is_marked(self):
        result, out, real, _ = self.validate("alchemist", "--link", "0.5 GB/s")
        self.assertIn("link emulated at 0.5 GB/s", real["device"])
        self.assertIn("link emulated at 0.5 GB/s", result.stdout)
        config = (out / "simulated" / "config.yaml").read_text()
        for rate in ["h2d_bandwidth: 500 MB/s", "d2h_bandwidth: 500 MB/s", "duplex_bandwidth: 1 GB/s"]:
            self.assertIn(f"link_{rate}", config)

    def test_a_machine_that_is_slower_than_it_was_measured(self):
        """By a profile that says it was measured while the probe took a thousandth of a microsecond."""
        profile = self.make_directory() / "profile"
        write_profile(profile)
        (profile / "meta.yaml").write_text("device: CPU\nmodel: tiny\nspeed_sensitivity: 1\nspeed_level: 0.001\n")
        result, out, _, _ = self.validate("serve_only", "--set", f"profile={profile}")
        slowness = float(re.search(r"speed: by probes between the operations, (\S+) times as slow", result.stdout)[1])
        self.assertGreater(slowness, 1000)
        with open(out / "comparison.csv", newline="", encoding="utf-8") as file:
            rows = {row["metric"]: row for row in csv.DictReader(file)}
        row = rows["mean_e2el_ms"]
        for other in ["simulated", "repriced"]:
            self.assertGreater(float(row["at_speed"]), 10 * float(row[other]))
        error = (float(row["at_speed"]) - float(row["real"])) / float(row["real"])
        self.assertAlmostEqual(1, float(row["at_speed_error"]) / error)

    def test_mistakes(self):
        out = self.make_directory() / "out"
        for arguments, expected in [
                (["tiny", "--out", out], "expected --device or --measured FILE"),
                (["tiny", "--device", "cpu", "--link", "5 km", "--out", out], "--link"),
                (["tiny", "--device", "cpu", "--set", "cluster.gpus=2", "--out", out], "a real run has one device"),
                (["tiny", "--device", "cpu", "--set", "hardware.host_memory_pinned=false", "--out", out],
                 "a real run pins what it copies"),
                (["tiny", "--device", "cpu", "--policy", "beside", "--out", out], "train: beside is simulated only"),
                (["tiny", "--device", "cpu", "--set", "hardware.memory=64 MiB", "--out", out], "does not fit"),
                (["default", "--device", "cpu", "--set", "workload.requests=1", "--out", out], "dtype_bytes: 4")]:
            with self.subTest(arguments=arguments):
                self.assert_user_error(run("validate", *arguments), expected)
                self.assertFalse((out / "real").exists())

    @unittest.skipIf(os.path.exists("/dev/nvidiactl"), "this machine has a GPU")
    def test_no_gpu(self):
        out = self.make_directory() / "out"
        self.assert_user_error(run("validate", "tiny", "--device", "cuda", "--out", out), "no CUDA device")
        self.assert_user_error(run("calibrate", "--device", "cuda", "--out", out), "no CUDA device")


class Calibrate(CliTestCase):
    def test_a_profile_prices_both_worlds(self):
        profile = self.make_directory() / "profile"
        result = run("calibrate", "--device", "cpu", "--rounds", 5, "--step-tokens", 256, "--sequences", 16,
                     "--context", 512, "--micro-batch-tokens", 256, "--out", profile)
        self.assert_done(result)
        printed = result.stdout
        rounds = [f"measuring serving steps and training pieces, round {i} of 6" for i in range(1, 7)]
        self.assertEqual([*rounds, "measuring cold caches", "measuring link and host"], result.stderr.splitlines())
        self.assertIn("steps held out", printed)
        self.assertIn("pieces held out", printed)
        with open(profile / "held_out.csv", newline="", encoding="utf-8") as file:
            held_out = list(csv.DictReader(file))
        self.assertEqual([("forward", "23"), ("backward", "23"), ("forward", "101"), ("backward", "101")],
                         [(row["kind"], row["tokens"]) for row in held_out])
        with open(profile / "training.csv", newline="", encoding="utf-8") as file:
            self.assertFalse({row["tokens"] for row in csv.DictReader(file)} & {"23", "101"}, "in a table")
        for row in held_out:
            self.assertGreater(float(row["first_us"]), 0)
            self.assertGreater(float(row["time_us"]), 0)
        out = self.make_directory() / "out"
        # Of no more tokens than were measured: what is beyond is extrapolated from two sizes, which five rounds beside
        # other programs may measure in the wrong order.
        sizes = ["serving.max_num_batched_tokens=256", "serving.max_num_seqs=16", "serving.max_model_len=512",
                 "workload.max_prompt_tokens=480", "workload.max_total_tokens=512"]
        result = run("run", "tiny", "--policy", "planned", "--set", f"profile={profile}", "--set",
                     "workload.requests=20", *(word for size in sizes for word in ("--set", size)), "--out", out)
        self.assert_done(result)
        config = (out / "config.yaml").read_text()
        measured = (profile / "host.yaml").read_text().splitlines()[1]
        self.assertRegex(measured, r"^step_overhead: [0-9.]+ us$")
        self.assertNotIn("step_overhead: 0.05 ms", config)
        self.assertEqual(["3+0 0x0"], self.base_shapes(profile, 3))
        with open(profile / "attention.csv", newline="", encoding="utf-8") as file:
            decodes = [row for row in csv.DictReader(file) if row["prefill_chunk"] == "0"]
        for count in {row["n_decode"] for row in decodes}:
            of_count = sorted((int(row["kv_decode"]), float(row["time_us"])) for row in decodes if row["n_decode"] == count)
            times = [time for _, time in of_count]
            self.assertEqual(sorted(times), times, of_count)
        meta = (profile / "meta.yaml").read_text()
        self.assertIn("cuda_graphs: false\n", meta)
        disturbance = float(re.search(r"^disturbance: (.*)$", meta, re.MULTILINE)[1])
        printed_percent = re.search(r"operations took (\S+) % on average against their medians", printed)[1]
        self.assertAlmostEqual(100 * (disturbance - 1), float(printed_percent), delta=0.06)  # both are rounded
        # Summed over the sizes: what is priced does not fall with the tokens, and sizes measured in the wrong order,
        # which other programs' work makes of small ones, share their mean.
        layers = 4
        measured_us = sum(self.times_of(profile / "steps.csv", "base"))
        self.assertAlmostEqual(1, layers * sum(self.times_of(profile / "dense.csv", "layer"))
                               / (disturbance * measured_us), 3)
        cold = (profile / "cold.csv").read_text().splitlines()
        self.assertEqual(cold[0], "behind,amount,step,excess_us,p10_us,p90_us")
        self.assertEqual({line.split(",")[0] for line in cold[1:]}, {"training_tokens", "prompt_tokens", "idle_us"})
        again = self.make_directory() / "again"
        self.assert_done(run("run", out / "config.yaml", "--out", again))
        self.assertEqual((out / "requests.csv").read_text(), (again / "requests.csv").read_text())

    def test_a_model_of_little_memory(self):
        model = self.make_directory() / "narrow.yaml"
        model.write_text("layers: 2\nhidden: 128\nheads: 8\nkv_heads: 1\nhead_dim: 16\nintermediate: 256\n"
                         "vocabulary: 512\nmax_position: 1024\ndtype_bytes: 4\n")
        profile = self.make_directory() / "profile"
        self.assert_done(run("calibrate", "--device", "cpu", "--model", model, "--rounds", 1, "--step-tokens", 256,
                             "--sequences", 16, "--context", 512, "--micro-batch-tokens", 128, "--out", profile))
        with open(profile / "link.csv", newline="", encoding="utf-8") as file:
            sizes = [int(row["bytes"]) for row in csv.DictReader(file) if row["kind"] == "h2d"]
        self.assertEqual(sorted(set(sizes)), sizes)
        self.assertLess(sizes[-1], 8 << 20)

    def test_small_steps_are_decodes_where_those_are_replayed(self):
        """As they are the steps that a GPU runs as graphs. Fewer rounds might find times that fall with the context."""
        profile = self.make_directory() / "profile"
        self.assert_done(run("calibrate", "--device", "cpu", "--rounds", 5, "--step-tokens", 256, "--sequences", 16,
                             "--context", 512, "--micro-batch-tokens", 128, "--cuda-graphs", "--out", profile))
        self.assertEqual(["3x1"], self.base_shapes(profile, 3))
        self.assertIn("cuda_graphs: true\n", (profile / "meta.yaml").read_text())

    def test_one_gpu_s_part_of_a_split_model(self):
        profile = self.make_directory() / "profile"
        self.assert_done(run("calibrate", "--device", "cpu", "--tensor-parallel", 2, "--rounds", 1, "--step-tokens", 256,
                             "--sequences", 16, "--context", 512, "--micro-batch-tokens", 128, "--out", profile))
        meta = (profile / "meta.yaml").read_text()
        self.assertIn("model: tiny\ntensor_parallel: 2\n", meta)
        split = ["--set", f"profile={profile}", "--set", "workload.requests=20", "--set", "cluster.gpus=2"]
        result = run("run", "tiny", *split, "--set", "serving.tensor_parallel=2", "--out", self.make_directory() / "out")
        self.assert_done(result)
        self.assertNotIn("was measured with", result.stderr)
        self.assert_user_error(run("run", "tiny", *split, "--out", self.make_directory() / "none"),
                               f"key serving.tensor_parallel: is 1, but profile {profile} was measured on one of 2 GPUs")
        (profile / "meta.yaml").write_text(re.sub("parameters: .*", "parameters: 7", meta))
        result = run("run", "tiny", *split, "--set", "serving.tensor_parallel=2", "--out", self.make_directory() / "out")
        self.assertIn("another model of this name (7 parameters, not", result.stderr)

    @staticmethod
    def times_of(file, name):
        with open(file, newline="", encoding="utf-8") as text:
            rows = list(csv.reader(text))
        column = rows[0].index("time_us")
        return [float(row[column]) for row in rows[1:] if row[0] == name]

    @staticmethod
    def base_shapes(profile, tokens):
        with open(profile / "steps.csv", newline="", encoding="utf-8") as file:
            return [row["shape"] for row in csv.DictReader(file)
                    if row["table"] == "base" and row["tokens"] == str(tokens)]

    def test_mistakes(self):
        out = self.make_directory() / "profile"
        for arguments, expected in [(["--context", 512, "--step-tokens", 512], "--context"),
                                    (["--context", 2000], "--context"), (["--model", "nothing"], "nothing"),
                                    (["--model", "llama-3.1-8b"], "dtype_bytes: 4"),
                                    (["--tensor-parallel", 3], "--tensor-parallel: 3 does not divide the 8 query heads"),
                                    (["--tensor-parallel", 0], "--tensor-parallel")]:
            with self.subTest(arguments=arguments):
                self.assert_user_error(run("calibrate", "--device", "cpu", *arguments, "--out", out), expected)
                self.assertFalse(out.exists())

    def test_where_nothing_can_be_written(self):
        """Is said at once, not behind minutes of measuring."""
        file = self.make_directory() / "file"
        file.touch()
        for command in (["calibrate", "--device", "cpu"], ["staleness", "--model", "tiny"]):
            with self.subTest(command=command):
                self.assert_one_line_error(run(*command, "--out", file / "out"), "cannot make the directory")


if __name__ == "__main__":
    unittest.main()
