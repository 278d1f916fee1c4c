"""alchemist workload inspect, and convert: what they say of small files, by hand."""

import json
import unittest

from alchemist_cli import CliTestCase, run

# Conversations of one or two turns of 5 tokens of answer. Twice the first prompts of the other file.
CONVERSATIONS = [(10,), (20,), (30, 7), (40, 9)]


class Inspect(CliTestCase):
    def file(self, name, text):
        path = self.make_directory() / name
        path.write_text(text)
        return path

    def numbers(self, *arguments):
        result = run("workload", "inspect", *arguments, "--json")
        self.assert_done(result)
        return json.loads(result.stdout)

    def conversations(self, factor):
        lines = ["arrived_at,num_prefill_tokens,num_decode_tokens,session_id"]
        for number, prompts in enumerate(CONVERSATIONS):
            history = 0
            for turn, new in enumerate(prompts):
                history += new * (factor if turn == 0 else 1)
                lines.append(f"{10 * turn + number},{history},5,{number}")
                history += 5
        return self.file("c.csv", "\n".join(lines) + "\n")

    def test_a_later_turn_shares_full_blocks_of_its_history(self):
        """41 tokens and 8 of answer are 49, three blocks of 16; 40 and 8 are three as well. The last prompt is shorter than
        its history, and so begins anew."""
        trace = self.file("t.csv", "arrived_at,num_prefill_tokens,num_decode_tokens,session_id\n"
                                   "0,41,8,a\n1,64,8,a\n2,40,8,b\n3,50,6,b\n4,30,2,a\n")
        told = self.numbers(trace)
        self.assertEqual((5, 2, 225, 32), tuple(told[key] for key in ("requests", "sessions", "total_prompt_tokens",
                                                                      "total_output_tokens")))
        self.assertAlmostEqual(96 / 225, told["prefix_sharing_fraction"])
        self.assertEqual((2, 8.5), (told["new_user_tokens"]["count"], told["new_user_tokens"]["mean"]))
        self.assertEqual((4, 1, 0), (told["last_arrival_s"], told["requests_per_s"], told["interarrival_cv"]))
        self.assertIn("prefix sharing   42.7 %", run("workload", "inspect", trace).stdout)

    def test_blocks_are_shared_up_to_the_first_that_is_new(self):
        """The second prompt has two full blocks of the first, the third one: what follows another block is another prompt."""
        lines = ((40, [1, 2, 3]), (36, [1, 2, 3]), (40, [1, 9, 3]))
        trace = self.file("m.jsonl", "".join(json.dumps({"timestamp": 0, "input_length": tokens, "output_length": 1,
                                                         "hash_ids": ids}) + "\n" for tokens, ids in lines))
        self.assertAlmostEqual((32 + 16) / 116, self.numbers(trace, "--block-tokens", "16")["prefix_sharing_fraction"])

    def test_the_rate_is_that_of_a_second_however_long_a_bin(self):
        told = self.numbers(self.file("w.yaml", "arrivals: {fixed: {rate: 2}}\n"
                                                "lengths: {fixed: {prompt: 10, output: 5}}\nduration: 120 s\n"))
        self.assertEqual((2, [2] * 60), (told["rate_bin_s"], told["rate_over_time_per_s"]))

    def test_against_a_file(self):
        workload, real = self.conversations(2), self.conversations(1)
        rows = {(row["what"], row.get("quantile")): (row["workload"], row["file"])
                for row in self.numbers(workload, "--against", real)["against"]}
        self.assertEqual((50, 25), rows["first_prompt_tokens", 0.5])
        # Of ties each has the rank in the middle: turns 0.5, 0.5, 2.5, 2.5 and prompts 0, 1, 2, 3.
        for correlation in rows["turns, first prompt", None]:
            self.assertAlmostEqual(4 / 20 ** 0.5, correlation)
        self.assertEqual((0, 0), rows["new user tokens, next new user tokens", None], "nobody has three turns")
        self.assertRegex(run("workload", "inspect", workload, "--against", real).stdout,
                         r"first_prompt_tokens +P50 +50 +25 +\+100\.0 %")


    def test_against_texts_in_characters_for_a_token(self):
        """Of 12 and 6 characters: six tokens and three at two characters each."""
        texts = [{"conversations": [{"from": "human", "value": "a" * 12}, {"from": "gpt", "value": "b" * 6}]}]
        real = self.file("s.json", json.dumps(texts))
        rows = self.numbers(self.conversations(1), "--against", real, "--characters-per-token", "2")["against"]
        files = {row["what"]: row["file"] for row in rows if row.get("quantile") == 0.5}
        self.assertEqual((6, 3), (files["first_prompt_tokens"], files["answer_tokens"]))


class Convert(CliTestCase):
    def test_the_first_requests_alone(self):
        folder = self.make_directory()
        (folder / "t.csv").write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n0,41,8\n1,64,8\n2,40,8\n")
        out = folder / "out.csv"
        self.assert_done(run("workload", "convert", folder / "t.csv", "--to", "vidur", "--out", out, "--requests", "2"))
        self.assertEqual(["41", "64"], [line.split(",")[1] for line in out.read_text().splitlines()[1:]])

    def test_a_workload_without_requests_makes_no_file(self):
        folder = self.make_directory()
        (folder / "w.yaml").write_text("arrivals: {poisson: {rate: 1}}\nlengths: {fixed: {prompt: 10, output: 5}}\n"
                                       "duration: 1 ns\n")
        self.assert_one_line_error(run("workload", "generate", folder / "w.yaml", "--out", folder / "out.csv"),
                                   "yields no request")
        self.assertEqual(["w.yaml"], [file.name for file in folder.iterdir()])


if __name__ == "__main__":
    unittest.main()
