"""alchemist list and show: everything that is built in can be listed and shown."""

import csv
import io
import os
import re
import unittest
from pathlib import Path

from alchemist_cli import CliTestCase, run

CONFIGS = Path(os.environ["ALCHEMIST_SOURCE_DIR"]) / "configs"
KINDS = {"model": "models", "hardware": "hardware", "workload": "workloads", "policy": "policies",
         "experiment": "experiments"}


def names_of(kind):
    return sorted(file.stem for file in (CONFIGS / KINDS[kind]).glob("*.yaml"))


class ListAndShow(CliTestCase):
    def test_list_names_everything(self):
        result = run("list")
        self.assert_done(result)
        for kind in KINDS:
            one = run("list", kind)
            self.assert_done(one)
            for name in names_of(kind):
                self.assertIn(f"  {name} ", result.stdout)
                self.assertIn(f"  {name} ", one.stdout)
            self.assertEqual(len(names_of(kind)), len(one.stdout.splitlines()) - 1, one.stdout)

    def test_show_everything(self):
        for kind in KINDS:
            for name in names_of(kind):
                with self.subTest(kind=kind, name=name):
                    if kind == "experiment" and name.startswith("vllm_"):
                        continue  # names reference data that may be missing
                    result = run("show", kind, name)
                    self.assert_done(result)
                    self.assertGreater(len(result.stdout.splitlines()), 2)

    def test_figures_of_a_model(self):
        # Llama-3.1-8B: 8,030,261,248 parameters; keys and values of 32 layers x 8 heads x 128 x 2 x 2 bytes = 128 KiB.
        result = run("show", "model", "llama-3.1-8b")
        self.assertIn("8030261248", result.stdout)
        self.assertIn("128 KiB", result.stdout)

    def test_what_one_of_several_gpus_holds(self):
        """Twice the layers take twice the records and adapters; half of the heads half of the cache."""
        file = self.make_directory() / "deep.yaml"
        file.write_text("base: llama-3.1-8b\nlayers: 64\n")
        numbers = []
        for model in ("llama-3.1-8b", file):
            result = run("show", "model", model, "--tensor-parallel", "2")
            self.assert_done(result)
            text = result.stdout.split("on each of 2 GPUs")[1]
            numbers.append([int(re.search(rf"{what} +(\d+)", text)[1])
                            for what in ("KV cache of a token", "record of a token", "trained parameters")])
        self.assertEqual([64, 128], [cache for cache, _, _ in numbers])
        for shallow, deep in list(zip(*numbers))[1:]:
            self.assertEqual(2 * shallow, deep)
        # Adapters of rank 16: A whole and B in half where outputs are split (q, k, v, gate, up), the other way for o, down.
        hidden, keys, inner = 4096, 1024, 14336
        split = [(hidden, hidden), (hidden, keys), (hidden, keys), (hidden, inner), (hidden, inner)]
        self.assertEqual(32 * 16 * (sum(a + b // 2 for a, b in split) + sum(a // 2 + hidden for a in (hidden, inner))),
                         numbers[0][2])

    def test_what_hardware_reaches(self):
        file = self.make_directory() / "gpu.yaml"
        file.write_text("base: h200\nmatrix_flops: 1000 TFLOP/s\nmatrix_efficiency: 0.5\nmemory_bandwidth: 4 TB/s\n"
                        "memory_efficiency: 0.8\n")
        text = run("show", "hardware", file).stdout
        for expected in (r"matrix products +500 TFLOP/s", r"from memory +3200 GB/s", r"balance +156\.2 FLOP/B"):
            self.assertRegex(text, expected)

    def test_numbers_of_a_policy(self):
        text = run("show", "policy", "compact").stdout
        self.assertIn("at most 3 % of the KV memory", text)
        self.assertIn("training's own forward go to the host and come back\n", text)
        self.assertIn("at most 4 layers are on the GPU at once", text)
        text = run("show", "policy", "temporal").stdout
        self.assertIn("training's own forward stay on the GPU", text)
        self.assertNotIn("layers", text, "nothing comes from the host")
        self.assertNotIn("own forward", run("show", "policy", "serve_only").stdout)

    def test_model_graph(self):
        result = run("show", "model", "tiny", "--dot")
        self.assert_done(result)
        self.assertTrue(result.stdout.startswith("digraph"), result.stdout[:80])
        self.assertTrue(result.stdout.rstrip().endswith("}"))

    def test_shown_experiment_runs(self):
        shown = run("show", "experiment", "default", "--set", "workload.requests=5")
        self.assert_done(shown)
        file = self.make_directory() / "shown.yaml"
        file.write_text(shown.stdout)
        self.assertEqual(run("run", "default", "--set", "workload.requests=5", "--json").stdout,
                         run("run", file, "--json").stdout)

    def test_breakeven(self):
        table = run("show", "breakeven", "llama-3.1-8b", "h200")
        self.assert_done(table)
        lines = table.stdout.splitlines()
        self.assertIn("from this context on", lines[2])
        self.assertEqual(["lora", "never"], lines[4].split()[:2])
        text = run("show", "breakeven", "llama-3.1-8b", "h200", "--csv")
        self.assert_done(text)
        rows = list(csv.DictReader(io.StringIO(text.stdout)))
        self.assertEqual({"lora", "full"}, {row["method"] for row in rows})
        self.assertIn("55", {row["link_h2d_gb_per_s"] for row in rows})
        for row in rows:
            self.assertLess(0, float(row["resident_ms"]))
            self.assertLessEqual(float(row["resident_ms"]), float(row["planned_ms"]))

    def test_breakeven_errors(self):
        self.assert_one_line_error(run("show", "breakeven", "tiny"), "HARDWARE")
        self.assert_one_line_error(run("show", "breakeven", "tiny", "no_such_name"), "no_such_name", "hardware")
        self.assert_one_line_error(run("show", "model", "tiny", "h200"), "HARDWARE", "breakeven")
        self.assert_one_line_error(run("show", "model", "tiny", "--csv"), "--csv", "breakeven")

    def test_unknown_names(self):
        for kind, folder in KINDS.items():
            result = run("show", kind, "no_such_name")
            self.assert_one_line_error(result, "no_such_name", folder)
            self.assertNotIn(": : ", result.stderr)
        self.assert_one_line_error(run("show", "nothing", "x"), "nothing", "model")
        self.assert_one_line_error(run("list", "nothing"), "nothing", "model")


if __name__ == "__main__":
    unittest.main()
