"""Small inputs for the tests of the command line: an experiment, a trace in each format, a kernel profile."""

import os
from pathlib import Path

EXPERIMENT = """\
model: tiny
hardware: cpu-2core
workload:
  arrivals: {poisson: {rate: 20}}
  lengths: {lognormal: {prompt: {median: 60, sigma: 0.6}, output: {median: 20, sigma: 0.6}}}
  requests: 50
slo: {ttft: 1 s, itl: 100 ms}
seed: 7
"""

# By format: the name of the file and its text. Every one has two requests or more.
TRACES = {
    "vidur": ("vidur.csv", "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,10,5\n0.5,20,3\n1.25,30,4\n"),
    "azure": ("azure.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,37,4\n"
                           "2023-11-16 18:15:50.9951690,39,10\n"),
    "burstgpt": ("burstgpt.csv", "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
                                 "5,ChatGPT,47,18,65,Conversation log\n45,ChatGPT,108,23,131,Conversation log\n"),
    "mooncake": ("mooncake.jsonl", '{"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [1, 2]}\n'
                                   '{"timestamp": 300, "input_length": 700, "output_length": 6, "hash_ids": [1, 3]}\n'),
    "llmservingsim": ("llmservingsim.jsonl",
                      '{"arrival_time_ns": 0, "input_toks": 20, "output_toks": 5}\n'
                      '{"arrival_time_ns": 100, "session_id": "a", "sub_requests": [{"input_toks": 8, "output_toks": 2, '
                      '"tool_duration_ns": 1000}, {"input_toks": 12, "output_toks": 3}]}\n'),
    "vllm_bench": ("bench.json",
                   '{"duration": 2.5, "total_input_tokens": 67, "input_lens": [37, 30], "output_lens": [2, 1], '
                   '"start_times": [100.0, 100.5], "ttfts": [0.25, 0.125], "itls": [[0.05], []], "errors": ["", ""]}\n'),
    "sharegpt": ("sharegpt.json",
                 '[\n{"id": "a", "conversations": [{"from": "human", "value": "What is this?"},\n'
                 '{"from": "gpt", "value": "A conversation."}]},\n'
                 '{"id": "b", "conversations": [{"from": "human", "value": "And this?"},\n'
                 '{"from": "gpt", "value": "Another one."}]}\n]\n'),
}

OPERATORS = ["act_fn", "down_proj", "embedding", "final_layernorm", "gate_up_proj", "layernorm", "o_proj", "qkv_proj",
             "rotary_emb"]


def shared_data():
    """The folder of reference data that lies beside the project, or where ALCHEMIST_SHARED_DATA says."""
    beside = Path(os.environ["ALCHEMIST_SOURCE_DIR"]) / "../shared/data"
    return Path(os.environ.get("ALCHEMIST_SHARED_DATA", beside)).resolve()


def write_profile(folder):
    """A kernel profile with linear times and a full grid of attention."""
    folder.mkdir()
    dense = ["layer,tokens,time_us"] + [f"{name},{n},{5 + n / 10}" for name in OPERATORS for n in (1, 2048)]
    heads = ["layer,sequences,time_us"] + [f"{name},{n},{10 + n}" for name in ("lm_head", "sampler") for n in (1, 256)]
    attention = ["prefill_chunk,kv_prefill,n_decode,kv_decode,time_us"]
    for chunk in (0, 16, 2048):
        for context in (0, 1024) if chunk else (0,):
            if chunk:
                attention.append(f"{chunk},{context},0,0,{5 + chunk / 10}")
            for decodes in (1, 256):
                attention += [f"{chunk},{context},{decodes},{kv},{5 + chunk / 10 + decodes * kv / 1000}"
                              for kv in (128, 2048)]
    for name, lines in (("dense.csv", dense), ("per_sequence.csv", heads), ("attention.csv", attention)):
        (folder / name).write_text("\n".join(lines) + "\n")
