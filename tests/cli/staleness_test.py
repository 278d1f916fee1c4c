#!/usr/bin/env python3
"""alchemist staleness."""

import csv
import json
import struct
import unittest

from alchemist_cli import CliTestCase, run

SMALL = ["--samples", "2", "--prompt-tokens", "24", "--answer-tokens", "8", "--repeats", "1", "--warm-up-steps", "1"]

CONFIG = {"model_type": "llama", "num_hidden_layers": 1, "hidden_size": 8, "intermediate_size": 6, "num_attention_heads": 2,
          "num_key_value_heads": 1, "vocab_size": 11, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
          "rope_theta": 10000.0, "torch_dtype": "float32"}
LAYER = {"self_attn.q_proj": (8, 8), "self_attn.k_proj": (4, 8), "self_attn.v_proj": (4, 8), "self_attn.o_proj": (8, 8),
         "mlp.gate_proj": (6, 8), "mlp.up_proj": (6, 8), "mlp.down_proj": (8, 6), "input_layernorm": (8,),
         "post_attention_layernorm": (8,)}
SHAPES = {"model.embed_tokens.weight": (11, 8), "model.norm.weight": (8,), "lm_head.weight": (11, 8)}
SHAPES |= {f"model.layers.0.{name}.weight": shape for name, shape in LAYER.items()}


def safetensors(shapes, scale=1):
    """A file of floats, large enough by themselves that attention depends on positions."""
    header, data = {}, b""
    for name, shape in shapes.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        values = [((7 * i + len(name)) % 19 - 9) / 6 * scale for i in range(count)]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + 4 * count]}
        data += struct.pack(f"<{count}f", *values)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


class StalenessTest(CliTestCase):
    def measure(self, *options):
        out = self.make_directory() / "out"
        result = run("staleness", *SMALL, *options, "--out", out)
        self.assert_done(result)
        return result.stdout, list(csv.DictReader((out / "staleness.csv").read_text().splitlines())), json.loads((out / "staleness.json").read_text())

    def test_error_grows_from_nothing(self):
        for method in ["lora", "full"]:
            stdout, points, provenance = self.measure("--max-lag", "3", "--method", method)
            errors = [float(point["relative_error"]) for point in points]
            self.assertEqual([0, 1, 2, 3], [int(point["lag"]) for point in points])
            self.assertEqual(0, errors[0])
            self.assertLess(0, errors[1])
            self.assertLess(errors[1], errors[3])
            self.assertEqual(method, provenance["method"])
            self.assertIn("CPU, f32", provenance["device"])
            self.assertIn("relative error", stdout)

    def test_the_table_has_the_means_of_the_repeats(self):
        out, small = self.make_directory() / "out", SMALL[:SMALL.index("--repeats")]
        result = run("staleness", *small, "--repeats", "2", "--warm-up-steps", "1", "--max-lag", "1", "--out", out)
        self.assert_done(result)
        points = csv.DictReader((out / "staleness.csv").read_text().splitlines())
        aged = [point for point in points if point["lag"] == "1"]
        self.assertEqual(2, len(aged))
        cosine, error = (sum(float(point[key]) for point in aged) / 2 for key in ("cosine", "relative_error"))
        lag, shown_cosine, shown_error, unit = result.stdout.splitlines()[2].split()
        self.assertEqual(("1", "%"), (lag, unit))
        self.assertAlmostEqual(cosine, float(shown_cosine), delta=2e-6)
        self.assertAlmostEqual(100 * error, float(shown_error), delta=2e-3)

    def test_same_seed_same_bytes(self):
        self.assertEqual(self.measure("--max-lag", "1")[1:], self.measure("--max-lag", "1")[1:])
        self.assertNotEqual(self.measure("--max-lag", "1")[1], self.measure("--max-lag", "1", "--seed", "2")[1])

    def checkpoint(self, shapes=SHAPES, **changes):
        folder = self.make_directory()
        (folder / "config.json").write_text(json.dumps(CONFIG | changes))
        (folder / "model.safetensors").write_bytes(safetensors(shapes))
        return folder

    def test_published_weights(self):
        def points(folder):
            return self.measure("--max-lag", "1", "--model", folder / "config.json", "--weights", folder)[1]

        old = points(self.checkpoint(rope_theta=50.0))
        self.assertNotEqual(points(self.checkpoint()), old)
        new_keys = {"rope_theta": 50.0, "rope_type": "default"}  # of transformers 5
        self.assertEqual(points(self.checkpoint(rope_theta=None, rope_parameters=new_keys)), old)

    def test_weights_of_another_model_are_refused(self):
        folder, out = self.checkpoint(), self.make_directory() / "out"
        own = ("layers: 1\nhidden: 8\nintermediate: 6\nheads: 1\nkv_heads: 1\nhead_dim: 8\nvocabulary: 11\n"
               "max_position: 64\ndtype_bytes: 4\n")
        for change, message in [(own, "config.json: another model than --model own, whose heads is 1, and not 2"),
                                (own.replace("heads: 1\nkv", "heads: 2\nkv").replace("layers: 1", "layers: 2"),
                                 "layers is 2, and not 1")]:
            (folder / "own.yaml").write_text(change)
            self.assert_one_line_error(run("staleness", "--model", folder / "own.yaml", "--weights", folder, "--out", out),
                                       message)
        (folder / "own.yaml").write_text("base: ./config.json\nmax_position: 9999\n")
        self.assert_one_line_error(run("staleness", "--model", folder / "own.yaml", "--weights", folder,
                                       "--prompt-tokens", "60", "--answer-tokens", "5", "--out", out),
                                   "has positions for 64")
        for folder, message in [(self.checkpoint(SHAPES | {"model.layers.0.self_attn.q_proj.bias": (8,)}),
                                 "tensor model.layers.0.self_attn.q_proj.bias: is no part of model"),
                                (self.checkpoint({k: v for k, v in SHAPES.items() if k != "model.norm.weight"}),
                                 "no file has the tensor model.norm.weight"),
                                (self.checkpoint(hidden_act="gelu"), "config.json:1: key hidden_act: expected silu"),
                                (self.checkpoint(rope_scaling={"rope_type": "yarn", "factor": 2}),
                                 "config.json: rope_scaling: expected null")]:
            self.assert_one_line_error(run("staleness", *SMALL, "--model", folder / "config.json", "--weights", folder,
                                           "--out", out), message)
        self.assertFalse(out.exists())

    def test_weights_without_a_gradient_are_refused(self):
        folder, out = self.checkpoint(), self.make_directory() / "out"
        (folder / "model.safetensors").write_bytes(safetensors(SHAPES, 0))
        self.assert_one_line_error(run("staleness", *SMALL, "--model", folder / "config.json", "--weights", folder, "--out", out),
                                   "the gradient is zero or not finite")
        self.assertFalse(out.exists())

    def test_user_errors_leave_no_output(self):
        out = self.make_directory() / "out"
        self.assert_one_line_error(run("staleness", "--prompt-tokens", "5000", "--out", out),
                                   "5032 tokens; model tiny has positions for 2048")
        self.assert_one_line_error(run("staleness", "--weights", out, "--out", out), "config.json: no such file")
        self.assert_one_line_error(run("staleness", "--model", "llama-3.1-8b", "--out", out), "tiny")
        self.assert_user_error(run("staleness", "--max-lag", "-1", "--out", out), "--max-lag")
        self.assertFalse(out.exists())


if __name__ == "__main__":
    unittest.main()
