"""A hub that serves the files of one folder, the weights slowly at first; a program on its own.

`python slow_hub.py DIRECTORY ADDRESS PORT LOG`: every repository has these files. LOG gets the name
of each file whose content is requested. The first fetch of the weights gets half of them at once
and then a byte each second, so that it goes on until it is killed.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = "consolidated.safetensors"


class SlowHub(BaseHTTPRequestHandler):
    """The part of the hub's interface that a snapshot needs."""

    protocol_version = "HTTP/1.1"
    directory: ClassVar[Path]
    log: ClassVar[Path]

    def do_HEAD(self) -> None:
        self._answer(send_body=False)

    def do_GET(self) -> None:
        self._answer(send_body=True)

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _answer(self, *, send_body: bool) -> None:
        path = self.path.partition("?")[0]
        files = {one.name: one for one in self.directory.iterdir() if one.stat().st_size}
        if "/revision/" in path:
            siblings = [
                {"rfilename": name, "size": one.stat().st_size} for name, one in files.items()
            ]
            self._json({"id": "any/model", "sha": COMMIT, "siblings": siblings})
        elif "/tree/" in path:
            tree = [
                {"type": "file", "path": name, "size": one.stat().st_size, "oid": name}
                for name, one in files.items()
            ]
            self._json(tree)
        else:
            self._file(files[path.rpartition("/")[2]], send_body=send_body)

    def _json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self._head(len(body), {"content-type": "application/json"})
        self.wfile.write(body)

    def _file(self, file: Path, *, send_body: bool) -> None:
        self._head(file.stat().st_size, {"x-repo-commit": COMMIT, "etag": f'"{file.name}"'})
        if not send_body:
            return
        before = self.log.read_text().split()
        with self.log.open("a") as log:
            log.write(f"{file.name}\n")
        content = file.read_bytes()
        if file.name != WEIGHTS or WEIGHTS in before:
            self.wfile.write(content)
            return
        half = len(content) // 2
        self.wfile.write(content[:half])
        for byte in content[half:]:
            time.sleep(1)
            self.wfile.write(bytes([byte]))

    def _head(self, length: int, headers: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in {**headers, "content-length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()


if __name__ == "__main__":
    SlowHub.directory, SlowHub.log = Path(sys.argv[1]), Path(sys.argv[4])
    ThreadingHTTPServer((sys.argv[2], int(sys.argv[3])), SlowHub).serve_forever()
