"""Draws the results of peers.py: an SVG chart, and tables for a page.

usage: chart.py RESULT.json ... [--svg=FILE] [--tables]

Bars are medians as multiples of the first competitor's, vitqc -O2, with the
quartiles of single rounds; longer is slower. --tables prints Markdown. Needs
nothing but Python.
"""
import argparse
import html
import json
import sys

BAR, GAP, HEAD = 17, 14, 24     # heights
LEFT, WIDTH, RIGHT = 170, 460, 90
COLOURS = (("vitqc", "#2563eb"), ("openvino", "#9333ea"), ("ort", "#d97706"))


def colour_of(name):
    return next(c for prefix, c in COLOURS if name.startswith(prefix))


def text(x, y, content, **attributes):
    more = "".join(f' {k.replace("_", "-")}="{v}"' for k, v in attributes.items())
    return f'<text x="{x:g}" y="{y:g}"{more}>{html.escape(content)}</text>'


def group(result, top, scale):
    """The bars of one model and shape; returns SVG lines and their height."""
    out = [text(LEFT, top + HEAD - 9,
                f"{result['model']}, batch {result['shape'].split('x')[0]}",
                font_weight="bold")]
    y = top + HEAD
    for row in result["rows"]:
        middle, end = y + BAR - 5, LEFT + row["ratio"] * scale
        low, high = (LEFT + row[k] * scale for k in ("ratio_p25", "ratio_p75"))
        out += [
            text(LEFT - 6, middle, row["competitor"], text_anchor="end"),
            f'<rect x="{LEFT}" y="{y + 2}" width="{end - LEFT:.1f}" '
            f'height="{BAR - 4}" fill="{colour_of(row["competitor"])}"/>',
            f'<path d="M{low:.1f} {y + BAR / 2:g}H{high:.1f}" stroke="#111"/>',
            text(round(max(end, high) + 5, 1), middle, f"{row['ratio']:.2f}")]
        y += BAR
    return out, y + GAP - top


def chart(results):
    most = max(max(row["ratio"], row["ratio_p75"])
               for r in results for row in r["rows"])
    out, y = [], GAP
    for result in results:
        lines, height = group(result, y, WIDTH / most)
        out, y = out + lines, y + height
    width = LEFT + WIDTH + RIGHT
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" '
        f'width="{width}" height="{y}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{y}" fill="#fff"/>', *out, "</svg>", ""])


def tables(results):
    for r in results:
        probe = r["probe"]
        notes = [f"{r['rounds']} rounds of {r.get('passes', 1)}"]
        if "probe_share" in probe:
            notes.append(f"{probe['probe_gflops']:.0f} GFLOP/s, "
                         f"{probe['probe_codes_gops']:.0f} Gop/s of codes in "
                         f"{100 * probe['probe_share']:.0f} % of the time")
        yield (f"\n**{r['model']}, {r['shape']}** ({r['cpu']}, {r['isa']}; "
               f"{'; '.join(notes)})\n")
        yield "| | median ms | p25 | min | ratio | quartiles | file | memory |"
        yield "|---|---|---|---|---|---|---|---|"
        for row in r["rows"]:
            yield (f"| {row['competitor']} | {row['median_ms']:.1f} | "
                   f"{row['p25_ms']:.1f} | {row['min_ms']:.1f} | "
                   f"{row['ratio']:.2f} | {row['ratio_p25']:.2f} to "
                   f"{row['ratio_p75']:.2f} | {row['file_share']:.3f} | "
                   f"{row['resident_kib'] * 1.024e-3:.1f} MB |")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("result", nargs="+")
    parser.add_argument("--svg")
    parser.add_argument("--tables", action="store_true")
    arguments = parser.parse_args()
    results = []
    for path in arguments.result:
        with open(path, encoding="utf-8") as f:
            results += json.load(f)["results"]
    if arguments.svg:
        with open(arguments.svg, "w", encoding="utf-8") as out:
            out.write(chart(results))
    if arguments.tables:
        print("\n".join(tables(results)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
