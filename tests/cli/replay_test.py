"""alchemist run --record-events and alchemist replay: every policy's nodes are a function of their events."""

import unittest

from alchemist_cli import CliTestCase, run
from policy_test import COLOCATED, EXPERIMENT, SEPARATE


class Replay(CliTestCase):
    def record(self, policy, *arguments):
        folder = self.make_directory()
        (folder / "experiment.yaml").write_text(EXPERIMENT)
        log = folder / "run.log"
        self.assert_done(run("run", folder / "experiment.yaml", "--policy", policy, "--set", "workload.requests=150",
                             "--record-events", log, *arguments))
        return log

    def replay(self, policy, *arguments):
        """The number of operations of training in the log, after the replay."""
        log = self.record(policy, *arguments)
        result = run("replay", log)
        self.assert_done(result)
        lines = log.read_text().splitlines()
        events = sum(1 for line in lines if line[0].isdigit() and " > " not in line)
        commands = sum(1 for line in lines if line[0].isdigit() and " > " in line)
        self.assertEqual(f"{events} events, {commands} commands: all equal\n", result.stdout)
        return sum(1 for line in lines if " > piece " in line)

    def test_colocated(self):
        for policy in COLOCATED:
            with self.subTest(policy=policy):
                pieces = self.replay(policy)
                self.assertEqual(policy != "serve_only", pieces > 100)

    def test_separate(self):
        for policy in SEPARATE:
            with self.subTest(policy=policy):
                self.assertGreater(self.replay(policy, "--set", "cluster={gpus: 2, training_gpus: 1}"), 100)

    def test_new_weights(self):
        """GPUs that only serve are told of them; what they find in the cache from then on depends on it: nothing, if it
        is reset, and otherwise what older weights computed."""
        for reset in ("true", "false"):
            with self.subTest(reset=reset):
                log = self.record("separate", "--set", "cluster={gpus: 2, training_gpus: 1}", "--set",
                                  f"serving.reset_prefix_cache={reset}", "--set",
                                  "workload.sessions={turns: 4, think_time: {exponential: 5 s}}")
                self.assert_done(run("replay", log))
                lines = log.read_text().splitlines(keepends=True)
                self.assertTrue(any(line.endswith(" new_weights\n") for line in lines))
                kept = [line for line in lines if not line.endswith(" new_weights\n")]
                _, events, commands = kept[-1].split()
                kept[-1] = f"end {int(events) - (len(lines) - len(kept))} {commands}\n"
                log.write_text("".join(kept))
                self.assert_one_line_error(run("replay", log), "a fresh node")

    def test_replicas_that_step_together(self):
        """Two replicas wait for each other's gradients and take work over, with pieces between steps and beside them."""
        for policy in ("temporal", "planned", "beside"):
            with self.subTest(policy=policy):
                log = self.record(policy, "--set", "cluster.gpus=2", "--set", "workload.rate=20",
                                  "--set", "training.batch_tokens=6000")
                self.assert_done(run("replay", log))
                text = log.read_text()
                for line in (" > all_reduce = ", " all_reduce\n", " hand_over\n", " take_over "):
                    self.assertIn(line, text)

    def test_what_recording_changes(self):
        """The run itself is the same with and without a recording."""
        folder = self.make_directory()
        (folder / "experiment.yaml").write_text(EXPERIMENT)
        plain = run("run", folder / "experiment.yaml", "--policy", "planned", "--json")
        recorded = run("run", folder / "experiment.yaml", "--policy", "planned", "--json", "--record-events",
                       folder / "run.log")
        self.assertEqual(plain.stdout, recorded.stdout)

    def test_another_policy_is_found(self):
        log = self.record("reuse")
        log.write_text(log.read_text().replace("# policy: reuse", "# policy: planned", 1))
        self.assert_one_line_error(run("replay", log), "a fresh node")

    def test_incomplete(self):
        """Wherever it ends too early, and where a line is missing of which nothing else depends."""
        log = self.record("temporal")
        text = log.read_text()
        lines = text.splitlines(keepends=True)
        events = [i for i, line in enumerate(lines) if line[0].isdigit() and " > " not in line]
        commands = [i for i, line in enumerate(lines) if " > " in line]
        middle = events[len(events) // 2]
        for name, cut in (("without its end", "".join(lines[:-1])), ("behind an event", "".join(lines[:middle + 1])),
                          ("before an event", "".join(lines[:middle])),
                          ("within an event", "".join(lines[:middle]) + lines[middle][:9]),
                          ("within a command", "".join(lines[:commands[700]]) + lines[commands[700]][:12]),
                          ("within the end", text[:-3])):
            with self.subTest(name):
                log.write_text(cut)
                self.assert_one_line_error(run("replay", log), f"{log}:{len(cut.splitlines())}: the log is incomplete")
        log.write_text("".join(lines[:commands[700]] + [lines[commands[700]].replace(" > ", " > x")] + lines[commands[700] + 1:-9]))
        self.assert_one_line_error(run("replay", log), f"{log}:{commands[700] + 1}: a fresh node gives another command")

    def test_bad_files(self):
        folder = self.make_directory()
        log = folder / "run.log"
        self.assert_one_line_error(run("replay", log), "run.log")
        for text, expected in [("", "run.log"), ("hello\n", ':1: expected "alchemist-node-log 11 simulated"'),
                               ("alchemist-node-log 10 real\n", ':1: expected "alchemist-node-log 11 simulated"'),
                               ("alchemist-node-log 11 real\n", "has no events"),
                               ("alchemist-node-log 11 simulated\n# model: 3\n0 5 wake\n", "model")]:
            with self.subTest(text=text):
                log.write_text(text)
                self.assert_one_line_error(run("replay", log), expected)
        self.assert_one_line_error(run("run", "default", "--record-events", "/proc/run.log"), "/proc")
        self.assert_one_line_error(run("run", "default", "--record-events", folder), str(folder))


if __name__ == "__main__":
    unittest.main()
