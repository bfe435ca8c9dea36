"""The ratios as a picture: a bar for each layer and number of threads, to the right of the line at 1.0 where ours is faster."""
import html
import math

ROW, BAR, LEFT, WIDTH, RIGHT = 26, 10, 210, 420, 190
LOW, HIGH = 0.25, 16.0
COLOURS = {1: "#7fb2e5", 2: "#1f5f9f"}
SLOWER, ALGORITHM = "#d9822b", "#0a7f3f"


def place(ratio):
    """Where a ratio stands on the logarithmic axis."""
    share = math.log(min(max(ratio, LOW), HIGH) / LOW) / math.log(HIGH / LOW)
    return LEFT + WIDTH * share


def text(x, y, words, size=11, anchor="start", weight="normal", colour="#222"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" fill="{colour}">'
            f"{html.escape(words)}</text>")


def box(x, y, width, height, colour):
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'


def line(x, top, bottom, colour, width=1):
    return f'<line x1="{x:.1f}" y1="{top:.1f}" x2="{x:.1f}" y2="{bottom:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def draw(document):
    """The SVG text of what bench_peers.py has measured."""
    rows = [row for row in document["layers"] if "ratio" in row]
    threads = sorted({row["threads"] for row in rows})
    colours = {count: COLOURS.get(count, "#1f5f9f") for count in threads}
    parts, y = [], 84
    x = LEFT
    for count in threads:
        parts += [box(x, 50, 10, 10, colours[count]), text(x + 15, 59, f"{count} thread{'s' if count > 1 else ''}")]
        x += 90
    parts += [box(x, 50, 10, 10, SLOWER), text(x + 15, 59, "slower than the best peer")]
    if any("algorithm_ratio" in row for row in rows):
        parts += [line(x + 170, 50, 60, ALGORITHM, 3), text(x + 178, 59, "ours by Winograd, if the caller permits it")]
    top = y
    for group in dict.fromkeys(row["group"] for row in rows):
        means = []
        for count in threads:
            ratios = [row["ratio"] for row in rows if (row["group"], row["threads"]) == (group, count)]
            if ratios:
                mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
                means.append(f"{mean:.2f} ({count} thread{'s' if count > 1 else ''})")
        y += 14
        parts.append(text(10, y, group, 13, weight="bold"))
        parts.append(text(LEFT + WIDTH + RIGHT - 10, y, "geometric mean " + ", ".join(means), 11, "end", "bold"))
        y += 8
        for name in dict.fromkeys(row["name"] for row in rows if row["group"] == group):
            parts.append(text(10, y + ROW / 2 + 3, name))
            bars = [row for row in rows if row["name"] == name]
            for number, row in enumerate(sorted(bars, key=lambda row: row["threads"])):
                ratio, above = row["ratio"], y + (ROW - BAR * len(bars)) / 2 + BAR * number
                start, end = sorted((place(1), place(ratio)))
                parts.append(box(start, above, max(end - start, 1), BAR - 1, colours[row["threads"]] if ratio >= 1 else SLOWER))
                if "algorithm_ratio" in row:
                    end = max(end, place(row["algorithm_ratio"]))
                    parts.append(line(place(row["algorithm_ratio"]), above, above + BAR - 1, ALGORITHM, 3))
                parts.append(text(end + 4, above + BAR - 2, f"{ratio:.2f} {row['best_peer']}", 9, colour="#555"))
            y += ROW
        y += 6
    grid = [line(place(ratio), top, y, "#ddd") for ratio in (0.25, 0.5, 2, 4, 8, 16)] + [line(place(1), top, y, "#000", 1.5)]
    grid += [text(place(ratio), top - 5, f"{ratio:g}", 10, "middle", colour="#555") for ratio in (0.25, 0.5, 1, 2, 4, 8, 16)]
    title = "How many times faster than the best peer"
    versions = {name: version.partition("+")[0].partition("-")[0] for name, version in document["versions"].items()}
    peers = ", ".join(f"{name} {version}" for name, version in versions.items() if name != "ours")
    head = [text(10, 22, title, 16, weight="bold"), text(10, 40, f"{document['machine']}, {document['date']}, float32", 11)]
    foot = [text(10, y + 16 + 13 * number, part, 10, colour="#555") for number, part in enumerate(wrap("Peers: " + peers, 130))]
    height, width = y + 24 + 13 * len(foot), LEFT + WIDTH + RIGHT
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height:.0f}" viewBox="0 0 {width} {height:.0f}" '
        'font-family="Helvetica, Arial, sans-serif">',
        box(0, 0, width, height, "#fff"), *head, *grid, *parts, *foot, "</svg>", ""])


def wrap(words, length):
    lines = [""]
    for word in words.split(" "):
        if len(lines[-1]) + len(word) > length:
            lines.append("")
        lines[-1] += word + " "
    return lines
