"""What a host is told of its apps, so that it can deploy them without a controller."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import lookup_loader
from ansible.template import Templar
from ansible_collections.emperor.stack.plugins.lookup import known_apps as lookup
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.release import known_app
from ansible_collections.emperor.stack.plugins.module_utils.release.options import Options
from ansible_collections.emperor.stack.plugins.plugin_utils.release.specs import Specs
from ansible_collections.emperor.stack.plugins.plugin_utils.schema import apps

from tools.project import ROOT

APP: dict[str, Any] = {
    "name": "blog",
    "domains": ["blog.example.com"],
    "source": {"git": "https://git.example.com/blog.git", "version": "v1"},
    "wsgi": "blog:app",
    "workers": {"jobs": {"command": "work"}},
    "env": {"COLOUR": "blue"},
    "secrets": ["TOKEN"],
}
SECRETS = {"blog": {"TOKEN": "seven seas"}}
SETTINGS = known_app.settings_of(Options(keep_releases=7))


def told(*declared: dict[str, Any], variables: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """What the lookup gives, by app."""
    loader = DataLoader()
    plugin = lookup_loader.get("emperor.stack.known_apps", loader=loader, templar=Templar(loader=loader))
    given = {"secrets": SECRETS, "root": str(ROOT), "settings": SETTINGS, **more}
    (found,) = plugin.run([list(declared)], variables or {}, **given)
    return {one["name"]: json.loads(one["text"]) for one in found}


def sent(app: dict[str, Any]) -> dict[str, Any]:
    """What a deploy by the controller tells the host."""
    loader = DataLoader()
    find = lookup.ROLE
    specs = Specs(Templar(loader=loader), loader, lambda kind, name: str(find / kind / name), {}, ROOT, 4096)
    (spec,) = specs.make([apps.complete(app)], SECRETS, whole=True)
    return json.loads(json.dumps(spec))


def test_it_is_what_a_deploy_sends_without_what_one_run_knows() -> None:
    known = told(APP, front="nginx", hosts={"blog": ["web1", "web2"]})["blog"]
    spec = sent(APP)
    assert known["spec"] == {key: spec[key] for key in known["spec"]}
    assert known["spec"]["environment"] == {"COLOUR": "blue", "TOKEN": "seven seas"}
    assert "app_blog_jobs@.service" in known["spec"]["units"] and known["spec"]["entry"]
    left_out = set(spec) - set(known["spec"])
    # Only for the front, for the accounts, or of one run.
    assert {"revision", "nginx", "tls", "domains"} & left_out == {"revision", "nginx", "tls"}
    assert known["settings"]["keep_releases"] == 7
    assert (known["front"], known["hosts"]) == ("nginx", ["web1", "web2"])


def test_it_is_the_same_whoever_writes_it(host: Path) -> None:
    """site.yml writes the text of the controller, a deploy that of the host: otherwise each would undo the other."""
    loader = DataLoader()
    plugin = lookup_loader.get("emperor.stack.known_apps", loader=loader, templar=Templar(loader=loader))
    ((one,),) = plugin.run([[APP]], {}, secrets=SECRETS, root=str(ROOT), settings=SETTINGS)
    os.makedirs(layout.KNOWN_APPS)
    Path(layout.known_app("blog")).write_text(one["text"])
    inode = os.stat(layout.known_app("blog")).st_ino
    spec: Any = sent({**APP, "source": {**APP["source"], "version": "v2"}})
    known_app.keep({**spec, "revision": "a" * 40, "action": "deploy"}, Options(keep_releases=7))
    assert Path(layout.known_app("blog")).read_text() == one["text"]
    assert os.stat(layout.known_app("blog")).st_ino == inode


def test_what_goes_to_the_host_makes_the_release_of_the_inventory() -> None:
    """With the inventory's version nothing differs, as for a playbook."""
    spec: Any = told(APP)["blog"]
    again = known_app.deployable(spec, "v1")
    assert again["fingerprint"] == sent(APP)["fingerprint"]
    assert known_app.deployable(spec, "v2")["source"]["version"] == "v2"
    assert spec["spec"]["source"]["version"] == "v1"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"path": "examples/flask"}, "source.path"),
        ({"archive": "https://x.example/a.tar.gz", "checksum": f"sha256:{'0' * 64}"}, "source.archive"),
        ({"package": "kinto==1.2"}, "source.package"),
    ],
)
def test_what_only_the_controller_has(source: dict[str, Any], says: str) -> None:
    known = told({**APP, "source": source})["blog"]
    assert known["spec"] is None and says in known["reason"]
    # And nothing secret is there for nothing.
    assert "seven seas" not in json.dumps(known)


def test_files_that_depend_on_the_version(tmp_path: Path) -> None:
    (tmp_path / "a.j2").write_text("{{ secrets.TOKEN }} {{ colour }}")
    (tmp_path / "b.j2").write_text("{{ app.source.version | upper }}")
    fixed = {**APP, "files": {"a.ini": "a.j2", "b.ini": "b.j2"}}
    variables = {"colour": "red"}
    known = told(fixed, variables=variables, root=str(tmp_path))["blog"]
    assert known["spec"] is None and "its `files` depend on the version" in known["reason"]
    known = told({**fixed, "files": {"a.ini": "a.j2"}}, variables=variables, root=str(tmp_path))["blog"]
    assert known["spec"]["files"] == {"a.ini": "seven seas red"}


def test_a_removed_app_is_not_known(host: Path) -> None:
    assert told({"name": "gone", "state": "absent"}, APP).keys() == {"blog"}
    patterns = [pattern for place, pattern in layout.everything_of("blog") if place == layout.KNOWN_APPS]
    assert patterns == [r"blog\.json(?:\.new-[0-9]+)?"]
