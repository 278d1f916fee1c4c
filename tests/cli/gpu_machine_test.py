"""tools/gpu/machine.py: what the programs of tools/gpu_suite are told by their environment."""

import os
import sys
import unittest
from pathlib import Path
from unittest import mock

from alchemist_cli import CliTestCase

SOURCE = Path(os.environ["ALCHEMIST_SOURCE_DIR"])
sys.dont_write_bytecode = True
sys.path.insert(0, str(SOURCE / "tools"))
from gpu import machine  # noqa: E402


class Environment(CliTestCase):
    def environment(self, cudnn):
        machine.paths_of_libraries.cache_clear()
        with mock.patch.object(machine, "ask", return_value=(cudnn, None)), \
                mock.patch.dict(os.environ, LD_LIBRARY_PATH="/caller"):
            return machine.environment()

    def test_a_gpu_is_needed_and_the_configurations_are_this_folder_s(self):
        """Without the first, tests that find no GPU would be skipped and count as done."""
        told = self.environment(None)
        self.assertEqual(("1", f"{SOURCE}/configs", "/caller"),
                         tuple(told[key] for key in ("ALCHEMIST_NEEDS_GPU", "ALCHEMIST_CONFIGS", "LD_LIBRARY_PATH")))
        self.assertNotIn("ALCHEMIST_CUDNN", told)

    def test_the_cudnn_of_pytorch_comes_before_what_the_caller_named(self):
        library = self.make_directory() / "lib/libcudnn.so.9"
        library.parent.mkdir()
        library.touch()
        told = self.environment(str(library.parent.parent))
        self.assertEqual((str(library), f"{library.parent}:/caller"), (told["ALCHEMIST_CUDNN"], told["LD_LIBRARY_PATH"]))


if __name__ == "__main__":
    unittest.main()
