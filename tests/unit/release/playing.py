"""A host where builds, answers and hooks are played, and all that is remembered is real."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.release import build, environment, lifecycle, venv
from ansible_collections.emperor.stack.plugins.module_utils.release import confirm as release_confirm
from ansible_collections.emperor.stack.plugins.module_utils.release import deploy as release_deploy
from ansible_collections.emperor.stack.plugins.module_utils.release.options import Options
from ansible_collections.emperor.stack.plugins.module_utils.release.phases import phases_of, run_phase
from ansible_collections.emperor.stack.plugins.module_utils.release.state import AppState, Manifest
from ansible_collections.emperor.stack.plugins.module_utils.systemd import app_units

MINE = {"token": "boot/ns/1/1", "who": "ann@laptop", "controller": "laptop"}


THEIRS = {"token": "boot/ns/2/2", "who": "bob@desk", "controller": "desk"}


#: After the plan.
PHASES_OF_A_DEPLOY = phases_of("deploy")[1:]


Outcome = dict[str, Any]


#: What a deploy does, as the fixture notes it.
WHOLE = [
    "prepare",
    "prepared",
    "before_migrate",
    "migrate",
    "after_migrate",
    "before_start",
    "probe",
    "after_start",
    "before_switch",
    "front",
    "after_switch",
    "before_drain",
    "after_drain",
]


class Killed(BaseException):
    """The process ends here: nothing after it runs but what the kernel does."""


class Systemd:
    """systemd, as far as it starts, stops and shows units. A unit in `dying` never runs for long."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.running: set[str] = set()
        self.dying: set[str] = set()
        self.doubled: list[str] = []
        #: The call at which the process that makes it is killed, before it does anything or after it.
        self.kill_at: tuple[int, str] | None = None

    def __call__(self, argv: list[str], **_: Any) -> str:
        if argv[0] == "journalctl":
            return "No module named celery"
        verb, units = argv[1], [word for word in argv[2:] if not word.startswith("--")]
        self.calls.append(" ".join([verb, *units]))
        killed = self.kill_at and self.kill_at[0] == len(self.calls)
        if killed and self.kill_at and self.kill_at[1] == "before":
            raise Killed
        said = self._do(verb, units)
        if killed:
            raise Killed
        return said

    def _do(self, verb: str, units: list[str]) -> str:
        if verb in ("start", "restart"):
            assert all(os.path.exists(layout.unit_file(unit)) for unit in units)
            for unit in units:
                process = unit.partition("@")[0]
                if [one for one in self.running - {unit} if one.startswith(f"{process}@")]:
                    self.doubled.append(unit)
                self.running.add(unit)
        elif verb == "stop":
            self.running -= set(units)
        elif verb == "show":
            return "\n\n".join(self._shown(unit) for unit in units)
        return ""

    def _shown(self, unit: str) -> str:
        runs = unit in self.running and unit not in self.dying
        state = (
            "ActiveState=active\nSubState=running"
            if runs
            else "ActiveState=activating\nSubState=auto-restart"
        )
        return f"NRestarts=0\nId={unit}\n{state}\nResult=exit-code\nExecMainStatus=1"


class Host:
    """Deploys of app `blog` by one controller after the other, with the parts that touch the system played."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.state = AppState("blog")
        self.calls: list[str] = []
        #: How long each activation was given to be quiet, and how often it was looked at.
        self.seconds: dict[str, float] = {}
        self.looks: dict[str, int] = {}
        self.breaks: dict[str, BaseException] = {}
        #: Seconds that each hook was given, and each answer through the front.
        self.patience: dict[str, float] = {}
        self.options = Options(owner=MINE, keep_releases=3)
        self.revision = "a" * 40
        self.built = 0
        for module, name in (
            (build, "prepare"),
            (environment, "run_line"),
            (lifecycle, "wait_until_healthy"),
            (lifecycle, "probe_through_front"),
            (lifecycle, "drain"),
            (release_deploy, "run"),
        ):
            monkeypatch.setattr(module, name, getattr(self, f"_{name}"))
        monkeypatch.setattr(release_confirm, "run", lambda *_, **__: "")
        self.systemd = Systemd()
        monkeypatch.setattr(app_units, "run", self.systemd)
        monkeypatch.setattr(app_units, "SETTLE_SECONDS", 0)
        monkeypatch.setattr(build, "wanted_python", lambda spec: "3.11")
        monkeypatch.setattr(venv, "python_version", lambda: "3.11")
        monkeypatch.setattr(build, "new_release_id", self._new_release_id)

    def _new_release_id(self, revision: str) -> str:
        self.built += 1
        return f"20261122T1000{self.built:02d}-{revision[:7]}"

    def _step(self, name: str) -> None:
        self.calls.append(name)
        if name in self.breaks:
            raise self.breaks[name]

    def _prepare(self, spec: Any, revision: str, release: str, *_: Any) -> Manifest:
        os.makedirs(f"{layout.release('blog', release)}/code")
        self._step("prepare")
        manifest = Manifest(
            app="blog",
            release=release,
            revision=revision,
            version="v1",
            fingerprint=spec["fingerprint"],
            python="3.11",
            created="",
            health=spec["health"],
            host="blog.example.com",
            migrate=spec["migrate"],
            hooks=spec["hooks"],
            migrations=spec.get("migrations", ""),
            server=spec.get("server", "uwsgi"),
            workers=spec.get("workers", {}),
            schedule=sorted(spec.get("schedule", {})),
            on_first=spec.get("on_first", []),
        )
        if manifest.server == "uwsgi":
            Path(layout.release("blog", release), "vassal.ini").write_text("[uwsgi]\n")
        os.makedirs(layout.release_units("blog", release))
        for process in [*manifest.workers, *(["web"] if manifest.server != "uwsgi" else [])]:
            self._unit(release, f"app_blog_{process}@.service", "[Install]")
        for name in manifest.schedule:
            self._unit(release, f"app_blog_{name}.service", release)
            self._unit(release, f"app_blog_{name}.timer", f"[Install] {spec['schedule'][name]}")
        AppState("blog").save(manifest)
        self._step("prepared")
        return manifest

    @staticmethod
    def _unit(release: str, name: str, text: str) -> None:
        with open(f"{layout.release_units('blog', release)}/{name}", "w", encoding="utf-8") as file:
            file.write(f"{text} @ACTIVATION@")

    def _run_line(self, app: str, release: str, command: str, what: str, timeout: float = 0) -> str:
        self.patience[what.removeprefix("hook ")] = timeout
        self._step(what.removeprefix("hook "))
        return "done"

    def _wait_until_healthy(self, app: str, activation: str, health: Any) -> int:
        self._step("probe")
        return 3

    def _probe_through_front(self, health: Any, answers: int, timeout: float, port: int) -> None:
        self.patience["front"] = timeout
        self._step("front")

    def _drain(self, app: str, activation: str, timeout: float, looks: int = lifecycle.JUST_LEFT) -> bool:
        self.seconds[activation] = timeout
        self.looks[activation] = looks
        self._step(f"drain {activation}")
        return True

    def _run(self, argv: list[str], **_: Any) -> str:
        self._step("retire later")
        return ""

    def spec(self, **changes: Any) -> dict[str, Any]:
        return {
            "name": "blog",
            "domains": ["blog.example.com"],
            "persistent_directories": [],
            "source": {"path": "x"},
            "digest": self.revision,
            "revision": self.revision,
            "fingerprint": f"2:{'f' * 64}",
            "health": {"path": "/", "status": [], "answers": 3, "timeout": 2},
            "migrate": "migrate",
            "hooks": {
                f"{when}_{phase}": ["x"]
                for when in ("before", "after")
                for phase in ("migrate", "start", "switch", "drain")
            },
            **changes,
        }

    def phase(self, name: str, **changes: Any) -> Outcome:
        return run_phase(name, [self.spec(**changes)], self.options)["blog"]

    def deploy(self, revision: str | None = None, **changes: Any) -> Outcome:
        """As the role does: plan, then one phase after the other until one fails."""
        self.revision = revision or self.revision
        plan = self.phase("plan", **changes)
        if plan["action"] not in ("deploy", "finish"):
            return plan
        outcome: Outcome = {}
        for name in PHASES_OF_A_DEPLOY:
            outcome = self.phase(name, action=plan["action"], **changes)
            if "error" in outcome:
                break
        return outcome

    def rollback(self) -> Outcome:
        outcome = self.phase("rollback")
        for name in phases_of("rollback", alone=True)[1:]:
            if "error" in outcome:
                break
            outcome = self.phase(name)
        return outcome

    def next_run(self) -> None:
        """The run before is dead, and the controller found that out. What broke does no more."""
        token = f"boot/ns/{len(self.calls)}/9"
        dead = [str(self.options.owner["token"])]
        self.options = Options(owner={**MINE, "token": token}, dead=dead, keep_releases=3)
        self.breaks.clear()
        self.calls.clear()
        self.systemd.calls.clear()
        self.systemd.kill_at = None

    def status(self, release: str | None) -> str | None:
        found = self.state.manifest(str(release))
        return found.status if found else None

    def vassals(self) -> list[str]:
        return [name for _, name in lifecycle.running_activations("blog")]

    def settled(self) -> None:
        """What is true after every finished run."""
        live = self.state.live_activation()
        assert self.state.lock() is None
        assert self.state.partial_releases() == []
        assert live in self.vassals()
        assert set(self.state.activation_names()) == set(self.vassals())
