"""A push that is a deploy: the hooks of root's, by a real git."""

from __future__ import annotations

import fcntl
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.operate import login, push

from tools.project import ROOT

HOOK = """#!{python}
import os, signal, sys, time
sys.path.insert(0, {collections!r})
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.operate import push, surroundings, verbs
from ansible_collections.emperor.stack.plugins.module_utils.programs import push_hook
from ansible_collections.emperor.stack.plugins.module_utils.release import known_app
surroundings.as_a_module_runs = push.unlimited = lambda: None
layout.PUSHED = {pushed!r}
known_app.read = lambda app: {{"name": app}}

def deploy(known, version, words):
    print(known["name"], "gets", version)
    print("... a step", file=sys.stderr)
    if version == "fall":
        raise MemoryError
    if version == "lost":
        # Its client has gone.
        reading, writing = os.pipe()
        os.dup2(writing, 2)
        os.close(reading)
        os.close(writing)
        print("is live", flush=True)
    if version == "slow":
        while not os.path.exists({place!r} + "/go-on"):
            time.sleep(0.05)
    if os.path.exists({place!r} + "/kill") and open({place!r} + "/kill").read() == version:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 if version == "bad" else 0

verbs.deploy = deploy
sys.exit(push_hook.main(sys.argv[0].rpartition("/")[2]))
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host's repository with the hooks, where a deploy is played; `work` is a checkout of somebody's."""
    monkeypatch.setattr(layout, "PUSHED", str(tmp_path / "pushed"))
    monkeypatch.setattr(layout, "LIBRARY", str(tmp_path / "library"))
    os.makedirs(tmp_path / "library/push-hooks")
    for name in ("pre-receive", "proc-receive"):
        hook = tmp_path / "library/push-hooks" / name
        hook.write_text(
            HOOK.format(
                python=sys.executable,
                collections=str(ROOT / "collections"),
                pushed=layout.PUSHED,
                place=str(tmp_path),
            )
        )
        hook.chmod(0o755)
    subprocess.run(["git", "init", "-q", "--bare", "--template=", layout.pushed("blog")], check=True)
    subprocess.run(["git", "init", "-q", "-b", "main", str(tmp_path / "work")], check=True)
    commit(tmp_path, "one")
    return tmp_path


def commit(place: Path, name: str) -> None:
    (place / "work" / "version.txt").write_text(name)
    identity = ["-c", "user.name=Tests", "-c", "user.email=tests@example.com"]
    for words in (["add", "."], [*identity, "commit", "-qm", name], ["tag", name]):
        subprocess.run(["git", "-C", str(place / "work"), *words], check=True)


RECEIVER = """#!{python}
import sys
sys.path.insert(0, {collections!r})
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.operate import push
layout.PUSHED, layout.LIBRARY, push.LARGEST_PUSH = {pushed!r}, {library!r}, {largest!r}
try:
    push.receive({{"name": "blog", "spec": {{"source": {{"git": layout.pushed_url("blog")}}}}}})
except push.NotPushed as error:
    sys.exit(str(error))
"""


def push_command(place: Path, *references: str) -> list[str]:
    """`git push` to where git receives as it does on a host."""
    # git gives its own variables to no other repository's.
    receiver = place / "receive-pack"
    receiver.write_text(
        RECEIVER.format(
            python=sys.executable,
            collections=str(ROOT / "collections"),
            pushed=layout.PUSHED,
            library=layout.LIBRARY,
            largest=push.LARGEST_PUSH,
        )
    )
    receiver.chmod(0o755)
    command = ["git", "-C", str(place / "work"), "push", f"--receive-pack={receiver}", layout.pushed("blog")]
    return [*command, *references]


def pushed(place: Path, *references: str) -> subprocess.CompletedProcess[str]:
    """What `git push` says."""
    return subprocess.run(push_command(place, *references), capture_output=True, text=True, check=False)


def references(place: Path) -> str:
    command = ["git", "-C", layout.pushed("blog"), "for-each-ref", "--format=%(refname)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def tips(place: Path) -> dict[str, str]:
    command = ["git", "-C", layout.pushed("blog"), "for-each-ref", "--format=%(refname) %(objectname)"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(line.split() for line in said.splitlines())


def test_a_push_is_a_deploy(place: Path) -> None:
    done = pushed(place, "one")
    assert done.returncode == 0, done.stderr
    assert "remote: blog gets one" in done.stderr and "remote: ... a step" in done.stderr
    assert references(place) == "refs/tags/one\n"
    commit(place, "two")
    assert pushed(place, "main").returncode == 0
    assert references(place) == "refs/heads/main\nrefs/tags/one\n"


def test_a_deploy_that_fails_fails_the_push_which_can_be_repeated(place: Path) -> None:
    commit(place, "bad")
    for _ in range(2):
        done = pushed(place, "bad")
        assert done.returncode != 0 and "the deploy failed" in done.stderr, done.stderr
        assert "remote: blog gets bad" in done.stderr
    assert references(place) == ""


def test_a_deploy_that_falls_leaves_no_reference(place: Path) -> None:
    """git would find the same push up to date, and deploy nothing."""
    commit(place, "fall")
    for _ in range(2):
        assert pushed(place, "fall").returncode != 0
        assert references(place) == ""


def test_a_client_that_has_gone_makes_no_deploy_a_failed_one(place: Path) -> None:
    commit(place, "lost")
    done = pushed(place, "lost")
    assert done.returncode == 0, done.stderr
    assert references(place) == "refs/tags/lost\n"


def test_what_is_deployed_is_what_was_pushed(place: Path) -> None:
    assert pushed(place, "one").returncode == 0
    commit(place, "two")
    done = pushed(place, "two:refs/heads/one")
    assert done.returncode != 0 and "there is a tag of that name" in done.stderr
    assert "gets" not in done.stderr and references(place) == "refs/tags/one\n"
    done = pushed(place, "two:refs/tags/refs/heads/main")
    assert done.returncode == 0 and "remote: blog gets refs/heads/main" in done.stderr, done.stderr
    # A branch has priority over nothing.
    assert pushed(place, "two:refs/heads/two").returncode == 0
    assert pushed(place, "two:refs/tags/two").returncode == 0


def test_one_push_is_received_at_a_time(place: Path) -> None:
    """From its first byte on: each may take as much memory as a push may."""
    held = os.open(layout.pushed("blog"), os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    done = pushed(place, "one")
    assert done.returncode != 0 and "another push is on its way" in done.stderr, done.stderr
    assert "gets" not in done.stderr and references(place) == ""
    os.close(held)
    assert pushed(place, "one").returncode == 0


def test_a_push_that_is_deployed_keeps_others_out(place: Path) -> None:
    commit(place, "slow")
    with subprocess.Popen(push_command(place, "slow"), stderr=subprocess.PIPE, text=True) as first:
        assert first.stderr is not None
        while "gets slow" not in (line := first.stderr.readline()):
            assert line
        done = pushed(place, "one")
        (place / "go-on").touch()
        first.communicate()
    assert done.returncode != 0 and "another push is on its way" in done.stderr, done.stderr
    assert first.returncode == 0 and references(place) == "refs/tags/slow\n"


def test_what_a_killed_push_left_is_taken_back_by_the_next(place: Path) -> None:
    """Also where the killed one was to move a branch; what it did not write is left alone."""
    commit(place, "killed")
    assert pushed(place, "one:refs/heads/main").returncode == 0
    before = tips(place)
    for target in ("refs/heads/main", "refs/tags/killed"):
        (place / "kill").write_text(target.rpartition("/")[2])
        for _ in range(2):
            done = pushed(place, f"killed:{target}")
            # Not "up to date", which would deploy nothing.
            assert done.returncode != 0 and "remote: blog gets " in done.stderr, done.stderr
            assert tips(place) != before
    (place / "kill").unlink()
    assert pushed(place, "one").returncode == 0
    assert tips(place) == {**before, "refs/tags/one": before["refs/heads/main"]}


def test_what_somebody_wrote_after_a_killed_push_stays(place: Path) -> None:
    assert pushed(place, "one").returncode == 0
    commit(place, "killed")
    (place / "kill").write_text("main")
    assert pushed(place, "killed:refs/heads/main").returncode != 0
    git = ["git", "-C", layout.pushed("blog")]
    subprocess.run([*git, "update-ref", "refs/heads/main", "refs/tags/one"], check=True)
    assert pushed(place, "killed").returncode == 0
    assert tips(place)["refs/heads/main"] == tips(place)["refs/tags/one"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["one:refs/heads/0123456789abcdef0123456789abcdef01234567"], "the name is the id of a commit"),
        (["one", "main"], "push one branch or tag, not 2"),
        (["one:refs/notes/x"], "push a branch or a tag"),
        (["one:refs/heads/a;b"], "push a branch or a tag"),
        (["one:refs/heads/-x"], "push a branch or a tag"),
        (["one:refs/hooks/pre-receive"], "push a branch or a tag"),
    ],
)
def test_what_is_refused_leaves_nothing(place: Path, words: list[str], why: str) -> None:
    done = pushed(place, *words)
    assert done.returncode != 0 and why in done.stderr, done.stderr
    assert "gets" not in done.stderr and references(place) == ""
    # Not even objects.
    found = [name for name in Path(layout.pushed("blog"), "objects").rglob("*") if name.is_file()]
    assert found == []


def test_nothing_is_deleted(place: Path) -> None:
    assert pushed(place, "one").returncode == 0
    done = pushed(place, ":one")
    assert done.returncode != 0 and "nothing can be deleted here" in done.stderr
    assert references(place) == "refs/tags/one\n"


def test_a_push_is_bounded(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "LARGEST_PUSH", 20_000)
    (place / "work" / "large").write_bytes(os.urandom(100_000))
    commit(place, "two")
    done = pushed(place, "two")
    assert done.returncode != 0 and "exceeds maximum allowed size" in done.stderr, done.stderr
    assert references(place) == ""


def test_a_repository_is_bounded(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known: Any = {"name": "blog", "spec": {"source": {"git": layout.pushed_url("blog")}}}
    assert push.refusal(known) == ""
    monkeypatch.setattr(push, "LARGEST_REPOSITORY", 10)
    assert "has more than" in push.refusal(known)
    other: Any = {"name": "blog", "spec": {"source": {"git": "https://git.example.com/blog.git"}}}
    assert "blog is not deployed from pushes" in push.refusal(other)
    assert "blog is not deployed from pushes" in push.refusal({**other, "spec": None})


@pytest.mark.parametrize(
    "text", [b"", b"000", b"zzzz", b"0009x", b"0006ab0000", b"0010version=1\n00000006x\n0000"]
)
def test_a_protocol_that_is_none(text: bytes, place: Path) -> None:
    with pytest.raises(push.NotPushed):
        push.process(io.BytesIO(text), io.BytesIO(), lambda version: pytest.fail("deployed"), "x")


def test_what_git_asks_for() -> None:
    for path in ("blog", "/blog", "blog.git", "/blog.git"):
        assert login.pushes("blog", f"git-receive-pack '{path}'")
    for text in ("git-receive-pack blog", "git-receive-pack 'shop'", "git-receive-pack 'blog' x", "git-upload-pack 'blog'",
                 "git-receive-pack '../blog'", "git-receive-pack '--x'", "git-receive-pack 'blog'\n"):  # fmt: skip
        assert not login.pushes("blog", text)
