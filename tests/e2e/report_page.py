"""Looks at a report in a browser: nothing of it is wider than the window.

usage: report_page.py VITQC MODEL.vq [PAGE.html]

Makes a report of MODEL (or takes PAGE) and opens it in Chromium, offline, in windows of
a desktop's and of a phone's width. The page itself has no script; what measures it is
around it.
"""
import html
import os
import re
import shutil
import subprocess
import sys
import tempfile

WIDTHS = (1280, 390)
LOOK = """<!DOCTYPE html><meta charset="utf-8"><body><script>
const text = [];
function look(frame) {
  const d = frame.contentDocument, root = d.documentElement, w = frame.width;
  text.push(`width ${w} is ${root.clientWidth}, content ${root.scrollWidth}`);
  for (const e of d.querySelectorAll('body, body > *')) {
    const r = e.getBoundingClientRect();
    if (r.left < 0 || r.right > root.clientWidth)
      text.push(`outside at ${w}: ${e.tagName} ${e.className}`);
  }
  for (const e of d.querySelectorAll('.wide'))
    if (e.scrollWidth > e.clientWidth && d.defaultView.getComputedStyle(e).overflowX != 'auto')
      text.push(`cannot be scrolled at ${w}: ${e.className}`);
  text.push(`at ${w}: ${d.querySelectorAll('table').length} tables, `
            + `${d.querySelectorAll('svg path').length} histograms, `
            + `${[...d.images].filter(i => i.naturalWidth > 0).length} of `
            + `${d.images.length} pictures`);
}
</script>FRAMES<pre id="found"></pre><script>
onload = () => {
  for (const f of document.querySelectorAll('iframe')) look(f);
  found.textContent = text.join('\\n');
};
</script></body>
"""


def make(tool, model, folder):
    page = os.path.join(folder, "report.html")
    subprocess.run([tool, model, "-q", "--cpu=native", "--preprocess=scale=1/255",
                    "--calib-size=5", "--calib-steps=3", "--bits=w4a4",
                    f"--report={page}", "-o", os.path.join(folder, "m.so")], check=True)
    return page


def measure(browser, page, folder):
    with open(page, encoding="utf-8") as f:
        text = f.read()
    assert "<script" not in text and "http" not in text
    frames = "".join(f'<iframe width="{w}" height="3000" srcdoc="{html.escape(text)}">'
                     "</iframe>" for w in WIDTHS)
    around = os.path.join(folder, "around.html")
    with open(around, "w", encoding="utf-8") as f:
        f.write(LOOK.replace("FRAMES", frames))
    out = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         f"--user-data-dir={os.path.join(folder, 'profile')}", "--dump-dom",
         "file://" + around],
        check=True, capture_output=True, text=True, timeout=300).stdout
    found = re.search(r'<pre id="found">(.*?)</pre>', out, re.S)
    assert found, out[-2000:]
    return html.unescape(found.group(1))


def main(tool, model, *given):
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if not browser:
        print("SKIPPED: no Chromium here to look at a report with")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        page = given[0] if given else make(tool, model, folder)
        found = measure(browser, page, folder)
    print(found)
    lines = found.split("\n")
    wrong = [x for x in lines if "outside" in x or "cannot" in x]
    for w in WIDTHS:
        sizes = re.search(f"width {w} is (\\d+), content (\\d+)", found)
        inner, content = map(int, sizes.groups())
        if inner > w or content > inner:
            wrong.append(f"at {w}: content of {content} in a window of {inner}")
        if not re.search(f"at {w}: [5-9] tables, [1-9]\\d* histograms, (\\d+) of \\1 ", found):
            wrong.append(f"at {w}: something is missing")
    print("\n".join(wrong) or "nothing is wider than the window")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
