"""Where submodules come from."""

from __future__ import annotations

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host.release_error import ReleaseError
from ansible_collections.emperor.stack.plugins.module_utils.source import (
    submodules,
)


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
    assert submodules.submodule_url(above, url) == expected


@pytest.mark.parametrize(
    "url", ["/srv/git/other.git", "file:///root/secret.git", "ext::sh -c id", "-x", "ssh://-oX/a"]
)
def test_submodules_that_are_not_fetched(url: str) -> None:
    with pytest.raises(ReleaseError, match="the submodule's URL"):
        submodules.submodule_url("https://git.example.com/blog.git", url)


@pytest.mark.parametrize(
    "url", ["../shop.git", "./x", "/srv/apps/shop/repo.git", "file:///var/lib/emperor-stack/pushed/shop.git"]
)
@pytest.mark.parametrize("above", ["file:///var/lib", "/var/lib", "file:////var/lib/../lib"])
def test_who_pushes_reads_no_other_repository_of_the_host(above: str, url: str) -> None:
    with pytest.raises(ReleaseError, match=r"is a path of this host, and .* gets its contents by a push"):
        submodules.submodule_url(f"{above}/emperor-stack/pushed/blog.git", url)


def test_who_pushes_may_have_submodules_from_elsewhere() -> None:
    above = "file:///var/lib/emperor-stack/pushed/blog.git"
    assert submodules.submodule_url(above, "https://git.example.com/x") == "https://git.example.com/x"
