"""How many CPUs a process may use: control groups of both versions, made up."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastattn.cpus import available_cpus, cgroup_quota


@pytest.fixture
def groups(tmp_path):
    """Write files by name; return the quota that is read from them."""

    def quota(lines, files=()):
        proc, root = tmp_path / "proc", tmp_path / "fs"
        root.mkdir()
        proc.write_text("".join(f"{line}\n" for line in lines))
        for name, text in dict(files).items():
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return cgroup_quota(proc, root)

    return quota


def test_version_two(groups):
    assert groups(["0::/a"], {"a/cpu.max": "150000 100000\n"}) == 1.5


def test_version_two_at_the_root_of_a_container(groups):
    assert groups(["0::/"], {"cpu.max": "50000 100000\n"}) == 0.5


def test_version_one(groups):
    files = {
        "cpu/a/cpu.cfs_quota_us": "300000\n",
        "cpu/a/cpu.cfs_period_us": "100000\n",
    }
    assert groups(["4:cpu,cpuacct:/a", "3:memory:/a"], files) == 3


def test_version_one_without_a_quota(groups):
    files = {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}
    assert groups(["4:cpu:/"], files) is None


@pytest.mark.parametrize(
    ("inner", "outer", "quota"),
    [
        ("100000 100000", "200000 100000", 1),
        ("400000 100000", "200000 100000", 2),
        ("max 100000", "200000 100000", 2),
        ("100000 100000", "max 100000", 1),
    ],
)
def test_the_tightest_of_nested_groups_counts(groups, inner, outer, quota):
    files = {"a/b/c/cpu.max": inner, "a/b/cpu.max": "max 100000", "a/cpu.max": outer}
    assert groups(["0::/a/b/c"], files) == quota


def test_both_versions_at_once(groups):
    files = {
        "unified/cpu.max": "100000 100000",
        "cpu/a/cpu.cfs_quota_us": "200000",
        "cpu/a/cpu.cfs_period_us": "100000",
        "a/cpu.max": "300000 100000",
    }
    assert groups(["2:cpu:/a", "1:name=systemd:/a", "0::/a"], files) == 2


def test_groups_beside_ours_do_not_count(groups):
    files = {"b/cpu.max": "100000 100000", "a/cpu.max": "max 100000"}
    assert groups(["0::/a"], files) is None


def test_a_path_of_the_host_falls_back_to_the_root(groups):
    files = {"cpu.max": "100000 100000"}
    assert groups(["0::/system.slice/docker-0123.scope"], files) == 1


def test_a_path_above_the_namespace_ends_at_the_root(groups):
    assert groups(["0::/../../other"], {"cpu.max": "100000 100000"}) == 1


def test_a_group_whose_name_has_a_colon(groups):
    assert groups(["0::/a:b"], {"a:b/cpu.max": "100000 100000"}) == 1


@pytest.mark.parametrize(
    "text",
    [
        *("", "\n", "max", "max 100000", "100000", "0 100000", "100000 0"),
        *("-1 100000", "a b", "1e5 1e5", "\u00b2 \u00b2", b"\xff\xfe 100000"),
    ],
)
def test_what_is_no_quota_is_none(groups, text):
    assert groups(["0::/"], {"cpu.max": text}) is None


@pytest.mark.parametrize("lines", [[], [""], ["nonsense"], ["0:"], ["::"], ["1:memory:/"]])
def test_lines_that_say_nothing(groups, lines):
    assert groups(lines) is None


def test_no_control_groups_at_all(tmp_path):
    assert cgroup_quota(tmp_path / "missing", tmp_path) is None


@given(st.binary(max_size=40))
def test_no_bytes_are_an_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("groups")
    (folder / "proc").write_bytes(b"0::/\n" + data)
    (folder / "cpu.max").write_bytes(data)
    quota = cgroup_quota(folder / "proc", folder)
    assert quota is None or quota > 0


def test_available_cpus_obey_affinity_and_quota(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for quota, cpus in [(None, 8), (2.5, 3), (0.1, 1), (64.0, 8)]:
        monkeypatch.setattr("fastattn.cpus.cgroup_quota", lambda q=quota: q)
        available_cpus.cache_clear()
        assert available_cpus() == cpus
    available_cpus.cache_clear()
