#!/usr/bin/env python3
"""Loss and gradients of a whole decoder against PyTorch's autograd, in double.

The forward is written here from the published model (Touvron et al. 2023) with PyTorch's operators alone; the backward is
PyTorch's. Skips with a message where there is no PyTorch (Debian: python3-torch)."""

import json
import os
import subprocess
import sys
import unittest

SYSTEM_PYTHON = "/usr/bin/python3"
try:
    import torch
except ImportError:
    if os.path.realpath(sys.executable) != os.path.realpath(SYSTEM_PYTHON) and os.path.exists(SYSTEM_PYTHON):
        os.execv(SYSTEM_PYTHON, [SYSTEM_PYTHON, "-B"] + sys.argv)
    torch = None


class Model:
    """The decoder of a dump, with every weight a leaf of the graph."""

    def __init__(self, dump):
        self.dump, self.shape = dump, dump["shape"]
        self.weights = {name: torch.tensor(w["values"], dtype=torch.float64).reshape(w["shape"]).requires_grad_()
                        for name, w in dump["weights"].items()}

    def linear(self, x, name):
        y = torch.nn.functional.linear(x, self.weights[name + ".weight"], self.weights.get(name + ".bias"))
        if name + ".lora_A.weight" in self.weights:
            a, b = self.weights[name + ".lora_A.weight"], self.weights[name + ".lora_B.weight"]
            y = y + self.dump["lora_scale"] * (x @ a.T @ b.T)
        return y

    def norm(self, x, name):
        mean = x.pow(2).mean(-1, keepdim=True)
        return x * torch.rsqrt(mean + self.shape["norm_epsilon"]) * self.weights[name + ".weight"]

    def norm_of_heads(self, x, name):
        return self.norm(x, name) if name + ".weight" in self.weights else x

    def rotate(self, x):
        """x: [heads, tokens, head_dim]."""
        dim = self.shape["head_dim"]
        frequency = self.shape["rope_theta"] ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
        angle = torch.outer(torch.arange(x.shape[1], dtype=torch.float64), frequency)
        cosine, sine = torch.cat([angle.cos()] * 2, -1), torch.cat([angle.sin()] * 2, -1)
        low, high = x.chunk(2, -1)
        return x * cosine + torch.cat([-high, low], -1) * sine

    def attention(self, x, prefix):
        tokens, dim = x.shape[0], self.shape["head_dim"]

        def heads(name, count):
            return self.linear(x, f"{prefix}.{name}").reshape(tokens, count, dim).transpose(0, 1)

        q = self.rotate(self.norm_of_heads(heads("q_proj", self.shape["heads"]), f"{prefix}.q_norm"))
        k = self.rotate(self.norm_of_heads(heads("k_proj", self.shape["kv_heads"]), f"{prefix}.k_norm"))
        v = heads("v_proj", self.shape["kv_heads"])
        group = self.shape["heads"] // self.shape["kv_heads"]
        k, v = k.repeat_interleave(group, 0), v.repeat_interleave(group, 0)
        mask = torch.full((tokens, tokens), -torch.inf, dtype=torch.float64).triu(1)
        p = torch.softmax(q @ k.transpose(1, 2) / dim ** 0.5 + mask, -1)
        return self.linear((p @ v).transpose(0, 1).reshape(tokens, -1), f"{prefix}.o_proj")

    def log_probabilities(self, tokens):
        x = self.weights["model.embed_tokens.weight"][tokens]
        for layer in range(self.shape["layers"]):
            prefix = f"model.layers.{layer}"
            x = x + self.attention(self.norm(x, f"{prefix}.input_layernorm"), f"{prefix}.self_attn")
            n = self.norm(x, f"{prefix}.post_attention_layernorm")
            gated = torch.nn.functional.silu(self.linear(n, f"{prefix}.mlp.gate_proj"))
            x = x + self.linear(gated * self.linear(n, f"{prefix}.mlp.up_proj"), f"{prefix}.mlp.down_proj")
        return torch.log_softmax(self.linear(self.norm(x, "model.norm"), "lm_head"), -1)

    def answer_log_prob(self, sample):
        tokens = torch.tensor(sample["tokens"])
        of_next = self.log_probabilities(tokens)[:-1].gather(1, tokens[1:, None]).squeeze(1)
        return of_next[sample["prompt_tokens"] - 1:].sum()

    def loss(self):
        samples = self.dump["samples"]
        log_prob = torch.stack([self.answer_log_prob(sample) for sample in samples])
        if self.dump["objective"] == "sft":
            targets = sum(len(s["tokens"]) - s["prompt_tokens"] for s in samples)
            return -log_prob.sum() / targets, log_prob
        gain = log_prob - torch.tensor([s["reference_logprob"] for s in samples], dtype=torch.float64)
        margin = self.dump["dpo_beta"] * (gain[0::2] - gain[1::2])
        return -torch.nn.functional.logsigmoid(margin).mean(), log_prob


@unittest.skipIf(torch is None, "PyTorch is not installed (Debian: python3-torch)")
class PyTorchTest(unittest.TestCase):
    """Both sides compute in double: they agree to some 1e-13, and 1e-10 leaves room for another order of sums."""

    def compare(self, what):
        out = subprocess.run([os.environ["DUMP_GRADIENTS"], what], check=True, capture_output=True).stdout
        dump = json.loads(out)
        model = Model(dump)
        loss, log_prob = model.loss()
        loss.backward()
        self.assertAlmostEqual(loss.item(), dump["loss"], delta=1e-10)
        for mine, theirs in zip(dump["log_prob"], log_prob.tolist(), strict=True):
            self.assertAlmostEqual(mine, theirs, delta=1e-9)
        self.assertTrue(dump["gradients"])
        for name, gradient in dump["gradients"].items():
            mine = torch.tensor(gradient["values"], dtype=torch.float64).reshape(gradient["shape"])
            theirs = model.weights[name].grad
            self.assertGreater(theirs.abs().max().item(), 1e-6, name)
            self.assertLess((mine - theirs).abs().max().item(), 1e-10, name)
        return dump

    def test_full_fine_tuning(self):
        dump = self.compare("full")
        self.assertEqual(dump["gradients"].keys(), dump["weights"].keys())

    def test_full_fine_tuning_with_norms_of_heads(self):
        dump = self.compare("full_head_norms")
        self.assertEqual(dump["gradients"].keys(), dump["weights"].keys())
        self.assertIn("model.layers.0.self_attn.q_norm.weight", dump["gradients"])

    def test_lora_with_norms_of_heads(self):
        self.compare("lora_head_norms")

    def test_lora(self):
        dump = self.compare("lora")
        self.assertEqual(dump["gradients"].keys(), {name for name in dump["weights"] if "lora" in name})

    def test_preference_pairs(self):
        self.compare("dpo")


if __name__ == "__main__":
    unittest.main()
