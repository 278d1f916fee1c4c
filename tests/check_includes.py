#!/usr/bin/env python3
"""Holds the folders' dependencies, the spelling of includes, include cycles, the length of files, that no type is defined
twice, and that nothing which decides during a run can see how long an answer will be.

    check_includes.py [ROOT]     checks a source tree, exit status 1 if anything is wrong
    check_includes.py --self-test
"""

import re
import sys
import tempfile
import unittest
from pathlib import Path

# What each folder may include besides itself. What those may include follows: an engine that knows nodes knows the
# policies that nodes are made of.
ALLOWED = {
    "sim/base": [],
    "sim/policy": ["sim/base"],
    "sim/model": ["sim/base", "sim/policy"],  # implements the policies' Estimator
    "sim/node": ["sim/base", "sim/policy"],
    "sim/engine": ["sim/node", "sim/model"],
    "sim/report": ["sim/base"],
    "workloads": ["sim/base"],
    "sim/app": ["sim/engine", "sim/report", "workloads", "validate"],
    "sim/sweep": ["sim/app", "sim/sweep/mpi"],
    "sim/sweep/mpi": [],  # loaded at run time, so that the program starts where there is no MPI
    "sim": ["sim/app", "sim/sweep"],
    "kernels": ["sim/base"],
    "kernels/cpu": ["kernels"],
    "kernels/cuda": ["kernels"],
    "validate": ["sim/engine", "kernels", "kernels/cpu", "kernels/cuda", "workloads", "sim/report"],
}
SOURCES = {".h", ".cc", ".cu", ".cuh"}
ROOTS = ["sim", "workloads", "kernels", "validate", "tests"]
MAX_LINES = 450
# Node and policies are told of arrivals, which have no output length. The types and the field that have one belong to the
# world; what decides may not even mention them. Feedback is about an answer that has ended.
BLIND = ["sim/node", "sim/policy"]
OUTPUT_LENGTH = re.compile(r"\b((?<!feedback\.)(?<!sample\.)output_tokens|WorkloadRequest|WorkloadSource|RequestOutcome)\b")
NAMESPACE = re.compile(r"^namespace ?([\w:]*) ?\{$|^\}  // namespace")
TYPE = re.compile(r"^(?:class|struct|union|enum class) (\w+)(?: final)?(?: :.*)? \{")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def closure(folder):
    """The folders that `folder` may include, itself among them."""
    reached, todo = set(), [folder]
    while todo:
        current = todo.pop()
        if current not in reached:
            reached.add(current)
            todo.extend(ALLOWED[current])
    return reached


def folder_of(path):
    """The entry of the table that a source belongs to, or none."""
    return str(path.parent) if str(path.parent) in ALLOWED else None


def find_cycle(graph):
    """A list of files that include each other in a circle, or none."""
    done, path, on_path = set(), [], set()

    def visit(node):
        if node in on_path:
            return path[path.index(node):] + [node]
        if node in done:
            return None
        path.append(node)
        on_path.add(node)
        for successor in graph.get(node, []):
            cycle = visit(successor)
            if cycle:
                return cycle
        on_path.remove(path.pop())
        done.add(node)
        return None

    for node in sorted(graph):
        cycle = visit(node)
        if cycle:
            return cycle
    return None


def check_include(root, source, opening, target):
    """What is wrong with one include of `source`, or none. Paths are relative to the root."""
    ours = (root / target).is_file()
    if opening == "<":
        return f"<{target}> is a file of the project: write \"{target}\"" if ours else None
    if not ours:
        return f"\"{target}\" is no file seen from the root"
    if source.parts[0] == "tests":
        return None  # tests may look at everything
    if Path(target).parts[0] == "tests":
        return f"\"{target}\": the product does not include its tests"
    folder = folder_of(source)
    if folder is not None and folder_of(Path(target)) not in closure(folder):
        return f"\"{target}\": {folder} may only include {', '.join(sorted(closure(folder)))}"
    return None


def types_defined(lines):
    """(line, name with its namespaces) of the types that other files can see."""
    namespaces = []
    for number, line in enumerate(lines, 1):
        if match := NAMESPACE.match(line):
            if match[1] is None:
                namespaces.pop()
            else:
                namespaces.append(match[1])
        elif (match := TYPE.match(line)) and "" not in namespaces:
            yield number, "::".join([*namespaces, match[1]])


def check_tree(root):
    """Everything that is wrong, as lines FILE:LINE: MESSAGE."""
    problems, graph, types = [], {}, {}
    sources = [f for top in ROOTS for f in sorted((root / top).rglob("*")) if f.suffix in SOURCES]
    for file in sources:
        source = file.relative_to(root)
        lines = file.read_text(encoding="utf-8").splitlines()
        if len(lines) > MAX_LINES:
            problems.append(f"{source}:{len(lines)}: more than {MAX_LINES} lines")
        if source.parts[0] != "tests" and folder_of(source) is None:
            problems.append(f"{source}:1: in a folder that the table of dependencies does not know")
        graph[str(source)] = []
        for number, name in types_defined(lines) if source.parts[0] != "tests" else ():  # those are many programs
            first = types.setdefault(name, f"{source}:{number}")
            if first != f"{source}:{number}":
                problems.append(f"{source}:{number}: {name} is defined in {first} too, and one program may hold both")
        for number, line in enumerate(lines, 1):
            leak = OUTPUT_LENGTH.search(line) if str(source.parent) in BLIND else None
            if leak:
                problems.append(f"{source}:{number}: {leak.group()}: output lengths are not for {source.parent} to see")
            match = INCLUDE.match(line)
            if not match:
                continue
            problem = check_include(root, source, *match.groups())
            if problem:
                problems.append(f"{source}:{number}: {problem}")
            graph[str(source)].append(match.group(2))
    cycle = find_cycle(graph)
    if cycle:
        problems.append(f"{cycle[0]}:1: includes itself: {' -> '.join(cycle)}")
    return problems, len(sources)


class SelfTest(unittest.TestCase):
    """Planted mistakes are found, and sound trees are not complained about."""

    def check(self, files):
        with tempfile.TemporaryDirectory() as directory:
            for name, text in files.items():
                path = Path(directory) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            return check_tree(Path(directory))[0]

    def test_sound_tree(self):
        self.assertEqual([], self.check({
            "sim/base/a.h": "#include <vector>\n",
            "sim/policy/p.h": '#include "sim/base/a.h"\n',
            "sim/engine/e.cc": '#include "sim/policy/p.h"\n',  # by way of node
            "sim/app/cli.h": '#include "sim/engine/e.cc"\n',
            "sim/main.cc": '#include "sim/app/cli.h"\n',
            "tests/base/a_test.cc": '#include "sim/engine/e.cc"\n',
        }))

    def test_forbidden_folder(self):
        problems = self.check({"sim/base/a.h": "\n#include \"sim/node/n.h\"\n", "sim/node/n.h": ""})
        self.assertEqual(1, len(problems))
        self.assertTrue(problems[0].startswith("sim/base/a.h:2: "), problems)

    def test_folder_may_not_reach_sideways(self):
        self.assertEqual(1, len(self.check({"sim/report/r.cc": '#include "sim/node/n.h"\n', "sim/node/n.h": ""})))

    def test_include_not_from_the_root(self):
        self.assertEqual(1, len(self.check({"sim/base/a.h": "", "sim/base/b.h": '#include "a.h"\n'})))
        self.assertEqual(1, len(self.check({"sim/base/a.h": "", "sim/base/b.h": "#include <sim/base/a.h>\n"})))

    def test_product_includes_test(self):
        self.assertEqual(1, len(self.check({"tests/t.h": "", "sim/base/b.h": '#include "tests/t.h"\n'})))

    def test_unknown_folder(self):
        self.assertEqual(1, len(self.check({"sim/base/a.h": "", "sim/new/b.h": '#include "sim/base/a.h"\n'})))

    def test_cycle(self):
        problems = self.check({"sim/base/a.h": '#include "sim/base/b.h"\n', "sim/base/b.h": '#include "sim/base/a.h"\n'})
        self.assertEqual(["sim/base/a.h:1: includes itself: sim/base/a.h -> sim/base/b.h -> sim/base/a.h"], problems)

    def test_length(self):
        self.assertEqual([], self.check({"sim/base/a.h": "\n" * MAX_LINES}))
        self.assertEqual(1, len(self.check({"sim/base/a.h": "\n" * (MAX_LINES + 1)})))

    def test_type_defined_twice(self):
        head = "namespace alchemist {\n"
        problems = self.check({"sim/base/a.h": head + "struct Batch {\n};\n}  // namespace alchemist\n",
                               "validate/b.cc": head + "\nclass Batch final : public A {\n};\n}  // namespace alchemist\n"})
        self.assertEqual(["validate/b.cc:3: alchemist::Batch is defined in sim/base/a.h:2 too, and one program may hold both"],
                         problems)
        self.assertEqual([], self.check({
            "sim/base/a.h": head + "struct Batch {\n};\nclass Other;\n}  // namespace alchemist\n",
            "sim/base/b.h": "namespace alchemist::cpu {\nstruct Batch {\n};\n}  // namespace alchemist::cpu\n",
            "sim/base/c.cc": head + "namespace {\nstruct Batch {\n};\n}  // namespace\nclass Other {\n};\n"}))

    def test_node_and_policy_are_blind(self):
        for folder in BLIND:
            problems = self.check({f"{folder}/n.cc": "int x;\nint f(const Request& r) { return r.output_tokens; }\n"})
            self.assertEqual(1, len(problems))
            self.assertTrue(problems[0].startswith(f"{folder}/n.cc:2: output_tokens: "), problems)
        self.assertEqual([], self.check({"sim/engine/e.cc": "int output_tokens;\n", "sim/node/n.cc": "int tokens;\n"}))

    def test_table_has_no_cycle(self):
        self.assertIsNone(find_cycle(ALLOWED))


def main():
    if sys.argv[1:] == ["--self-test"]:
        unittest.main(argv=sys.argv[:1])
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    problems, count = check_tree(root)
    for problem in problems:
        print(problem)
    if count == 0:
        print(f"{root}: no sources found")
        return 1
    print(f"{count} files, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
