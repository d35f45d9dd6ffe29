"""A page on this machine that shows each labelled scan with a yes and a no. It listens on 127.0.0.1 only."""

from __future__ import annotations

import html
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote

from . import pseudo

MOST_BODY = 4096
STYLE = "body{font:16px sans-serif;background:#111;color:#eee;margin:1em}img{max-width:100%}button{font-size:1.3em;margin:.5em 1em .5em 0;padding:.3em 1.2em}"


def serve(folder: Path, port: int) -> ThreadingHTTPServer:
    """The server, ready to run; port 0 takes a free one."""
    pseudo.names(folder)

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path.startswith("/picture/"):
                return self.picture(unquote(self.path.removeprefix("/picture/")))
            self.send(200, "text/html; charset=utf-8", page(folder).encode())

        def do_POST(self):
            if self.headers.get("Origin") not in (None, f"http://{self.headers.get('Host')}"):  # another page in the same browser
                return self.send(403, "text/plain", b"another origin")
            length = int(self.headers.get("Content-Length") or 0)
            if not 0 < length <= MOST_BODY:
                return self.send(400, "text/plain", b"no answer")
            said = parse_qs(self.rfile.read(length).decode(errors="replace"))
            name, yes = said.get("name", [""])[0], said.get("answer", [""])[0]
            if name not in pseudo.names(folder) or yes not in ("yes", "no"):
                return self.send(400, "text/plain", b"unknown scan or answer")
            pseudo.answer(folder, name, yes == "yes")
            self.send_response(303)
            self.send_header("Location", "/")
            self.end_headers()

        def picture(self, name: str):
            if name not in pseudo.names(folder):
                return self.send(404, "text/plain", b"unknown scan")
            self.send(200, "image/png", (Path(folder) / f"{name}.png").read_bytes())

        def send(self, code: int, kind: str, body: bytes):
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    return ThreadingHTTPServer(("127.0.0.1", port), Page)


def page(folder: Path) -> str:
    """The first scan without an answer, or that there is none."""
    found, said = pseudo.names(folder), pseudo.answers(folder)
    left = [n for n in found if n not in said]
    head = f"<!doctype html><title>ich pseudo</title><style>{STYLE}</style><p>{len(found) - len(left)} of {len(found)} reviewed, {sum(said.get(n, False) for n in found)} accepted</p>"
    if not left:
        return head + "<p>All scans have an answer. Stop the program, then run <code>ich pseudo write</code>.</p>"
    name = html.escape(left[0], quote=True)
    return head + (f"<h1>{name}</h1><form method=post><input type=hidden name=name value=\"{name}\">"
                   "<button name=answer value=yes accesskey=y>Yes, the outlines are right</button><button name=answer value=no accesskey=n>No</button></form>"
                   f"<img src=\"/picture/{quote(left[0])}\" alt=\"slices with outlines\">")
