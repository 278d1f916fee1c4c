"""The scripts in tools/ that build, test and make evidence: in which order they do what, and that a failure ends them.
Scripts stand in for all programs that they call; the project lies in a folder whose name a shell has to quote."""

import json
import os
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

from alchemist_cli import CliTestCase

SOURCE = Path(os.environ["ALCHEMIST_SOURCE_DIR"])
# Writes what it was asked for with --out where that is a folder of results; fails where $FAIL is among its words.
PROGRAM = r'''
echo "alchemist $*" >> "$CALLS"
case "$*" in *"${FAIL:-no such words}"*) echo "table of $2"; echo broken >&2; exit 7;; esac
command=$1 name=$2 out=
while [ $# -gt 0 ]; do [ "$1" != --out ] || out=$2; shift; done
case $command in
  plot)
    out=${out:-$name}
    mkdir -p "$out/figures"
    for figure in validation throughput pareto against_workload_rate against_hardware_link_h2d_bandwidth \
        sensitivity sensitivity_2 against_workload_lengths_fixed_prompt against_training_feedback_share \
        against_training_feedback_delay_exponential against_workload_arrivals_gamma_cv; do
      echo "$figure" > "$out/figures/$figure.png"
    done;;
  sweep | validate | calibrate)
    mkdir -p "$out"
    printf 'metric,real,simulated\nmean_ttft_ms,20,30\n' > "$out/comparison.csv"
    echo "operation,count,real_s,priced_s,error" > "$out/operations.csv"
    echo "of $name" > "$out/results.csv"
    echo "profile: $PWD/configs/p.yaml" > "$out/sweep.yaml"
    echo "table of $name"
    echo "2 runs. Results: $out"
    echo "Results: $out";;
esac
'''


# Of the caller's environment, without what these programs or those that stand in for them heed: with a GIT_DIR, as in a
# hook, git would commit to the caller's repository.
ENVIRONMENT = {key: value for key, value in os.environ.items()
               if not key.startswith(("GIT_", "CCACHE")) and key not in ("FAIL", "MISSING", "STATUS", "SUDO", "USER_ID")}
ENVIRONMENT |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


class ToolsTest(CliTestCase):
    def setUp(self):
        self.folder = self.make_directory()
        self.root = self.folder / "it's a (copy) #1" / "alchemist"
        self.calls = self.folder / "calls"
        shutil.copytree(SOURCE / "tools", self.root / "tools", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(SOURCE / ".ci", self.root / ".ci")
        (self.root / "results").mkdir()
        self.program(self.root / "build/release/alchemist", PROGRAM)
        self.configure("release")
        for name in ("cmake", "ctest", "apt-get", "sudo"):
            self.program(name, f'echo "{name} $*" >> "$CALLS"; exit ${{SUDO:-0}}')
        self.program("dpkg-query", 'case "$3" in ${MISSING:-none}) exit 1;; esac; printf installed')
        self.program("ccache", 'echo "$CCACHE"')
        self.program("id", 'echo "${USER_ID:-0}"')
        self.program("nproc", "echo 3")

    def program(self, name, text):
        path = self.folder / "bin" / name  # an absolute name stays
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        path.chmod(0o755)

    def configure(self, preset, home=None):
        build = self.root / "build" / preset
        build.mkdir(parents=True, exist_ok=True)
        (build / "build.ninja").touch()
        (build / "CMakeCache.txt").write_text(f"CMAKE_HOME_DIRECTORY:INTERNAL={home or self.root}\n", encoding="utf-8")

    def call(self, tool, *arguments, cwd="/", **environment):
        """Runs a tool of the copy; its calls of others, line by line."""
        self.calls.write_text("")
        (self.folder / "ccache").mkdir(exist_ok=True)
        environment = {**ENVIRONMENT, "LC_ALL": "C", "PATH": f"{self.folder}/bin:/usr/bin:/bin", "CALLS": str(self.calls),
                       "CCACHE": str(self.folder / "ccache"), **environment}
        result = subprocess.run([self.root / tool, *arguments], cwd=cwd, env=environment, capture_output=True, text=True,
                                check=False, timeout=60)
        result.calls = self.calls.read_text(encoding="utf-8").splitlines()
        return result

    BUILD = "cmake --build --preset release --parallel 3"

    # Building.

    def test_build(self):
        result = self.call("tools/build")
        self.assert_done(result)
        self.assertEqual([self.BUILD], result.calls)
        self.assertEqual(["cmake --fresh --preset dev", "cmake --build --preset dev --parallel 3 --target a b"],
                         self.call("tools/build", "dev", "a", "b").calls)

    def test_build_in_a_copy_of_a_folder_is_of_its_own_sources(self):
        self.configure("release", self.folder)
        self.assertEqual(["cmake --fresh --preset release", self.BUILD], self.call("tools/build").calls)
        (self.root / "build/release/CMakeCache.txt").unlink()
        self.assertEqual(["cmake --fresh --preset release", self.BUILD], self.call("tools/build").calls)

    def test_build_does_not_take_what_cannot_be_configured_or_compiled(self):
        self.program("cmake", 'echo "cmake $*" >> "$CALLS"; exit 5')
        self.assertEqual(5, self.call("tools/build").returncode)
        (self.root / "build/release/build.ninja").unlink()
        result = self.call("tools/build")
        self.assertEqual((5, 1), (result.returncode, len(result.calls)))

    def test_build_without_a_folder_for_the_cache(self):
        self.program("cmake", 'echo "cache ${CCACHE_DISABLE:-in use}" >> "$CALLS"')
        self.assertEqual(["cache in use"], self.call("tools/build").calls)
        self.assertEqual(["cache 1"], self.call("tools/build", CCACHE="/proc/none").calls)
        self.program("cmake", 'echo "cache ${CCACHE_DISABLE:-in use}, home $HOME" >> "$CALLS"')
        self.program("ccache", "echo 'ccache: error: Could not determine home directory' >&2; exit 1")
        self.assertEqual(["cache 1, home /"], self.call("tools/build", HOME="").calls)

    def test_the_version_that_results_name(self):
        """Of this folder's own git, wherever the build lies; of a folder that has none, nothing."""
        cmake, source, build = shutil.which("cmake"), self.root / "cmake", self.folder / "it's a (build)"
        shutil.copytree(SOURCE / "cmake", source)

        def do(*command):
            done = subprocess.run(list(map(str, command)), env=ENVIRONMENT, capture_output=True, text=True, check=False)
            self.assertEqual(0, done.returncode, done.stdout + done.stderr)
            return done.stdout.strip()

        def version():
            do(cmake, f"-DSOURCE={self.root}", "-DVERSION=1.2.3", f"-DOUTPUT={self.folder}/version.cc", "-P",
               source / "write_version.cmake")
            text = (self.folder / "version.cc").read_text(encoding="utf-8")
            self.assertIn('engine_version() { return "1.2.3"', text)
            return re.search('engine_git_hash.*"(.*)"', text)[1]

        def commit(folder):
            do("git", "init", "--quiet", folder)
            do("git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "-m", "x")

        commit(self.root.parent)
        self.assertEqual("unknown", version())
        commit(self.root)
        self.assertEqual(do("git", "-C", self.root, "rev-parse", "--short=12", "HEAD"), version())

        do(cmake, "-S", SOURCE, "-B", build, "-G", "Ninja", "-DALCHEMIST_TESTS=OFF")
        do(cmake, "--build", build, "--target", "alchemist_version")
        self.assertTrue((build / "version.cc").exists())

    # Testing, first results.

    def test_test(self):
        for tool, words in (("tools/test", ["-R", "a|b c"]), (".ci/run", [])):
            result = self.call(tool, *words)
            self.assert_done(result)
            self.assertEqual([self.BUILD, " ".join(["ctest --test-dir build/release --output-on-failure --parallel 2", *words])],
                             result.calls)
        self.program("ctest", '[ "$7" = "a|b c" ] || exit 9; exit 8')
        self.assertEqual(8, self.call("tools/test", "-R", "a|b c").returncode)
        self.assertEqual(9, self.call(".ci/run").returncode)
        self.program("cmake", "exit 5")
        for tool in ("tools/test", ".ci/run", "tools/run", "tools/reproduce", "tools/validate_cpu"):
            result = self.call(tool)
            self.assertEqual((5, []), (result.returncode, result.calls), tool)

    def test_without_packages_nothing_is_built(self):
        for tool in ("tools/test", ".ci/run", "tools/run", "tools/reproduce"):
            result = self.call(tool, MISSING="cmake", USER_ID="1000", SUDO="1")
            self.assertEqual(1, result.returncode, tool)
            self.assertEqual(["sudo --non-interactive true"], result.calls[:1], tool)
            self.assertFalse([call for call in result.calls if call.startswith(("cmake", "ctest", "alchemist"))], tool)

    def test_run(self):
        old = self.root / "out/comparison/old"
        old.mkdir(parents=True)
        result = self.call("tools/run")
        self.assert_done(result)
        self.assertEqual([self.BUILD, "alchemist sweep default --out out/comparison", "alchemist plot out/comparison"],
                         result.calls)
        self.assertFalse(old.exists())
        self.assertIn("is not there", result.stdout)
        measured = self.root / "../shared/data/vllm_rtx4090_llama31_8b/measured_requests.csv"
        measured.parent.mkdir(parents=True)
        measured.touch()
        result = self.call("tools/run")
        self.assertEqual(["alchemist validate vllm_rtx4090_llama31_8b --measured ../shared/data/vllm_rtx4090_llama31_8b/"
                          "measured_requests.csv --out out/validation", "alchemist plot out/validation"], result.calls[3:])
        for number, words in enumerate(("sweep", "plot out/comparison", "validate", "plot out/validation")):
            result = self.call("tools/run", FAIL=words)
            self.assertEqual((7, 2 + number), (result.returncode, len(result.calls)), words)

    # Packages.

    def test_setup(self):
        result = self.call("tools/setup")
        self.assertEqual((0, [], ""), (result.returncode, result.calls, result.stderr))
        install = "apt-get install --yes --quiet --no-install-recommends cmake"
        self.assertEqual([install], self.call("tools/setup", MISSING="cmake").calls)
        self.program("dpkg-query", 'case "$3" in cmake) printf config-files;; *) printf installed;; esac')
        self.assertEqual([install], self.call("tools/setup").calls, "removed, but its configuration is there")
        self.program("apt-get", 'echo "apt-get $*" >> "$CALLS"; [ "$1" != install ] || [ -e "$CALLS.new" ] || exit 100\n'
                                '[ "$1" != update ] || touch "$CALLS.new"')
        self.assertEqual((0, [install, "apt-get update --quiet", install]),
                         (lambda result: (result.returncode, result.calls))(self.call("tools/setup")))
        self.program("apt-get", "exit 100")
        self.assertEqual(100, self.call("tools/setup").returncode)

    def test_setup_by_somebody_who_is_not_root(self):
        result = self.call("tools/setup", MISSING="cmake", USER_ID="1000")
        self.assertEqual(["sudo --non-interactive true", "sudo DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet "
                          "--no-install-recommends cmake"], result.calls)
        result = self.call("tools/setup", MISSING="cmake", USER_ID="1000", SUDO="1")
        self.assertEqual((1, 1), (result.returncode, len(result.calls)))
        self.assertIn("please run: apt-get install cmake\n", result.stderr)

    # Evidence.

    def test_reproduce(self):
        (self.root.parent / "shared/data/vllm_rtx4090_llama31_8b").mkdir(parents=True)
        (self.root / "results/vllm_rtx4090_llama31_8b").mkdir()
        self.program(self.root / "tools/paper_table", 'echo "paper_table $*" >> "$CALLS"')
        stale = self.root / "out/sweeps/default/stale"
        stale.mkdir(parents=True)
        (self.root / "out/paper/paper_lora/stale").mkdir(parents=True)
        result = self.call("tools/reproduce")
        self.assert_done(result)
        results = self.root / "results"
        self.assertEqual("table of vllm_rtx4090_llama31_8b\n2 runs. Results: results/vllm_rtx4090_llama31_8b\n",
                         (results / "vllm_rtx4090_llama31_8b/comparison.txt").read_text())
        self.assertEqual("validation\n", (results / "vllm_rtx4090_llama31_8b/validation.png").read_text())
        sweep = results / "sweeps/default"
        self.assertEqual("table of default\nResults: out/sweeps/default\n", (sweep / "table.txt").read_text())
        self.assertEqual("of default\n", (sweep / "results.csv").read_text())
        self.assertEqual("profile: configs/p.yaml\n", (sweep / "sweep.yaml").read_text())
        self.assertEqual({"table.txt", "results.csv", "sweep.yaml", "throughput.png", "pareto.png",
                          "against_workload_rate.png"}, {path.name for path in sweep.iterdir()})
        self.assertFalse(stale.exists() or (self.root / "out/paper/paper_lora/stale").exists())
        self.assertEqual("paper_table out/paper --out results/paper", result.calls[-1])
        self.assertEqual({path.name for path in (SOURCE / "results/sweeps").iterdir() if path.is_dir()},
                         {path.name for path in (results / "sweeps").iterdir()})
        for words, last in (("sweep routing", "sweep routing"), ("plot out/sweeps/default", "plot out/sweeps/default"),
                            ("validate", "validate"), ("sweep paper_full", "sweep paper_full")):
            result = self.call("tools/reproduce", FAIL=words)
            self.assertEqual(7, result.returncode, words)
            self.assertIn(last, result.calls[-1])

    def test_validate_cpu(self):
        """Every policy in every run with the profile of that run and the load of the first; the results where the caller
        says, seen from where he stands."""
        self.program(self.root / "tools/scale_load",
                     'echo "scale_load $*" >> "$CALLS"; echo workload.rate=2; echo training.max_itl=3 ms')
        self.program(self.root / "build/release/alchemist",
                     PROGRAM.replace('"alchemist $*"', '"alchemist $(IFS=,; echo "$*")"', 1))
        old = self.folder / "my runs/reuse/3"
        old.mkdir(parents=True)
        for file in ("comparison.csv", "operations.csv"):
            (old / file).write_text("metric,real,simulated\n")
        arguments = ("my runs", "2", "temporal", "reuse")
        result = self.call("tools/validate_cpu", *arguments, cwd=self.folder)
        out = self.folder / "my runs"
        self.assertFalse(old.exists(), "a third run, of another call, would count")
        calls = [self.BUILD]
        for number in (1, 2):
            calls.append(f"alchemist calibrate,--device,cpu,--model,tiny,--out,{out}/profile-{number}")
            calls += [f"scale_load {out}/profile-1"] if number == 1 else []
            calls += [f"alchemist validate,tiny,--device,cpu,--policy,{policy},--set=workload.rate=2,"
                      f"--set=training.max_itl=3 ms,--set,profile={out}/profile-{number},--out,{out}/{policy}/{number}"
                      for policy in ("temporal", "reuse")]
        self.assert_done(result)
        self.assertEqual(calls, result.calls)
        self.assertRegex(result.stdout, r"reuse +mean_ttft_ms +20 +30 +\+50\.0 %")
        self.assertEqual(result.stdout, (out / "summary.txt").read_text(encoding="utf-8"))
        self.assertEqual("table of tiny\n", (out / "reuse-2.txt").read_text().splitlines(True)[0])
        for words, count in (("calibrate", 2), ("policy reuse", 5)):
            result = self.call("tools/validate_cpu", *arguments, cwd=self.folder, FAIL=words)
            self.assertEqual((7, count), (result.returncode, len(result.calls)), words)
        self.program(self.root / "tools/scale_load", "exit 4")
        self.assertEqual(4, self.call("tools/validate_cpu", *arguments, cwd=self.folder).returncode)

    def test_scale_load(self):
        """Of a machine that is busy for a twentieth of the time for each request a second: ten of them make a half."""
        (self.folder / "profile").mkdir()
        self.program(self.root / "build/release/alchemist", r'''
echo "$*" >> "$CALLS"
rate=${8#workload.rate=}
awk "BEGIN { printf \"{\\\"gpu_busy_fraction\\\": %.9f, \\\"mean_tpot_ms\\\": %.9f, \\\"p99_tpot_ms\\\": 9}\", $rate / 20, $rate / 2 }"
''')
        result = self.call("tools/scale_load", "profile", cwd=self.folder)
        self.assert_done(result)
        keys = dict(line.split("=") for line in result.stdout.splitlines())
        self.assertEqual({"workload.rate", "training.max_itl"}, set(keys))
        self.assertAlmostEqual(10, float(keys["workload.rate"]), delta=0.2)
        self.assertAlmostEqual(20, float(keys["training.max_itl"].removesuffix(" ms")), delta=0.4)
        self.assertTrue(result.calls[0].startswith("run tiny --policy serve_only --set profile=profile --set workload.rate="))
        self.assertEqual(1, self.call("tools/scale_load", "nothing").returncode)
        self.program(self.root / "build/release/alchemist", "echo bad profile >&2; exit 1")
        result = self.call("tools/scale_load", "profile", cwd=self.folder)
        self.assertEqual((1, "scale_load: bad profile\n"), (result.returncode, result.stderr))

    def test_benchmark(self):
        """Times are the machine's; which programs run, how often, and what becomes of a failure is not."""
        numbers = [{"name": "a", "items_per_second": 4e6, "cpu_time": 1, "time_unit": "us"},
                   {"name": "b", "cpu_time": 2.5, "time_unit": "us"}]
        text = json.dumps({"benchmarks": numbers})
        tests = self.root / "build/release/tests"
        self.program(tests / "x_benchmark", f"echo \"x $*\" >> \"$CALLS\"; echo '{text}'")
        self.program(tests / "empty_benchmark", "exit 0")
        self.program(tests / "kernels_benchmark", "exit 1")
        self.program(self.root / "build/release/alchemist",
                     'echo "alchemist $*" >> "$CALLS"; [ "$*$(grep -c "run default$" "$CALLS")" != "run default3" ] || '
                     f"exec {sys.executable} -c 'b\"x\" * (300 << 20)'")
        result = self.call("tools/benchmark", "--repetitions", "3", "--filter", "c d")
        self.assert_done(result)
        self.assertEqual([self.BUILD + " --target alchemist benchmarks",
                          "x --benchmark_format=json --benchmark_filter=c d"], result.calls[:2])
        self.assertEqual(3, result.calls.count("alchemist run default"))
        memory = re.search(r"conversations.* ([0-9]+) MiB", result.stdout)[1]
        self.assertLess(int(memory), 100, "one run of three took 300: not the median")
        self.assertRegex(result.stdout, r"a +250\.0 ns +4\.00 million/s\nb +2\.5 us *\n")
        self.program(self.root / "build/release/alchemist", PROGRAM)
        result = self.call("tools/benchmark", "--no-build", "--runs-only", "--repetitions", "1", FAIL="run day")
        self.assertEqual(1, result.returncode)
        self.assertIn("alchemist run day", result.stderr)
        self.assertFalse([call for call in result.calls if call.startswith("cmake")])
        self.program(tests / "x_benchmark", "exit 3")
        self.assertNotEqual(0, self.call("tools/benchmark", "--no-build").returncode)

    def test_format(self):
        self.program("git", r'printf "a b.h\nc.cc\n"')
        self.program("clang-format", 'for word in "$@"; do echo "$word" >> "$CALLS"; done; exit ${STATUS:-0}')
        self.assertEqual(["-i", "a b.h", "c.cc"], self.call("tools/format").calls)
        result = self.call("tools/format", "--check", STATUS="1")
        self.assertEqual((1, ["--dry-run", "--Werror", "a b.h", "c.cc"]), (result.returncode, result.calls))


if __name__ == "__main__":
    unittest.main()
