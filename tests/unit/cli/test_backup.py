"""`ticktape backup` and `ticktape restore`, as they are typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

from ticktape.tape.verify import verify

Run = Callable[..., Result]


def test_there_and_back(run: Run, data: Path, tmp_path: Path) -> None:
    made = run("backup", "--data", data, "--to", tmp_path / "safe", "--drill", "--json")
    assert made.exit_code == 0, made.output
    answer = json.loads(made.stdout)
    assert (answer["ok"], answer["drill"]["ok"], answer["position"]) == (True, True, 10_014)
    assert answer["drill"]["compared_records"] == 10_014
    assert "0 were new" in run("backup", "--data", data, "--to", tmp_path / "safe", "--keep", 5).stdout
    listed = json.loads(run("restore", tmp_path / "safe", "--list", "--json").stdout)
    assert [row["position"] for row in listed] == [10_014, 10_014]
    assert "all as backed up" in run("restore", tmp_path / "safe", "--check").stdout
    back = run("restore", tmp_path / "safe", "--name", answer["name"], "--data", tmp_path / "new", "--json")
    assert json.loads(back.stdout)["tape_records"] == 10_001
    assert verify(tmp_path / "new" / "tape").ok
    shown = run("restore", tmp_path / "safe", "--data", tmp_path / "other")
    assert f"next: ticktape up --data {tmp_path / 'other'}" in shown.stderr


def test_an_archive_there_and_back(run: Run, data: Path, tmp_path: Path) -> None:
    assert run("backup", "--data", data, "--archive", tmp_path / "all.tar.xz", "--drill").exit_code == 0
    assert run("restore", "--check", tmp_path / "all.tar.xz").exit_code == 0
    assert run("restore", tmp_path / "all.tar.xz", "--data", tmp_path / "new").exit_code == 0
    content = bytearray((tmp_path / "all.tar.xz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "bad.tar.xz").write_bytes(content)
    done = run("restore", "--check", tmp_path / "bad.tar.xz")
    assert done.exit_code == 1
    assert "bad.tar.xz: damaged or cut off" in done.stderr


def test_misuse_is_exit_2_and_says_what_to_do(run: Run, data: Path, tmp_path: Path) -> None:
    for args, said in (
        (("backup", "--data", data), "ticktape backup --to DIR"),
        (("backup", "--data", data, "--to", tmp_path / "safe", "--with-secrets"), "not written in clear"),
        (("backup", "--data", tmp_path / "none", "--to", tmp_path / "safe"), "no tape in"),
        (("restore", tmp_path / "nowhere", "--data", tmp_path / "new"), "no such file"),
        (("restore", tmp_path / "nowhere", "--data", data), "is not empty"),
        (("backup", "--data", data, "--to", "ftp://x"), "folder or to s3"),
    ):
        done = run(*args)
        assert done.exit_code == 2, done.output
        assert said in done.stderr
