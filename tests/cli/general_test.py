"""What holds for the program as a whole."""

import re
import unittest

from alchemist_cli import CliTestCase, run


class General(CliTestCase):
    def test_version(self):
        result = run("--version")
        self.assert_done(result)
        self.assertRegex(result.stdout, re.compile(r"^alchemist \d+\.\d+\.\d+"))

    def test_help(self):
        result = run("--help")
        self.assert_done(result)
        self.assertIn("--help", result.stdout)

    def test_no_command_is_the_users_mistake(self):
        self.assert_user_error(run(), "subcommand")

    def test_unknown_command_is_the_users_mistake(self):
        self.assert_user_error(run("no_such_command"), "subcommand")


if __name__ == "__main__":
    unittest.main()
