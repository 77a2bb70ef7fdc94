"""A web server on this machine that misbehaves as it is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Serves `server.files`, except for what the server's attributes say."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        server.asked.append({name.lower(): value for name, value in self.headers.items()})
        path = self.path.lstrip("/")
        if path in server.moved:
            self.answer(302, b"", {"Location": server.moved[path], "X-Linked-Etag": f'"{server.stated}"'})
        elif server.failures:
            self.answer(server.failures.pop(0), b"")
        elif path not in server.files:
            self.answer(404, b"no such file")
        else:
            self.answer(200, server.files[path], {"Content-Type": server.kind} | server.headers)

    def answer(self, status, body, headers=()):
        server = self.server
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        if server.announces_length:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        drop = server.drops.pop(0) if server.drops and status == 200 else None
        self.wfile.write(body[: server.stalls or drop])
        if server.stalls and status == 200:
            server.stalled.set()
            self.rfile.read(1)  # until the client is gone
        if drop is not None or not server.announces_length:
            self.close_connection = True

    def log_message(self, *arguments):
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """What it serves and how.

    Attributes:
        files: content by path.
        drops: for each of the next answers, after how many bytes of the body the connection ends; None: after all.
        failures: statuses of the next answers.
        moved: path -> URL to which it redirects, stating `stated` as the file's sha256.
        headers: further headers of every file served.
        announces_length: whether Content-Length is sent.
        stalls: after how many bytes of the body nothing more comes, once `stalled` is set; None: never.
        asked: headers of every request so far, lower-case.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.drops, self.failures, self.moved, self.asked = {}, [], [], {}, []
        self.stalls, self.stalled = None, threading.Event()
        self.kind, self.stated, self.headers, self.announces_length = "application/octet-stream", "", {}, True

    def handle_error(self, request, client_address):
        """A client that hangs up is part of the test."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
