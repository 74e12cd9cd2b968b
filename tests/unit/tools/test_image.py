from __future__ import annotations

import pytest

from tools import image
from tools.console import Stop

MAIN = "deb http://mirror.example/debian/ trixie main"
UPDATES = "deb http://mirror.example/debian/ trixie-updates main"
SECURITY = "deb http://mirror.example/security/ trixie-security main"


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        pytest.param("", [], id="no apt"),
        pytest.param("Ubuntu http://archive.example/ubuntu/ noble", [], id="not Debian"),
        pytest.param(
            "Debian http://mirror.example/security/ bookworm-security\n"
            "Debian http://mirror.example/debian/ bookworm-updates\n"
            "NodeSource https://other.example/node nodistro\n"
            "Debian http://mirror.example/debian/ bookworm",
            [MAIN, UPDATES, SECURITY],
            id="this machine's mirrors, for another release",
        ),
        pytest.param(
            "Debian http://mirror.example/debian/ bookworm", [MAIN, UPDATES], id="no security archive"
        ),
        pytest.param("Debian http://mirror.example/security/ bookworm-security", [], id="only security"),
        pytest.param(
            "Debian http://backports.example/debian/ bookworm-backports\n"
            "Debian http://mirror.example/debian/ bookworm",
            [MAIN, UPDATES],
            id="backports are no archive",
        ),
    ],
)
def test_the_image_is_built_from_the_mirrors_of_this_machine(targets, expected):
    assert image.mirrors(targets, 13) == expected


def test_another_recipe_makes_the_image_stale(fake, monkeypatch):
    fake("docker", f"echo {image.recipe(12)}")
    assert image.is_current(12)
    monkeypatch.setattr(image, "PACKAGES", [*image.PACKAGES, "curl"])
    assert not image.is_current(12)


def test_an_image_of_one_release_does_not_pass_for_the_other():
    assert image.recipe(12) != image.recipe(13)


def test_without_a_registry_nothing_is_pulled(fake, calls, monkeypatch, tmp_path):
    fake("docker", 'case "$1 $2" in "info "*) echo /;; *) exit 1;; esac')
    monkeypatch.setattr(image, "bootstrap", lambda debian: None)
    assert image.ensure(12)
    assert not [call for call in calls() if call.startswith("docker pull")]


def test_with_a_registry_the_image_is_built_on_its_base(fake, calls, monkeypatch):
    fake("docker", 'case "$1 $2" in "image inspect") exit 1;; "info "*) echo /;; esac')
    monkeypatch.setattr(image, "bootstrap", lambda debian: pytest.fail("not from packages"))
    assert image.ensure(13)
    built = [call for call in calls() if call.startswith("docker build")]
    assert len(built) == 1
    assert "--tag=emperor-stack-host:debian13" in built[0]
    assert f"--label=emperor-stack.recipe={image.recipe(13)}" in built[0]


def test_an_unknown_release_is_refused():
    with pytest.raises(Stop, match=r"Debian 11 is not supported\. Choose from: 12, 13\."):
        image.main(["11"])


def test_a_full_disk_is_noticed_before_anything_is_built(fake, monkeypatch):
    fake("docker", 'case "$1 $2" in "info "*) echo /;; *) exit 1;; esac')
    monkeypatch.setattr(image, "bootstrap", lambda debian: pytest.fail("built all the same"))
    monkeypatch.setattr(image.system, "free_megabytes", lambda path: 10)
    with pytest.raises(Stop, match=r"needs 2000 MB in /, and only 10 MB are free\. Free some space"):
        image.ensure(12)
