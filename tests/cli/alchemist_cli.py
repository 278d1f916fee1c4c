"""Runs the built program for the tests of the command line."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path


def run(*arguments, cwd=None, stdin=None, errors="strict"):
    """Runs `alchemist ARGUMENTS...`; the result has returncode, stdout and stderr (text)."""
    return subprocess.run([os.environ["ALCHEMIST"], *map(str, arguments)], cwd=cwd, input=stdin, capture_output=True,
                          text=True, errors=errors, timeout=600, check=False)


class CliTestCase(unittest.TestCase):
    """unittest's TestCase with the checks that every command shares."""

    def assert_done(self, result):
        self.assertEqual(0, result.returncode, result.stderr)

    def assert_user_error(self, result, *expected):
        """Exit status 1 and one message on stderr that holds each of `expected`; nothing on stdout."""
        self.assertEqual(1, result.returncode, result.stdout + result.stderr)
        self.assertEqual("", result.stdout)
        for text in expected:
            self.assertIn(text, result.stderr)

    def assert_one_line_error(self, result, *expected):
        """As assert_user_error, and the message is a single line."""
        self.assert_user_error(result, *expected)
        self.assertEqual(1, len(result.stderr.splitlines()), result.stderr)
        self.assertTrue(result.stderr.startswith("alchemist: "), result.stderr)

    def make_directory(self):
        """A temporary directory of this test."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        return Path(directory.name)
