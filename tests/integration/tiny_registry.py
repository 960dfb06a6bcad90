"""A registry that serves one image by digest: enough for an engine to pull it."""

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
MISSING = b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}'
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def sha256(data: bytes) -> str:
    """As registries write it."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Blob:
    """Something with a digest."""

    data: bytes
    kind: str

    @property
    def described(self) -> dict[str, object]:
        """As a manifest mentions it."""
        return {"mediaType": self.kind, "size": len(self.data), "digest": sha256(self.data)}


def image(files: Mapping[str, bytes]) -> dict[str, Blob]:
    """The blobs of an image of executable files; its manifest is under `manifest`."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name.lstrip("/"))
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    layer = Blob(gzip.compress(raw.getvalue(), mtime=0), LAYER)
    config = Blob(
        json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Entrypoint": ["/usr/local/sbin/compute-entry"]},
                "rootfs": {"type": "layers", "diff_ids": [sha256(raw.getvalue())]},
                "created": "2024-01-01T00:00:00Z",
            }
        ).encode(),
        CONFIG,
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.described,
        "layers": [layer.described],
    }
    return {
        "layer": layer,
        "config": config,
        "manifest": Blob(json.dumps(manifest).encode(), MANIFEST),
    }


def shell() -> dict[str, bytes]:
    """A shell of this machine's, with the libraries that it needs."""
    import subprocess  # noqa: PLC0415 - only here

    real = Path("/bin/sh").resolve()
    needed = subprocess.run(["ldd", str(real)], capture_output=True, text=True, check=True).stdout
    paths = [word for word in needed.split() if word.startswith("/")]
    return {"/bin/sh": real.read_bytes(), **{path: Path(path).read_bytes() for path in paths}}


@contextmanager
def registry(*images: Mapping[str, Blob]) -> Iterator[str]:
    """Serve images on loopback, which engines trust without TLS; yields `host:port`."""
    blobs = {sha256(blob.data): blob for one in images for blob in one.values()}

    class Handler(BaseHTTPRequestHandler):
        """Answers by digest."""

        def do_GET(self) -> None:
            """Everything is found by the last part of the path."""
            blob = blobs.get(self.path.rsplit("/", 1)[-1])
            if self.path in {"/v2/", "/v2"}:
                blob = Blob(b"{}", "application/json")
            self.send_response(200 if blob else 404)
            body = blob.data if blob else MISSING
            self.send_header("Content-Type", blob.kind if blob else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Content-Digest", sha256(body))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - the server's name for it

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
