import pytest

from scripts.benchmarks.weight import GIB, main, required, to_markdown, weigh

METADATA = "Metadata-Version: 2.1\nName: {}\nVersion: 1.0\n{}"


@pytest.fixture
def install(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def install(name, requires=(), files=()):
        info = f"{name.replace('-', '_')}-1.0.dist-info"
        files = {f"{info}/METADATA": None, **dict(files)}
        for path, size in files.items():
            target = tmp_path / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if size is None:
                lines = "".join(f"Requires-Dist: {line}\n" for line in requires)
                target.write_text(METADATA.format(name, lines), encoding="utf-8")
            else:
                target.write_bytes(bytes(size))
        record = "".join(f"{path},,\n" for path in [*files, "not/there.py"])
        (tmp_path / info / "RECORD").write_text(record, encoding="utf-8")

    return install


def test_what_is_required_is_found_once_with_the_extras_that_are_asked_for(install):
    install("k-package", ["k-middle[fast]>=1", "k-optional; extra == 'all'"])
    install("k-middle", ["k-fast; extra == 'fast'", "k-slow; extra == 'slow'", "k-never; python_version < '3'"])
    install("k-fast", ["k-middle"])
    install("k-slow")
    assert set(required("k-package")) == {"k-middle", "k-fast"}


def test_libraries_for_gpus_are_weighed_apart(install):
    install("nvidia-k", files={"nvidia/k.so": 300})
    install("torch-k", files={"torch/lib/libtorch_cuda.so": 200, "torch/lib/libtorch_cpu.so": 50, "torch/cuda/a.py": 1})
    install("k", ["nvidia-k", "torch-k"])
    (nvidia, gpu_of_nvidia), (torch, gpu_of_torch) = (weigh(required("k")[name]) for name in ("nvidia-k", "torch-k"))
    assert nvidia == gpu_of_nvidia > 300  # its own metadata, too
    assert torch > 251 and gpu_of_torch == 200


def test_the_table_begins_with_the_sum():
    weights = {"nvidia-a": (GIB, GIB), "cuda-b": (GIB, GIB), "torch": (3 * GIB, GIB), "small": (5, 0)}
    lines = to_markdown(weights, largest=2).split("\n")
    assert lines[2:] == [
        "| all 4 distributions | 5.00 | 2.00 |",
        "| torch | 3.00 | 2.00 |",
        "| NVIDIA's libraries | 2.00 | 0.00 |",
    ]


def test_this_installation_is_weighed(capsys):
    assert main(["--largest", "1"]) == 0
    total = capsys.readouterr().out.split("\n")[4]
    with_gpu, without = map(float, total.strip(" |").split(" | ")[1:])
    assert with_gpu >= without > 0.5
