"""transformers' common tests on our model and processor; `common_tests/` says which ask for something else, and why."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import transformers

ROOT = Path(__file__).parents[2]
OURS = Path(__file__).parent / "common_tests" / "tcd_under_common_tests.py"
# What the common tests import, and the source distribution leaves out.
LEFT_OUT = {
    "utils/fetch_hub_objects_for_ci.py": "def url_to_local_path(url): return url\n",
    "tests/__init__.py": "",
    "tests/exporters/__init__.py": "",
    "tests/exporters/test_export.py": "class ExportTesterMixin: pass\n",
    "tests/generation/__init__.py": "",
    "tests/generation/test_utils.py": "class GenerationTesterMixin: pass\n",
    "tests/utils/__init__.py": "",
    "tests/utils/test_configuration_utils.py": "config_common_kwargs = {}\n",
}


@pytest.fixture(scope="module")
def common_tests(tmp_path_factory) -> Path:
    """A folder with the tests of the installed release."""
    pytest.importorskip("parameterized")
    folder = tmp_path_factory.mktemp("transformers")
    name = f"transformers=={transformers.__version__}"
    download = [sys.executable, "-m", "pip", "download", "--no-binary", ":all:", "--no-deps", "-d", str(folder), name]
    done = subprocess.run(download, capture_output=True, text=True)
    archives = list(folder.glob("*.tar.gz"))
    if not archives:
        pytest.skip(f"the source distribution of {name} cannot be had: {done.stderr.strip()[-200:]}")
    with tarfile.open(archives[0]) as archive:
        top = archive.getnames()[0].split("/")[0]
        members = [member for member in archive.getmembers() if member.name.startswith(f"{top}/tests/")]
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # not in the first releases of 3.11
        archive.extractall(folder, members=members, **safely)
    for path, content in LEFT_OUT.items():
        file = folder / top / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            file.write_text(content)
    return folder / top


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_common_tests_pass(common_tests):
    shutil.copy(OURS, common_tests / "tests" / "test_tcd.py")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_tcd.py"]
    environment = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=common_tests, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2_000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None and int(passed[1]) > 80, done.stdout[-500:]
