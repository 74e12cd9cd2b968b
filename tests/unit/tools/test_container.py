from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tools import container
from tools.console import Stop
from tools.project import ROOT


def found(checkout: str = str(ROOT), running: bool = True, scenario: str = "") -> str:
    labels = {"emperor-stack.checkout": checkout} if checkout else {}
    labels |= {"emperor-stack.scenario": scenario} if scenario else {}
    return json.dumps([{"Config": {"Labels": labels}, "State": {"Running": running}}])


def docker(inspect: str) -> str:
    return f'case "$1 $2" in\n  \'container inspect\') {inspect};;\n  "exec "*) echo running;;\nesac'


HOST = container.Host("box", "emperor-stack-host:debian12", memory="512m", labels=("a=b",))


def test_the_command_of_a_host_has_no_privileged_and_all_labels():
    arguments = container.run_arguments(HOST)
    assert "--privileged" not in arguments
    assert {"--label=emperor-stack=1", f"--label=emperor-stack.checkout={ROOT}", "--label=a=b"} <= set(
        arguments
    )
    # Without the second, a host of 512 MB would have as much swap again.
    assert {"--memory=512m", "--memory-swap=512m"} <= set(arguments)
    assert arguments[-1] == HOST.image


def test_a_host_on_cgroup_v2_is_the_same_but_for_how_it_starts():
    usual = container.run_arguments(HOST)
    unified = container.run_arguments(replace(HOST, unified=True))
    assert unified[: len(usual) - 1] == usual[:-1]
    assert unified[len(usual) - 1 :] == [
        "--entrypoint=/bin/sh",
        HOST.image,
        "-ec",
        container.UNIFIED,
        "sh",
        "box",
    ]


def test_a_host_with_an_address_is_in_a_network_of_its_own(fake, calls):
    fake(
        "docker",
        'case "$1 $2" in\n  "container inspect"|"network inspect") exit 1;;\n  "exec "*) echo running;;\nesac',
    )
    assert container.start(replace(HOST, address="10.213.0.11")) is True
    made = [call for call in calls() if call.startswith(("docker network create", "docker run"))]
    assert made[0].endswith("--subnet=10.213.0.0/24 emperor-stack-10.213.0.0")
    assert "--network=emperor-stack-10.213.0.0 --ip=10.213.0.11" in made[1]


def test_a_host_that_runs_is_left_as_it_is(fake, calls):
    fake("docker", docker(f"echo '{found()}'"))
    assert container.start(HOST) is False
    assert not [call for call in calls() if call.startswith(("docker run", "docker start"))]


def test_a_stopped_host_is_started_and_not_made_anew(fake, calls):
    fake("docker", docker(f"echo '{found(running=False)}'"))
    assert container.start(HOST) is True
    assert "docker start box" in calls()
    assert not [call for call in calls() if call.startswith("docker run")]


@pytest.mark.parametrize(
    ("checkout", "message"),
    [("/elsewhere", "belongs to the checkout in /elsewhere"), ("", "that this bundle did not make")],
)
@pytest.mark.parametrize("act", [lambda: container.start(HOST), lambda: container.remove("box")])
def test_a_container_of_somebody_else_is_not_touched(fake, calls, checkout, message, act):
    fake("docker", docker(f"echo '{found(checkout)}'"))
    with pytest.raises(Stop, match=message):
        act()
    assert calls() == ["docker container inspect box"]


@pytest.mark.parametrize(
    ("running", "checkout", "scenario"),
    [(True, "/elsewhere", "deploy"), (False, "/elsewhere", ""), (False, "", "deploy")],
)
def test_what_somebody_may_still_use_is_not_removed(fake, calls, running, checkout, scenario):
    fake("docker", docker(f"echo '{found(checkout, running, scenario)}'"))
    with pytest.raises(Stop):
        container.remove("box")
    assert calls() == ["docker container inspect box"]


def test_a_test_host_that_another_checkout_left_behind_is_removed(fake, calls):
    fake("docker", docker(f"echo '{found('/elsewhere', False, 'deploy')}'"))
    assert container.remove("box") is True
    assert calls()[-1] == "docker rm --force --volumes box"


def test_a_test_host_that_another_checkout_left_behind_makes_room(fake, calls):
    fake("docker", docker(f"echo '{found('/elsewhere', False, 'deploy')}'"))
    assert container.start(HOST) is True
    removed, *later = [call for call in calls() if call.startswith(("docker rm", "docker run"))]
    assert removed == "docker rm --force --volumes box"
    assert later[0].startswith("docker run")


def test_a_host_without_its_image_names_the_target_that_builds_it(fake):
    fake("docker", "exit 1")
    with pytest.raises(Stop, match=r"no image emperor-stack-host:debian12\. Run `make images` first\."):
        container.start(HOST)


def test_a_host_that_cannot_start_leaves_no_half_container(fake, calls):
    fake(
        "docker",
        'case "$1 $2" in "container inspect") exit 1;; "run "*) echo "port is already allocated" >&2; exit 125;; esac',
    )
    with pytest.raises(Stop, match="could not start box: port is already allocated"):
        container.start(HOST)
    assert calls()[-1] == "docker rm --force box"


def test_only_containers_of_this_checkout_are_listed(fake, calls):
    fake("docker", "echo box")
    assert container.all_ours("container") == ["box"]
    assert f"label=emperor-stack.checkout={ROOT}" in calls()[0]
