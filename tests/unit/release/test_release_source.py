"""Where code comes from: git with submodules, and archives of which nothing may get out."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils import layout, release_source
from ansible_collections.emperor.stack.plugins.module_utils.release_source import ReleaseError

A, B, C = "a" * 40, "b" * 40, "c" * 40


# git


@pytest.mark.parametrize(
    ("version", "is_one"),
    [
        (A, True),
        (A[:7], False),
        (A.upper(), False),
        (A + "a", False),
        (A + "\n", False),
        ("main", False),
        ("", False),
    ],
)
def test_what_is_a_commit(version: str, is_one: bool) -> None:
    assert release_source.is_commit(version) is is_one


@pytest.mark.parametrize(
    ("listing", "version", "commit"),
    [
        (f"{A}\trefs/heads/main\n", "main", A),
        (f"{A}\trefs/heads/v1\n{B}\trefs/tags/v1\n", "v1", B),
        (f"{B}\trefs/tags/v1\n{C}\trefs/tags/v1^{{}}\n", "v1", C),
        (f"{C}\trefs/heads/feature/main\n{A}\trefs/heads/main\n", "main", A),
        (f"{A}\tHEAD\n{B}\trefs/remotes/origin/HEAD\n", "HEAD", A),
        (f"{B}\trefs/tags/v1\n{C}\trefs/tags/v1^{{}}\n", "refs/tags/v1", C),
        (f"warning: redirecting\n{A}\trefs/heads/main\n", "main", A),
    ],
    ids=["branch", "tag first", "annotated", "not a suffix", "HEAD", "full name", "noise"],
)
def test_the_reference_that_a_version_names(listing: str, version: str, commit: str) -> None:
    assert release_source.pick_reference(listing, version, "url") == commit


@pytest.mark.parametrize("listing", ["", f"{A}\trefs/heads/x/main\n", "garbage"])
def test_a_version_that_the_remote_lacks(listing: str) -> None:
    with pytest.raises(ReleaseError, match=r"url has no branch or tag main\. Push it"):
        release_source.pick_reference(listing, "main", "url")


def test_a_commit_comes_from_a_repository_into_the_code(host: Path, git: Callable[..., str]) -> None:
    remote = host / "remote"
    remote.mkdir()
    git(remote, "init", "-q", "-b", "main")
    (remote / "app.py").write_text("one")
    git(remote, "add", ".")
    git(remote, "commit", "-qm", "one")
    source = {"git": str(remote), "version": "main"}
    commit = release_source.resolve_git(source, None)
    assert commit == git(remote, "rev-parse", "HEAD")
    release_source.fetch_git("blog", source, None, commit, str(host / "code"))
    assert os.listdir(host / "code") == ["app.py"]
    # A killed git leaves its locks: nobody has to remove them by hand.
    repository = Path(layout.app_root("blog"), "repo.git")
    for lock in ("shallow.lock", "packed-refs.lock", f"refs/emperor-stack/{commit}.lock"):
        (repository / lock).write_text("")
    release_source.fetch_git("blog", source, None, commit, str(host / "again"))
    with pytest.raises(ReleaseError, match=r"has no commit b.*Is it pushed"):
        release_source.fetch_git("blog", source, None, B, str(host / "none"))
    with pytest.raises(ReleaseError, match=r"Is source\.git right"):
        release_source.resolve_git({"git": str(host / "nothing"), "version": "main"}, None)


def test_submodules_and_theirs_come_without_a_repository_inside(host: Path, git: Callable[..., str]) -> None:
    for name, inside in (("leaf", None), ("part", "leaf"), ("whole", "part")):
        work = host / name
        work.mkdir()
        git(work, "init", "-q", "-b", "main")
        (work / "name.txt").write_text(name)
        if inside:
            git(work, "-c", "protocol.file.allow=always", "submodule", "add", "-q", f"../{inside}", "sub/mod")
            modules = (work / ".gitmodules").read_text()
            assert f"url = ../{inside}" in modules
        git(work, "add", ".")
        git(work, "commit", "-qm", name)
    source = {"git": str(host / "whole"), "version": "main", "submodules": True}
    commit = release_source.resolve_git(source, None)
    release_source.fetch_git("blog", source, None, commit, str(host / "code"))
    found = {
        p.relative_to(host / "code").as_posix(): p.read_text() for p in (host / "code").rglob("name.txt")
    }
    assert found == {"name.txt": "whole", "sub/mod/name.txt": "part", "sub/mod/sub/mod/name.txt": "leaf"}
    assert not list((host / "code").rglob(".git"))
    release_source.fetch_git("blog", {**source, "submodules": False}, None, commit, str(host / "plain"))
    assert os.listdir(host / "plain/sub/mod") == []
    release_source.fetch_git(
        "blog", {**source, "subdirectory": "sub/mod"}, None, commit, str(host / "part-code")
    )
    assert (host / "part-code/name.txt").read_text() == "part"
    with pytest.raises(ReleaseError, match=r"has no directory nothing in .*Correct source\.subdirectory"):
        release_source.fetch_git(
            "blog", {**source, "subdirectory": "nothing"}, None, commit, str(host / "none")
        )


def test_a_subdirectory_that_is_a_link_out_of_the_repository(host: Path, git: Callable[..., str]) -> None:
    remote = host / "remote"
    remote.mkdir()
    git(remote, "init", "-q", "-b", "main")
    (remote / "out").symlink_to("/etc")
    git(remote, "add", ".")
    git(remote, "commit", "-qm", "x")
    source = {"git": str(remote), "version": "main", "subdirectory": "out"}
    with pytest.raises(ReleaseError, match="has no directory out"):
        release_source.fetch_git(
            "blog", source, None, release_source.resolve_git(source, None), str(host / "c")
        )
    assert Path("/etc/passwd").exists()


@pytest.mark.parametrize(
    ("above", "url", "expected"),
    [
        ("https://git.example.com/team/blog.git", "../lib.git", "https://git.example.com/team/lib.git"),
        (
            "https://u:p@git.example.com:8443/team/blog.git/",
            "./lib",
            "https://u:p@git.example.com:8443/team/blog.git/lib",
        ),
        ("ssh://git@git.example.com/team/blog.git", "../../o/lib.git", "ssh://git@git.example.com/o/lib.git"),
        ("git@git.example.com:team/blog.git", "../lib.git", "git@git.example.com:team/lib.git"),
        ("file:///srv/git/whole.git", "../part.git", "file:///srv/git/part.git"),
        ("/srv/git/whole.git", "../part.git", "/srv/git/part.git"),
        ("https://git.example.com/blog.git", "https://other.example.com/x", "https://other.example.com/x"),
    ],
)
def test_where_a_submodule_comes_from(above: str, url: str, expected: str) -> None:
    assert release_source.submodule_url(above, url) == expected


@pytest.mark.parametrize(
    "url", ["/srv/git/other.git", "file:///root/secret.git", "ext::sh -c id", "-x", "ssh://-oX/a"]
)
def test_submodules_that_are_not_fetched(url: str) -> None:
    with pytest.raises(ReleaseError, match="the submodule's URL"):
        release_source.submodule_url("https://git.example.com/blog.git", url)


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
    release_source.repack(str(archive), str(plain), subdirectory)
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
        ([("../evil", b"")], "leaves the directory"),
        ([("b/../../evil", b"")], "leaves the directory"),
        ([("/etc/evil", b"")], "leaves the directory"),
        ([("b/l", "/etc/passwd")], "a link that leads out"),
        ([("b/l", "../../x")], "a link that leads out"),
        ([("b/l", "../x"), ("b/f", b"")], "a link that leads out"),
        ([("b/x/l", "y/../../../z"), ("c", b"")], "a link that leads out"),
        ([("l", "d"), ("l/evil", b"")], "lies behind a link"),
        ([("l/evil", b""), ("l", "d")], "lies behind a link"),
        ([("b/null", {"type": tarfile.CHRTYPE})], "a device or a pipe"),
        ([("b/pipe", {"type": tarfile.FIFOTYPE})], "a device or a pipe"),
        ([("b/h", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"})], "a link to a file that it has not"),
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
    with pytest.raises(ReleaseError, match="leaves the directory"):
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
    release_source.download(f"http://ann:p%40ss@{address}/moved", str(target), {})
    assert target.read_bytes() == b"content"
    assert [headers.get("Authorization") for headers in seen] == ["Basic YW5uOnBAc3M=", None]
    with pytest.raises(ReleaseError, match=rf"fetching http://{address}/gone failed: .*Not Found") as caught:
        release_source.download(f"http://ann:p%40ss@{address}/gone", str(target), {})
    assert "p%40ss" not in str(caught.value)


def test_the_checksum_decides(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    release_source.check_sum(str(tmp_path / "f"), f"sha256:{hashlib.sha256(b'x').hexdigest()}", "f")
    with pytest.raises(
        ReleaseError, match=rf"https://h/f has sha256:{hashlib.sha256(b'x').hexdigest()}, and"
    ):
        release_source.check_sum(str(tmp_path / "f"), f"sha256:{'0' * 64}", "https://u:p@h/f")


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
    assert release_source.version_of(source, "r" * 40) == version


def test_a_source_arrives_within_the_arguments_or_as_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bytes, bool]] = []

    def unpack(app: str, archive: str, code: str, compressed: bool = True) -> None:
        seen.append((Path(archive).read_bytes(), Path(archive).parent == tmp_path))

    monkeypatch.setattr(release_source, "unpack", unpack)
    file = tmp_path / "blog.source"
    file.write_bytes(b"as a file")
    common = {"name": "blog", "source": {"path": "blog"}}
    within = {"archive_content": base64.b64encode(b"within").decode()}
    release_source.fetch({**common, **within}, "a" * 40, str(tmp_path / "code"), {})
    release_source.fetch({**common, "archive": str(file)}, "a" * 40, str(tmp_path / "code"), {})
    assert seen == [(b"within", False), (b"as a file", True)]
    assert [path.name for path in tmp_path.iterdir()] == ["blog.source"]
