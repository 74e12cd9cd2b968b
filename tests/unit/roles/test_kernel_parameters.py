"""Role base's program for kernel parameters, and how role base uses it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLE = Path(__file__).resolve().parents[3] / "roles/base"


class Kernel:
    """Parameters under *top*."""

    def __init__(self, top: Path) -> None:
        self.sys = top / "sys"
        self.program = top / "kernel-parameters"
        text = (ROLE / "files/kernel-parameters").read_text()
        assert text.count('"/proc/sys"') == 1
        text = text.replace('"/proc/sys"', repr(str(self.sys)))
        self.program.write_text(f"#!{sys.executable}\n{text}")
        self.program.chmod(0o755)

    def has(self, path: str, value: str) -> None:
        (self.sys / path).parent.mkdir(parents=True, exist_ok=True)
        (self.sys / path).write_text(value)

    def keeps(self, path: str) -> str:
        """It has a parameter that nobody can set, not even root; its value."""
        (self.sys / path).parent.mkdir(parents=True, exist_ok=True)
        (self.sys / path).symlink_to("/proc/sys/kernel/ngroups_max")
        return self.value(path).strip()

    def value(self, path: str) -> str:
        return (self.sys / path).read_text()

    def __call__(self, *words: str) -> list[list[str]]:
        said = subprocess.run([self.program, *words], capture_output=True, text=True, check=True).stdout
        lines = [line.split("\t") for line in said.splitlines()]
        return [[path.removeprefix(f"{self.sys}/"), *rest] for path, *rest in lines]


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def test_what_is_as_wanted_is_not_touched(kernel: Kernel) -> None:
    kernel.has("net/core/somaxconn", "8192\n")
    kernel.has("net/ipv4/tcp_rmem", "1\t2\t3\n")
    wanted = ("net.core.somaxconn>=4096", "net.ipv4.tcp_rmem=1 2 3")
    assert kernel("set", *wanted) == []
    assert kernel.value("net/core/somaxconn") == "8192\n"
    assert kernel.value("net/ipv4/tcp_rmem") == "1\t2\t3\n"


@pytest.mark.parametrize(("wanted", "value"), [(">=4096", "4096"), ("=64", "64"), (">=129", "129")])
def test_what_differs_is_said_and_set(kernel: Kernel, wanted: str, value: str) -> None:
    kernel.has("net/core/somaxconn", "128\n")
    assert kernel("differing", f"net.core.somaxconn{wanted}") == [["net/core/somaxconn", value, "128"]]
    assert kernel.value("net/core/somaxconn") == "128\n"
    assert kernel("set", f"net.core.somaxconn{wanted}") == []
    assert kernel.value("net/core/somaxconn") == value


def test_a_higher_number_is_not_what_an_exact_one_wants(kernel: Kernel) -> None:
    kernel.has("kernel/kptr_restrict", "2\n")
    assert kernel("differing", "kernel.kptr_restrict=1") == [["kernel/kptr_restrict", "1", "2"]]


def test_a_star_stands_for_each_interface(kernel: Kernel) -> None:
    for name in ("all", "eth0.100", "lo"):
        kernel.has(f"net/ipv4/conf/{name}/rp_filter", "0\n")
    assert kernel("set", "net.ipv4.conf.*.rp_filter=2") == []
    assert {kernel.value(f"net/ipv4/conf/{name}/rp_filter") for name in ("all", "eth0.100", "lo")} == {"2"}
    assert kernel("differing", "net/ipv4/conf/eth0.100/rp_filter=0") == [
        ["net/ipv4/conf/eth0.100/rp_filter", "0", "2"]
    ]


def test_what_the_kernel_keeps_is_said(kernel: Kernel) -> None:
    value = kernel.keeps("kernel/dmesg_restrict")
    kernel.has("kernel/kptr_restrict", "0\n")
    assert kernel("set", "kernel.dmesg_restrict=1", "kernel.kptr_restrict=1") == [
        ["kernel/dmesg_restrict", "1", value]
    ]
    assert kernel.value("kernel/kptr_restrict") == "1"


def test_what_the_kernel_does_not_have_matters_only_where_there_must_be_enough_of_it(kernel: Kernel) -> None:
    assert kernel("set", "no.such=1") == []
    assert kernel("set", "no.such>=1") == [["no/such", "1", ""]]


# apply-base


@pytest.fixture
def apply_base(tmp_path: Path, kernel: Kernel) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Role base's script where it is to have the parameters *wanted*; what it does beside is nothing."""
    applied = tmp_path / "base.applied"
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("systemctl", "update-ca-certificates"):
        (programs / name).write_text("#!/bin/sh\nexit 1\n" if name == "systemctl" else "#!/bin/sh\n")
        (programs / name).chmod(0o755)
    (programs / "systemctl").write_text('#!/bin/sh\n[ "$1" != --quiet ]\n')

    def run(wanted: dict[str, int], *words: str) -> subprocess.CompletedProcess[str]:
        text = (ROLE / "templates/apply-base.j2").read_text()
        variables = {"base_sysctl_minimum": wanted, "base_apps_syslog": False}
        templar = Templar(loader=DataLoader(), variables=variables)
        text = str(templar.template(trust_as_template(text), overrides={"trim_blocks": True}))
        for path, instead in {
            "/usr/local/lib/emperor-stack/kernel-parameters": kernel.program,
            "/var/lib/emperor-stack/base.applied": applied,
            "${path#/proc/sys/}": f"${{path#{kernel.sys}/}}",
        }.items():
            assert text.count(path) == 1
            text = text.replace(path, str(instead))
        return subprocess.run(
            ["/bin/sh", "-c", text, "apply-base", *words],
            env={"PATH": f"{programs}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


Apply = Callable[..., "subprocess.CompletedProcess[str]"]


def test_the_state_is_said_when_all_is_enough(kernel: Kernel, apply_base: Apply) -> None:
    kernel.has("net/core/somaxconn", "128\n")
    wanted = {"net.core.somaxconn": 4096}
    assert apply_base(wanted, "--state").stdout == ""
    done = apply_base(wanted)
    assert (done.returncode, done.stderr) == (0, "")
    assert kernel.value("net/core/somaxconn") == "4096"
    assert apply_base(wanted, "--state").stdout == "@FILE_SET_DIGEST@\n"
    kernel.has("net/core/somaxconn", "4095\n")
    done = apply_base(wanted, "--state")
    assert done.stdout == ""
    assert done.returncode != 0


def test_without_parameters_there_is_nothing_to_be_enough(apply_base: Apply) -> None:
    assert apply_base({}).returncode == 0
    assert apply_base({}, "--state").stdout == "@FILE_SET_DIGEST@\n"


def test_a_kernel_that_refuses_is_named_with_a_way_out(kernel: Kernel, apply_base: Apply) -> None:
    value = kernel.keeps("net/core/somaxconn")
    wanted = {"net.core.somaxconn": int(value) + 1, "no.such": 5}
    done = apply_base(wanted)
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert (
        f"net.core.somaxconn is {value}, wanted is at least {int(value) + 1}, and the kernel refuses" in first
    )
    assert f"base_sysctl_minimum: {{net.core.somaxconn: {value}}}" in first
    assert "The kernel parameter no.such is , wanted is at least 5" in second
    assert apply_base(wanted, "--state").stdout == ""
