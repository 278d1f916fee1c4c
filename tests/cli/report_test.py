"""The report of alchemist plot in a browser: it loads without an error, its pictures are there, its tables sort, and a
phone shows it without scrolling the page sideways. Skipped where there is no Chromium."""

import html
import json
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from alchemist_cli import CliTestCase, run
from plot_samples import POLICIES, run_directory, sweep_directory

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# Put at the end of the page: what the test wants to know, as JSON in an element of its own.
PROBE = """
<script>
window.addEventListener("load", async () => {
  const images = Array.from(document.images);
  const broken = await Promise.all(images.map((image) => image.decode().then(() => 0, () => 1)));
  const table = Array.from(document.querySelectorAll("table.sortable"))
    .find((each) => each.tHead.rows[0].cells[0].textContent.startsWith("policy"));  // that of all points
  const headings = Array.from(table.tHead.rows[0].cells);
  const column = headings.findIndex((cell) => cell.textContent.startsWith(HEADING));
  const cells = () => Array.from(table.tBodies[0].rows, (row) => [row.cells[0].textContent.trim(),
                                                                  row.cells[column].dataset.value]);
  const before = cells();
  const click = () => { headings[column].querySelector("button").click(); return cells(); };
  const once = click(), sort = headings[column].getAttribute("aria-sort"), twice = click();
  const result = document.createElement("pre");
  result.id = "probe";
  result.textContent = JSON.stringify({
    widths: images.map((image) => image.naturalWidth), broken: broken.reduce((a, b) => a + b, 0),
    before, once, sort, twice, viewport: innerWidth, page: document.documentElement.scrollWidth,
    requests: performance.getEntriesByType("resource").map((entry) => entry.name)
      .filter((name) => !name.startsWith("data:"))});
  document.body.append(result);
});
</script></body>"""


@unittest.skipUnless(BROWSER, "no Chromium: the report is not tried in a browser")
class Report(CliTestCase):
    @classmethod
    def setUpClass(cls):
        """A report of a sweep, of which one point failed, and of a run."""
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        root = Path(folder.name)
        done = run("plot", sweep_directory(root / "sweep", failed=[1]), run_directory(root), "--out", root / "out")
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        cls.page = (root / "out/report.html").read_text()

    def open(self, heading="training", size="1200,900"):
        """Loads the report with the probe in it; what the probe found."""
        probed = self.make_directory() / "report.html"
        probed.write_text(self.page.replace("</body>", PROBE.replace("HEADING", json.dumps(heading))))
        browser = subprocess.run(
            [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--enable-logging=stderr", f"--user-data-dir={self.make_directory()}", f"--window-size={size}",
             "--virtual-time-budget=10000", "--dump-dom", f"file://{probed}"],
            capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual([], [line for line in browser.stderr.splitlines() if "CONSOLE" in line])
        found = re.search(r'<pre id="probe">(.*?)</pre>', browser.stdout, re.DOTALL)
        self.assertTrue(found, browser.stderr[-2000:])
        return json.loads(html.unescape(found.group(1)))

    def test_pictures_are_there_and_tables_sort(self):
        found = self.open()
        self.assertEqual(self.page.count("<img "), len(found["widths"]))
        self.assertGreater(len(found["widths"]), 10)
        self.assertTrue(all(width > 300 for width in found["widths"]), found["widths"])
        self.assertEqual(0, found["broken"])
        self.assertEqual([], found["requests"])
        # Training by policy and rate: serve_only 0 (its other point failed: no value), temporal 4000 and 8000, alchemist
        # 8000 and 16000; failed points come last, whichever way the table is sorted.
        self.assertEqual([*POLICIES, *POLICIES], [policy for policy, _ in found["before"]])
        self.assertEqual(["0", "4000", "8000", "8000", "16000", ""], [value for _, value in found["once"]])
        self.assertEqual("ascending", found["sort"])
        self.assertEqual(["16000", "8000", "8000", "4000", "0", ""], [value for _, value in found["twice"]])

    def test_policies_sort_in_their_order(self):
        self.assertEqual([policy for policy in POLICIES for _ in (0, 1)],
                         [policy for policy, _ in self.open(heading="policy")["once"]])

    def test_phone(self):
        found = self.open(size="360,780")
        self.assertLess(found["viewport"], 600)
        self.assertLessEqual(found["page"], found["viewport"])


if __name__ == "__main__":
    unittest.main()
