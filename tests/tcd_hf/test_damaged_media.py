"""Files that something went wrong with: each is added or named, and none takes another one with it."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from scripts.damaged_media import KINDS, DamagedFile, damaged_files, render_clips
from scripts.damaged_media import __main__ as writing

ROOT = Path(__file__).resolve().parents[2]
COUNT = 8 * len(KINDS)  # at least 200 files


@pytest.fixture(scope="module")
def clips() -> dict[str, bytes]:
    return render_clips()


def test_the_same_seed_gives_the_same_files(clips, tmp_path):
    files = list(damaged_files(clips, 0, COUNT))
    assert len({file.name for file in files}) == COUNT >= 200
    assert Counter(file.kind for file in files) == dict.fromkeys(KINDS, 8) and len(KINDS) >= 12
    assert list(damaged_files(render_clips(), 0, 30)) == files[:30]
    assert not {file.content for file in damaged_files(clips, 1, COUNT)} >= {file.content for file in files}
    assert writing.main(["--out", str(tmp_path / "out"), "--count", "30"]) == 0
    written = [
        DamagedFile(file.name, file.kind, (tmp_path / "out/damaged" / file.name).read_bytes()) for file in files[:30]
    ]
    assert written == files[:30] and len(list((tmp_path / "out/whole").iterdir())) == len(clips)


def test_damaged_files_are_damaged(clips):
    unharmed = [file for file in damaged_files(clips, 0, COUNT) if file.content in clips.values()]
    assert {file.kind for file in unharmed} == {"wrong ending"}


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_all_are_added_or_named_in_default_settings(tmp_path):
    command = [sys.executable, "-m", "scripts.benchmarks.survival", "--count", str(COUNT)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--json", str(tmp_path / "report.json")],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stderr[-2000:]
    report = json.loads((tmp_path / "report.json").read_text())
    assert all(report["holds"].values()), done.stdout
    assert report["tally"]["whole"]["added"] == report["tally"]["whole"]["tried"]
    assert sum(counts["tried"] for counts in report["tally"].values()) == COUNT + report["tally"]["whole"]["tried"]
