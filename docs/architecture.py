"""Writes docs/architecture.svg, the way of a study through ichor: python3 docs/architecture.py"""
from html import escape
from pathlib import Path

W, H = 1120, 640
INK, SOFT, LINE = "#1b2733", "#5a6b7b", "#8fa1b3"
COLUMNS = {  # title, folder, x, width, fill
    "scp": ("Receive", "scp/", 150, 215, "#e3eefb"),
    "pipeline": ("Analyse", "pipeline/", 405, 300, "#e6f4e8"),
    "reporting": ("Report", "reporting/", 745, 215, "#fdf0dd"),
}
out = []


def text(x, y, words, size=14, weight=400, colour=INK, anchor="middle", mono=False):
    family = "ui-monospace, 'DejaVu Sans Mono', monospace" if mono else "'DejaVu Sans', Verdana, sans-serif"
    out.append(f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{colour}" text-anchor="{anchor}" '
               f'font-family="{family}">{escape(words)}</text>')


def box(x, y, w, h, title, note="", fill="#ffffff", dashed=False):
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    out.append(f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="7" fill="{fill}" stroke="{LINE}"{dash}/>')
    text(x + w / 2, y + (h / 2 + 5 if not note else h / 2 - 4), title, 14, 600)
    if note:
        text(x + w / 2, y + h / 2 + 14, note, 11.5, colour=SOFT)


def arrow(*points, label="", at=None):
    path = " L ".join(f"{x} {y}" for x, y in points)
    out.append(f'<path d="M {path}" fill="none" stroke="{INK}" stroke-width="1.6" marker-end="url(#tip)"/>')
    if label:
        x, y = at
        text(x, y, label, 12, colour=INK)


for title, folder, x, width, fill in COLUMNS.values():
    out.append(f'<rect x="{x}" y="64" width="{width}" height="432" rx="12" fill="{fill}"/>')
    text(x + 16, 92, title, 17, 700, anchor="start")
    text(x + width - 16, 92, folder, 13, colour=SOFT, anchor="end", mono=True)

# Receive
box(170, 112, 175, 52, "ul, dimse", "association, messages")
box(170, 200, 175, 52, "scp", "C-STORE, commitment")
box(170, 288, 175, 52, "spool", "fsync, then 0000H")
arrow((257, 164), (257, 200))
arrow((257, 252), (257, 288))
box(170, 422, 175, 52, "secure, find", "TLS, C-FIND count")

# Analyse
box(425, 112, 260, 46, "assembly", "study complete")
box(425, 182, 260, 46, "queue", "NATS JetStream, embedded")
out.append(f'<rect x="425" y="252" width="260" height="150" rx="7" fill="#ffffff" stroke="{LINE}"/>')
text(555, 274, "pipeline.Analyze", 14, 600, mono=True)
for i, (a, b) in enumerate([("selection", "which series"), ("volume", "HU, in patient space"),
                            ("cavity, quality", "brain, metal, motion"), ("bleed, subtype", "the bleed network"),
                            ("measure", "mL and lesions")]):
    text(439, 297 + 22 * i, a, 12.5, 600, anchor="start")
    text(553, 297 + 22 * i, b, 11.5, colour=SOFT, anchor="start")
box(425, 422, 120, 52, "state", "bbolt file")
box(565, 422, 120, 52, "retention", "deletes")
arrow((345, 314), (385, 314), (385, 135), (425, 135))
arrow((555, 158), (555, 182))
arrow((555, 228), (555, 252))

# Report
box(765, 112, 175, 52, "outcome", "what to send, to whom")
box(765, 200, 175, 52, "seg  sc  sr  ko", "DICOM objects")
box(765, 288, 175, 52, "deliver", "retry, dead letters")
box(765, 422, 175, 52, "web, metrics", "dashboard, Prometheus")
arrow((685, 327), (725, 327), (725, 138), (765, 138), label="finding", at=(725, 127))
arrow((852, 164), (852, 200))
arrow((852, 252), (852, 288))

# The outside
box(14, 112, 96, 52, "Scanner", "or router", "#f4f6f8")
arrow((110, 138), (170, 138), label="C-STORE", at=(140, 129))
box(1010, 288, 96, 52, "PACS", "viewers", "#f4f6f8")
arrow((940, 314), (1010, 314), label="C-STORE", at=(976, 284))
text(976, 300, "STOW-RS", 12)
box(1010, 422, 96, 52, "Browser", "operator", "#f4f6f8")
arrow((1010, 448), (940, 448))

# What holds it together
box(150, 516, 555, 46, "models/  bundle, onnx", "networks by manifest and digest, run on CPU or GPU", "#efeaf8")
arrow((555, 516), (555, 478), (555, 402))
box(745, 516, 215, 46, "config/", "every setting, once", "#f4f6f8")
box(150, 580, 810, 46, "cmd/ichor/node", "builds the parts and connects them; imports point from here into the packages, never back", "#f4f6f8")
text(W / 2, 36, "How a study passes through ichor", 21, 700)

svg = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {W} {H}" width="{W}" height="{H}" role="img" '
       'aria-label="A study is received in scp, analysed in pipeline, and its results are sent from reporting">\n'
       f'<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
       f'<path d="M 0 0 L 10 5 L 0 10 z" fill="{INK}"/></marker></defs>\n'
       f'<rect width="{W}" height="{H}" fill="#ffffff"/>\n' + "\n".join(out) + "\n</svg>\n")
Path(__file__).with_suffix(".svg").write_text(svg)
