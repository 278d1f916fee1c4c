#!/usr/bin/env python3
"""Times the forward and backward of one Llama-3.1-8B layer in PyTorch, compiled, with its fastest attention: what
kernels_benchmark's layer_forward and layer_backward are compared with. CSV on stdout in the same columns.

    pytorch_layer.py [--tokens 2048 8192] [--backends cudnn flash]

Exit status 3, with the reason, where there is no PyTorch or no GPU for it.
"""

import argparse
import os
import statistics
import sys

# PyTorch's caches of compiled code do not tell attention backends apart.
os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"
try:
    import torch
    import torch.nn.functional as F
    from torch.nn.attention import SDPBackend, sdpa_kernel
except ImportError as error:
    print(f"PyTorch is not installed: {error}", file=sys.stderr)
    sys.exit(3)

HIDDEN, INTERMEDIATE, HEADS, KV_HEADS, HEAD_DIM, RANK = 4096, 14336, 32, 8, 128, 16
BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}


class Linear(torch.nn.Module):
    """A product with a weight, trained or frozen beside a trained adapter."""

    def __init__(self, inputs, outputs, lora):
        super().__init__()
        self.weight = torch.nn.Parameter(0.02 * torch.randn(outputs, inputs), requires_grad=not lora)
        self.a = torch.nn.Parameter(0.02 * torch.randn(RANK, inputs)) if lora else None
        self.b = torch.nn.Parameter(0.02 * torch.randn(outputs, RANK)) if lora else None

    def forward(self, x):
        y = F.linear(x, self.weight)
        return y if self.a is None else y + 2.0 * F.linear(F.linear(x, self.a), self.b)


class Layer(torch.nn.Module):
    def __init__(self, lora):
        super().__init__()
        self.q = Linear(HIDDEN, HEADS * HEAD_DIM, lora)
        self.k = Linear(HIDDEN, KV_HEADS * HEAD_DIM, lora)
        self.v = Linear(HIDDEN, KV_HEADS * HEAD_DIM, lora)
        self.o = Linear(HEADS * HEAD_DIM, HIDDEN, lora)
        self.gate = Linear(HIDDEN, INTERMEDIATE, lora)
        self.up = Linear(HIDDEN, INTERMEDIATE, lora)
        self.down = Linear(INTERMEDIATE, HIDDEN, lora)
        self.norm1 = torch.nn.Parameter(torch.ones(HIDDEN), requires_grad=not lora)
        self.norm2 = torch.nn.Parameter(torch.ones(HIDDEN), requires_grad=not lora)

    @staticmethod
    def rotate(x, cosine, sine):
        low, high = x.chunk(2, dim=-1)
        return torch.cat((low * cosine - high * sine, high * cosine + low * sine), dim=-1).to(x.dtype)

    def forward(self, x, cosine, sine):
        tokens = x.shape[0]
        n = F.rms_norm(x, (HIDDEN,), self.norm1, 1e-5)

        def heads(y, count):
            return y.view(tokens, count, HEAD_DIM).transpose(0, 1)

        q = self.rotate(heads(self.q(n), HEADS), cosine, sine)
        k = self.rotate(heads(self.k(n), KV_HEADS), cosine, sine)
        attention = F.scaled_dot_product_attention(q[None], k[None], heads(self.v(n), KV_HEADS)[None], is_causal=True,
                                                   enable_gqa=True)[0]
        x = x + self.o(attention.transpose(0, 1).reshape(tokens, HEADS * HEAD_DIM))
        n = F.rms_norm(x, (HIDDEN,), self.norm2, 1e-5)
        return x + self.down(F.silu(self.gate(n)) * self.up(n))


def time_each(run, prepare, repeats=15):
    times = []
    for i in range(repeats + 3):
        state = prepare()
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run(state)
        end.record()
        torch.cuda.synchronize()
        if i >= 3:
            times.append(1e3 * start.elapsed_time(end))  # microseconds
    return times


def print_line(name, tokens, times):
    times = sorted(times)
    at = lambda share: times[round(share * (len(times) - 1))]  # noqa: E731
    print(f"{name},{tokens},{statistics.median(times):.3f},{at(0.1):.3f},{at(0.9):.3f},,,,", flush=True)


def measure(tokens, lora, backend):
    torch._dynamo.reset()
    torch.manual_seed(0)
    layer = Layer(lora).cuda().bfloat16()
    compiled = torch.compile(layer, dynamic=False)
    x = torch.randn(tokens, HIDDEN, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    angle = torch.outer(torch.arange(tokens), 500000.0 ** (-torch.arange(0, HEAD_DIM, 2) / HEAD_DIM)).cuda()
    gradient = torch.randn(tokens, HIDDEN, device="cuda", dtype=torch.bfloat16)
    name = f"_{'lora' if lora else 'full'}_{backend}"
    with sdpa_kernel(BACKENDS[backend]):
        forward = lambda _=None: compiled(x, angle.cos(), angle.sin())  # noqa: E731
        print_line("pytorch_layer_forward" + name, tokens, time_each(forward, lambda: None))
        # Gradients are added up, as between micro-batches.
        print_line("pytorch_layer_backward" + name, tokens, time_each(lambda y: y.backward(gradient), forward))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[2048, 8192])
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=["cudnn", "flash"], help="of attention")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("PyTorch sees no GPU", file=sys.stderr)
        sys.exit(3)
    print(f"PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}, {torch.cuda.get_device_name()}",
          file=sys.stderr)
    print("kernel,tokens,median_us,p10_us,p90_us,tflop_per_s,gbyte_per_s,roof,share_of_roof")
    failed = 0
    # The faster backend first, all of it: whoever has no time for both has what counts.
    for backend in arguments.backends:
        for tokens in arguments.tokens:
            for lora in (True, False):
                try:
                    measure(tokens, lora, backend)
                except RuntimeError as error:
                    failed += 1
                    print(f"{backend} at {tokens} tokens: {error}", file=sys.stderr)
    sys.exit(1 if failed == 2 * len(arguments.backends) * len(arguments.tokens) else 0)


if __name__ == "__main__":
    main()
