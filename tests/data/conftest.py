"""What the tests of the data layer share: real data, a real HTTP server, a small Tiny-ImageNet."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@dataclass
class FileServer:
    """A web server with files in memory, and with the habits of bad ones."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    """How many bytes each of the next responses gives before the connection ends."""
    redirects: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Range header of each request."""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        name, wanted = handler.path.lstrip("/"), handler.headers.get("Range")
        self.requests.append((name, wanted))
        if name in self.redirects:
            handler.send_response(302)
            handler.send_header("Location", self.redirects[name])
            handler.end_headers()
            return
        if name not in self.files:
            handler.send_error(404)
            return
        content, start = self.files[name], 0
        if wanted and self.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])  # type: ignore[index]
            if start >= len(content):
                handler.send_error(416)
                return
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            handler.send_response(200)
        body = content[start:]
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server on this machine, reached without a proxy."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("PLASTIBENCH_MIRROR", raising=False)
    state = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture(scope="session")
def jpeg() -> Callable[..., bytes]:
    """Makes a JPEG of noise."""

    def make(seed: int, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> bytes:
        channels = {"RGB": (3,), "L": (), "CMYK": (4,)}[mode]
        noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(noise, mode).save(stream, "JPEG", quality=90)
        return stream.getvalue()

    return make


@pytest.fixture(scope="session")
def tiny_files(jpeg: Callable[..., bytes]) -> dict[str, bytes]:
    """The files of a Tiny-ImageNet of two classes, by name."""
    wnids = ("n02", "n01")
    files = {"wnids.txt": "\n".join(wnids).encode() + b"\n", "words.txt": b"n01\tone\n"}
    lines = []
    for number, wnid in enumerate(wnids):
        color, gray = jpeg(number), jpeg(number + 10, mode="L")
        files[f"train/{wnid}/{wnid}_boxes.txt"] = b""
        for image in range(500):
            files[f"train/{wnid}/images/{wnid}_{image}.JPEG"] = gray if image == 7 else color
        for image in range(50):
            name = f"val_{2 * image + number}.JPEG"
            files[f"val/images/{name}"] = color
            lines.append(f"{name}\t{wnid}\t0\t0\t62\t62")
    files["val/val_annotations.txt"] = "\n".join(lines).encode()
    return files


@pytest.fixture
def write() -> Callable[[Path, dict[str, bytes]], Path]:
    """Writes files below a folder and returns the folder."""

    def make(root: Path, files: dict[str, bytes]) -> Path:
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return root

    return make
