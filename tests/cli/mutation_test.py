"""Broken bytes in small inputs: whatever a file holds, the answer is a result or one message, never a crash."""

import random
import unittest

from alchemist_cli import CliTestCase, run
from samples import EXPERIMENT, TRACES

ROUNDS = 40  # for each of the seven inputs
PIECES = [b"", b"\x00", b"\xff\xfe", b"-", b"1e999", b"99999999999999999999", b"nan", b"{", b"}", b"[", b"]", b'"', b",",
          b":", b"\n", b"\r\n", b"0", b"-1", b" ", b"&a *a", b"!!binary ", b"# ", b"\xc3", b"null", b"1.5", b"\\u0000", b"|"]


def mutate(text, source):
    """One to three pieces of the text replaced, doubled, dropped or cut off."""
    data = bytearray(text.encode())
    for _ in range(source.randint(1, 3)):
        at = source.randrange(len(data) + 1)
        length = source.choice([0, 1, 1, 3, 10])
        action = source.randrange(4)
        if action == 0:
            data[at:at + length] = source.choice(PIECES)
        elif action == 1:
            data[at:at] = data[at:at + 10 * length]
        elif action == 2:
            data[at:at + length] = bytes(source.randrange(256) for _ in range(length))
        else:
            data[at:] = b"" if source.randrange(4) == 0 else data[at + length:]
    return bytes(data)


class Mutations(CliTestCase):
    def check(self, path, data, *arguments):
        path.write_bytes(data)
        result = run(*arguments, errors="replace")
        with self.subTest(file=path.name, data=data):
            self.assertIn(result.returncode, (0, 1), result.stderr)
            if result.returncode == 1:
                self.assertTrue(result.stderr.startswith("alchemist: "), result.stderr)
                self.assertEqual("", result.stdout)
        return result.returncode

    def test_traces(self):
        folder = self.make_directory()
        for name, (file, text) in TRACES.items():
            source = random.Random(name)
            statuses = [self.check(folder / file, mutate(text, source), "workload", "inspect", folder / file,
                                   "--characters-per-token", "4") for _ in range(ROUNDS)]
            self.assertEqual({0, 1}, set(statuses), name)  # some mutations do no harm, others do

    def test_experiments(self):
        folder = self.make_directory()
        source = random.Random("experiment")
        path = folder / "experiment.yaml"
        statuses = [self.check(path, mutate(EXPERIMENT, source), "run", path, "--json") for _ in range(3 * ROUNDS)]
        self.assertEqual({0, 1}, set(statuses))

    def test_deep_nesting(self):
        folder = self.make_directory()
        deep = b"[" * 200_000
        for name, data in (("deep.jsonl", b'{"timestamp": ' + deep + b"]" * 200_000 + b"}\n"),
                           ("open.jsonl", b'{"timestamp": ' + deep), ("deep.json", deep + b"]" * 200_000)):
            path = folder / name
            self.assertEqual(1, self.check(path, data, "workload", "inspect", path, "--format",
                                           "sharegpt" if name == "deep.json" else "mooncake",
                                           "--characters-per-token", "4"))
        path = folder / "deep.yaml"
        self.assertEqual(1, self.check(path, b"model: " + deep, "run", path))


if __name__ == "__main__":
    unittest.main()
