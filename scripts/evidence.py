"""Writes evidence.md and dump-timeline.svg from what the lab's tests have written: evidence.py FROM TO.

Over 200 lines, because most of it is the text and the picture that it writes.
"""

import json
import pathlib
import sys
from html import escape
from string import Template

SCENARIOS = {
    1: "A dump that waits for a lock",
    2: "Programs that are quiet for a while",
    3: "Only values below the firewall's timeout help",
    4: "Outages: survived if they are short, found out if they are not",
    5: "Data in flight when the path goes dead",
    6: "Rules",
    7: "A profile",
    8: "MPTCP",
    9: "A crowd of connections",
}
FIREWALLS = {"drop": "drops", "nat": "NAT, drops", "reset": "resets"}

PAGE = """\
# What was seen in the firewall lab

Written by `scripts/evidence`, from the records of the tests that it ran. Do not edit.

![Timeline of a dump without and with keepalive](dump-timeline.svg)

## The lab

```
  +---------------+         +------------------------------------+         +---------------+
  | client        |  veth   | router                             |  veth   | server        |
  | 10.77.1.2     |---------| 10.77.1.1                10.77.2.1 |---------| 10.77.2.2     |
  | the programs, |  pair   | nftables with connection tracking, |  pair   | MariaDB, sshd,|
  | without and   |         | strict: only a SYN makes it known, |         | PostgreSQL,   |
  | with kashim   |         | and some seconds of silence make   |         | Redis, rsync, |
  |               |         | it forgotten                       |         | HTTP          |
  +---------------+         +------------------------------------+         +---------------+
```

Three network namespaces on one machine: real programs on a real kernel. Only the times are scaled: seconds for what
are minutes elsewhere. The router is of one of three kinds: it *drops* a packet of a connection that it does not know
in silence, does *NAT* (masquerade) and drops, or answers with a RST (*resets*). `nf_conntrack_tcp_loose` is 0.

Each test runs a program without the library and, at the same time and behind the same firewall, with it. It fails
unless both end as they have to. "Hangs" means that the program still waited when the test gave it up; it would have
done so for hours. Times count from the event that the program waits for, such as the end of the lock, or from the last
sign of life of the peer where it is about outages, or from the start of a query that takes its time. Nothing passes
for 15 seconds where nothing else is said.
"""


def main(source, target):
    records = [json.loads(path.read_text()) for path in sorted(source.glob("*.json"))]
    page = PAGE
    for scenario, title in SCENARIOS.items():
        rows = [row(record) for record in records if record["scenario"] == scenario]
        if rows:
            page += f"\n## {scenario}. {title}\n\n| what happens | firewall | without | with |\n|---|---|---|---|\n"
            page += "".join(rows)
    page += "\n## The machine\n\n" + (source / "machine").read_text()
    (target / "evidence.md").write_text(page)
    dump = json.loads((source / "1-mysqldump-drop.json").read_text())
    (target / "dump-timeline.svg").write_text(timeline(dump))


def row(record):
    """A row of a table."""
    known = ("scenario", "timeout")
    numbers = [
        f"{name.replace('_', ' ')}: {value:,.1f}".removesuffix(".0")
        for name, value in record.items()
        if isinstance(value, (int, float)) and name not in known and name != "released"
    ]
    what = record["what"] + (f" ({'; '.join(numbers)})" if numbers else "")
    cells = {True: [], False: []}
    for run in record["runs"]:
        without = run["settings"].startswith("without")
        cells[without].append(cell(run, run["settings"] == "without"))
    firewall = f"{FIREWALLS[record['firewall']]}, {record['timeout']} s"
    return f"| {what} | {firewall} | {'<br>'.join(cells[True])} | {'<br>'.join(cells[False])} |\n"


def cell(run, plain):
    """How one way of running a program ended."""
    outcome, after = run["outcome"], run["after"]
    if outcome in ("completed", "hangs"):
        outcome += f", {after:.2f} s" if run["success"] else f" (given up after {after:.0f} s)"
    elif run["success"]:
        outcome += f", {after:.2f} s"
    text = escape(outcome, quote=False).replace("|", "\\|")
    text = f"**{text}**" if run["success"] else text
    return text if plain else f"`{run['settings']}`: {text}"


# The picture.

WIDTH, HEIGHT, LEFT, RIGHT = 900, 500, 122, 20
# Its own background: a page may be dark where the reader's system is not.
LIGHT = {
    "card": "#ffffff", "text": "#1f2328", "soft": "#59636e", "line": "#c3cad1", "good": "#1a7f37", "bad": "#cf222e",
    "data": "#0969da", "lock": "#fff5da", "knows": "#c2e8cc", "forgot": "#fbdcdc", "waits": "#d5dbe1",
}
DARK = {
    "card": "#0d1117", "text": "#e6edf3", "soft": "#9198a1", "line": "#454c56", "good": "#3fb950", "bad": "#ff7b72",
    "data": "#58a6ff", "lock": "#262113", "knows": "#174426", "forgot": "#3d1518", "waits": "#363c44",
}
STYLE = Template("""\
text { font: 14px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: $text; }
text.title { font-size: 17px; font-weight: 600; }
text.head { font-size: 15px; font-weight: 600; }
text.soft { fill: $soft; }
text.good { fill: $good; font-weight: 600; }
text.bad { fill: $bad; font-weight: 600; }
path { fill: none; stroke-width: 2; }
.card { fill: $card; stroke: $line; }
.lock { fill: $lock; }
.waits { fill: $waits; }
.knows { fill: $knows; stroke: $good; stroke-width: 1.5; }
.forgot { fill: $forgot; }
.axis { stroke: $line; stroke-width: 1; }
.event { stroke: $soft; stroke-width: 1; stroke-dasharray: 4 4; }
.data { stroke: $data; }
.probe { stroke: $good; }
.lost { stroke: $bad; }
.done { stroke: $good; stroke-width: 3; }
""")


def timeline(record):
    """The picture of a dump, from its record."""
    forget, released = record["timeout"], record["released"]
    end = released + record["runs"][0]["after"] + 0.4
    picture = Picture(end)
    picture.text(20, 32, f"mysqldump waits for a table lock; the firewall forgets what is silent for {forget} s", "title")
    picture.text(20, 54, "As measured in the firewall lab, where seconds stand for minutes", "soft")
    top, bottom = 70, HEIGHT - 84
    picture.box(0, released, top, bottom - top, "lock")
    picture.path(f"M{picture.x(released)} {top}V{bottom}m0 26v18", "event")
    for second in range(0, int(end) + 1, 5):
        picture.path(f"M{picture.x(second)} {bottom}v5", "axis")
        picture.text(picture.x(second), bottom + 20, f"{second} s", "soft", "middle")
    picture.path(f"M{LEFT} {bottom}H{WIDTH - RIGHT}", "axis")
    picture.text(picture.x(released) - 8, bottom + 41, "another connection holds the lock", "soft", "end")
    picture.text(picture.x(released) + 8, bottom + 41, "released: the server answers", "soft")
    runs = zip(record["runs"], record["packets"], record["forgotten"])
    for y, (run, packets, forgotten) in zip((top + 8, top + 182), runs):
        name = "Without kashim" if run["settings"] == "without" else f"With kashim, {run['settings']}"
        picture.text(LEFT + 6, y + 16, name, "head")
        picture.packets(y + 42, packets)
        picture.memory(y + 60, 44, packets, forget, forgotten, released + run["after"])
        picture.program(y + 116, run, released, record["bytes"])
        for offset, label in ((47, "packets"), (87, "firewall"), (132, "mysqldump")):
            picture.text(LEFT - 12, y + offset, label, "soft", "end")
    picture.legend(HEIGHT - 18)
    return picture.svg(
        f"Without kashim the firewall forgets the silent connection after {forget} seconds, so the rows that are sent "
        "when the lock is released are dropped, and mysqldump hangs. With kashim a probe every two seconds keeps it "
        "known, and the dump completes at once."
    )


class Picture:
    """What has been drawn so far. Times are in seconds."""

    def __init__(self, end):
        self.end = end
        self.drawn = []

    def x(self, seconds):
        return round(LEFT + seconds * (WIDTH - LEFT - RIGHT) / self.end, 1)

    def text(self, x, y, words, kind="", anchor="start"):
        self.drawn.append(f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>')

    def path(self, path, kind):
        self.drawn.append(f'<path d="{path}" class="{kind}"/>')

    def box(self, start, stop, y, height, kind):
        width = round(self.x(stop) - self.x(start), 1)
        self.drawn.append(f'<rect x="{self.x(start)}" y="{y}" width="{width}" height="{height}" class="{kind}"/>')

    def packets(self, y, packets):
        """A stroke for what passes, a cross for what is dropped."""
        probed = [packet["at"] for packet in packets if packet["probe"]]
        strokes = {}
        for packet in packets:
            near_probe = any(0 <= packet["at"] - at < 0.3 for at in probed) and not packet["data"]
            kind = "lost" if packet["lost"] else "probe" if near_probe else "data"
            strokes.setdefault((self.x(packet["at"]), kind))
        for x, kind in strokes:
            self.path(cross(x, y) if kind == "lost" else f"M{x} {y - 9}v18", kind)
        lost = [packet["at"] for packet in packets if packet["lost"]]
        if len(lost) > 1:
            self.text(self.x(lost[0]) + 4, y - 14, "dropped, again and again", "bad")

    def memory(self, y, height, packets, forget, forgotten, stop):
        """How long the firewall will still know the connection: each packet that it knows starts that anew."""
        bottom = y + height
        passed = sorted(packet["at"] for packet in packets if not packet["lost"])
        path, last = f"M{self.x(passed[0])} {bottom}", None
        for at in passed:
            if last is not None:
                path += f"L{self.x(at)} {round(y + height * (at - last) / forget, 1)}"
            path += f"V{y}"
            last = at
        if forgotten is None:
            path += f"H{self.x(stop)}V{bottom}"
        else:
            self.box(last + forget, stop, y, height, "forgot")
            path += f"L{self.x(last + forget)} {bottom}"
            self.text(self.x(last + forget) + 8, y + 27, f"the connection is forgotten at {forgotten:.1f} s", "bad")
        self.path(path + "Z", "knows")

    def program(self, y, run, released, size):
        stop = released + run["after"]
        self.box(0, stop if run["success"] else released, y, 22, "waits")
        self.text(LEFT + 8, y + 16, "waits")
        if run["success"]:
            x = self.x(stop)
            self.path(f"M{x + 8} {y + 12}l5 5l9 -12", "done")
            self.text(x + 28, y + 16, f"complete after {stop:.2f} s, {size / 1e6:.1f} MB", "good")
        else:
            self.box(released, stop, y, 22, "forgot")
            self.text(self.x(released) + 8, y + 16, f"hangs: given up after {stop:.0f} s", "bad")

    def legend(self, y):
        x = LEFT
        for kind, words in (("data", "data"), ("probe", "keepalive probe and its answer"), ("lost", "dropped")):
            self.path(cross(x + 5, y - 5) if kind == "lost" else f"M{x + 5} {y - 14}v18", kind)
            self.text(x + 16, y, words, "soft")
            x += 40 + 8 * len(words)
        self.drawn.append(f'<rect x="{x}" y="{y - 12}" width="22" height="14" class="knows"/>')
        self.text(x + 30, y, "time left until the firewall forgets", "soft")

    def svg(self, description):
        size = f'width="{WIDTH}" height="{HEIGHT}"'
        drawn = "\n".join(self.drawn)
        return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {size} role="img">
<title>A dump without and with keepalive</title>
<desc>{escape(description)}</desc>
<style>
{STYLE.substitute(LIGHT)}@media (prefers-color-scheme: dark) {{
{STYLE.substitute(DARK)}}}
</style>
<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="8" class="card"/>
{drawn}
</svg>
"""


def cross(x, y):
    return f"M{x - 5} {y - 5}l10 10m0 -10l-10 10"


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
