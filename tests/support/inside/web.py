"""A web server with a fault, or a forwarding proxy: `web.py FOLDER|proxy [FAULT WORD]`.

Prints its port, then one line per request. Responses to paths that contain WORD have the fault.
"""

import sys
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

FOLDER, FAULT, WORD = (*sys.argv[1:], "", "")[:3]


class Handler(SimpleHTTPRequestHandler):
    """Serves GET requests."""

    def log_message(self, *_: object) -> None:
        print(self.path, flush=True)

    def do_GET(self) -> None:
        if FOLDER == "proxy":
            self.log_message()
            try:
                with build_opener(ProxyHandler({})).open(self.path) as response:
                    self.begin(response.read())
            except HTTPError as error:
                self.send_error(error.code)
        elif FAULT and WORD in self.path:
            self.log_message()
            content = Path(self.translate_path(self.path)).read_bytes()
            if FAULT == "cut":
                self.begin(content, len(content) // 2)
            while FAULT == "endless":
                self.begin(content, chunked=True)
                while True:
                    self.wfile.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            if FAULT == "trickle":
                self.begin(content, 0)
                for number in range(len(content)):
                    self.wfile.write(content[number : number + 1])
                    time.sleep(0.3)
        else:
            super().do_GET()

    def begin(self, content: bytes, until: int | None = None, chunked: bool = False) -> None:
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        length = ("transfer-encoding", "chunked") if chunked else ("content-length", len(content))
        self.send_header(length[0], str(length[1]))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(b"" if chunked else content[:until])


if __name__ == "__main__":
    folder = None if FOLDER == "proxy" else FOLDER
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
    print(server.server_port, flush=True)
    server.serve_forever()
