"""Where code comes from: archives of which nothing may get out."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host.release_error import ReleaseError
from ansible_collections.emperor.stack.plugins.module_utils.source import archives, fetch

# Archives


def tar(path: Path, members: list[tuple[str, Any]]) -> Path:
    """A tar of (name, content); content is bytes, a link target, None for a directory or a TarInfo's changes."""
    with tarfile.open(path, "w:gz") as made:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, bytes):
                info.size = len(content)
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                for key, value in content.items():
                    setattr(info, key, value)
            made.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return path


def repacked(archive: Path, subdirectory: str | None = None) -> dict[str, str]:
    """name → content, or `-> target` of a link."""
    plain = archive.with_name("plain.tar")
    archives.repack(str(archive), str(plain), subdirectory)
    with tarfile.open(plain) as made:
        return {
            info.name: f"-> {info.linkname}" if info.issym() else made.extractfile(info).read().decode()  # type: ignore[union-attr]
            for info in made
            if not info.isdir()
        }


@pytest.mark.parametrize(
    ("members", "subdirectory", "expected"),
    [
        ([("blog-1/app.py", b"a"), ("blog-1/x/y", b"b")], None, {"app.py": "a", "x/y": "b"}),
        ([("blog-1", None), ("./blog-1/app.py", b"a")], None, {"app.py": "a"}),
        ([("app.py", b"a"), ("x/y", b"b")], None, {"app.py": "a", "x/y": "b"}),
        ([("app.py", b"a")], None, {"app.py": "a"}),
        ([("b/s/app.py", b"a"), ("b/other", b"o")], "s", {"app.py": "a"}),
        ([("b/a", b"a"), ("b/l", "a"), ("b/x/l", "../a")], None, {"a": "a", "l": "-> a", "x/l": "-> ../a"}),
        ([("b/a", b"a"), ("b/h", {"type": tarfile.LNKTYPE, "linkname": "b/a"})], None, {"a": "a", "h": "a"}),
        ([("b/..a", b"a")], None, {"..a": "a"}),
    ],
    ids=["top", "top with dot", "no top", "one file", "subdirectory", "links inside", "hard link", "dots in a name"],
)  # fmt: skip
def test_what_of_an_archive_becomes_the_code(
    tmp_path: Path, members: list[tuple[str, Any]], subdirectory: str | None, expected: dict[str, str]
) -> None:
    assert repacked(tar(tmp_path / "a.tgz", members), subdirectory) == expected


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([("../evil", b"")], "leads out of the directory"),
        ([("b/../../evil", b"")], "leads out of the directory"),
        ([("/etc/evil", b"")], "leads out of the directory"),
        ([("b/l", "/etc/passwd")], "a link that leads out"),
        ([("b/l", "../../x")], "a link that leads out"),
        ([("b/l", "../x"), ("b/f", b"")], "a link that leads out"),
        ([("b/x/l", "y/../../../z"), ("c", b"")], "a link that leads out"),
        ([("l", "d"), ("l/evil", b"")], "lies behind a link"),
        ([("l/evil", b""), ("l", "d")], "lies behind a link"),
        ([("b/null", {"type": tarfile.CHRTYPE})], "a device or a pipe"),
        ([("b/pipe", {"type": tarfile.FIFOTYPE})], "a device or a pipe"),
        (
            [("b/h", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"})],
            "a link to a file that is not in the archive",
        ),
    ],
)
def test_archives_that_would_write_elsewhere(
    tmp_path: Path, members: list[tuple[str, Any]], says: str
) -> None:
    with pytest.raises(ReleaseError, match=says):
        repacked(tar(tmp_path / "a.tgz", members))


def test_a_zip_keeps_links_and_what_can_be_run(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as made:
        for name, mode, content in (("t/run", 0o100755, "r"), ("t/l", 0o120777, "run"), ("t/plain", 0, "p")):
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            made.writestr(info, content)
    assert repacked(path) == {"run": "r", "l": "-> run", "plain": "p"}
    with tarfile.open(tmp_path / "plain.tar") as made_tar:
        assert [made_tar.getmember(name).mode for name in ("run", "plain")] == [0o755, 0o644]
    with zipfile.ZipFile(path, "a") as made:
        made.writestr("../evil", "")
    with pytest.raises(ReleaseError, match="leads out of the directory"):
        repacked(path)


def test_what_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("hello")
    with pytest.raises(ReleaseError, match="neither a tar"):
        repacked(tmp_path / "a")
    with pytest.raises(ReleaseError, match=r"has no directory x\. Correct source\.subdirectory"):
        repacked(tar(tmp_path / "a.tgz", [("b/c", b""), ("b/d", b"")]), "x")


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A web server on this machine: its address, and the headers of each request. /moved leads to another host name."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(dict(self.headers))
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", f"http://localhost:{self.server.server_address[1]}/file")
                self.end_headers()
                return
            self.send_response(200 if self.path == "/file" else 404)
            self.end_headers()
            self.wfile.write(b"content")

        def log_message(self, *_: Any) -> None:
            pass

    made = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{made.server_address[1]}", seen
    made.shutdown()
    made.server_close()


def test_a_password_in_a_url_goes_to_its_server_alone(
    tmp_path: Path, server: tuple[str, list[dict[str, str]]]
) -> None:
    address, seen = server
    target = tmp_path / "got"
    fetch.download(f"http://ann:p%40ss@{address}/moved", str(target), {})
    assert target.read_bytes() == b"content"
    assert [headers.get("Authorization") for headers in seen] == ["Basic YW5uOnBAc3M=", None]
    with pytest.raises(ReleaseError, match=rf"fetching http://{address}/gone failed: .*Not Found") as caught:
        fetch.download(f"http://ann:p%40ss@{address}/gone", str(target), {})
    assert "p%40ss" not in str(caught.value)


def test_the_checksum_decides(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    fetch.check_sum(str(tmp_path / "f"), f"sha256:{hashlib.sha256(b'x').hexdigest()}", "f")
    with pytest.raises(
        ReleaseError, match=rf"https://h/f has sha256:{hashlib.sha256(b'x').hexdigest()}, but"
    ):
        fetch.check_sum(str(tmp_path / "f"), f"sha256:{'0' * 64}", "https://u:p@h/f")


@pytest.mark.parametrize(
    ("source", "version"),
    [
        ({"package": "kinto[redis]==25.1.0"}, "25.1.0"),
        ({"archive": "https://u:p@example.com/x/blog-1.2.tar.gz?a=b"}, "blog-1.2.tar.gz"),
        ({"archive": "dist/blog.zip"}, "blog.zip"),
        ({"git": "x", "version": "v1"}, "v1"),
        ({"path": "x"}, "r" * 40),
    ],
)
def test_what_people_call_a_version(source: dict[str, str], version: str) -> None:
    assert fetch.version_of(source, "r" * 40) == version


def test_a_source_arrives_within_the_arguments_or_as_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bytes, bool]] = []

    def unpack(app: str, archive: str, code: str, compressed: bool = True) -> None:
        seen.append((Path(archive).read_bytes(), Path(archive).parent == tmp_path))

    monkeypatch.setattr(fetch, "unpack", unpack)
    file = tmp_path / "blog.source"
    file.write_bytes(b"as a file")
    common = {"name": "blog", "source": {"path": "blog"}}
    within = {"archive_content": base64.b64encode(b"within").decode()}
    fetch.fetch({**common, **within}, "a" * 40, str(tmp_path / "code"), {})
    fetch.fetch({**common, "archive": str(file)}, "a" * 40, str(tmp_path / "code"), {})
    assert seen == [(b"within", False), (b"as a file", True)]
    assert [path.name for path in tmp_path.iterdir()] == ["blog.source"]
