"""Generates the Python code beside each proto; with --check, says whether it is current."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUFFIXES = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")


def generate(into: Path) -> None:
    """Writes the generated files of every proto below `into`, in the repository's layout."""
    programs = Path(sys.executable).parent
    protos = sorted(str(proto.relative_to(ROOT)) for proto in ROOT.glob("protos/*/v*/*.proto"))
    # -I at the root, so that the code imports `protos.jackpot.v1` without rewriting.
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", "."]
    command += [f"--plugin={name}={programs / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    command += [f"--{kind}_out={into}" for kind in ("python", "grpc_python")]
    command += [f"--{kind}_out=quiet:{into}" for kind in ("mypy", "mypy_grpc")]
    subprocess.run([*command, *protos], cwd=ROOT, check=True)


def generated_files(top: Path) -> dict[Path, bytes]:
    """The generated files below a folder, by their path in it."""
    found = (path for path in top.glob("protos/*/v*/*") if path.name.endswith(SUFFIXES))
    return {path.relative_to(top): path.read_bytes() for path in found}


def differences() -> list[str]:
    """Files that are missing, left over, or not what the protos give now; empty when all is current."""
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        wanted = generated_files(Path(scratch))
    present = generated_files(ROOT)
    return sorted(
        str(path) for path in wanted.keys() | present.keys() if wanted.get(path) != present.get(path)
    )


def main(arguments: list[str]) -> None:
    """Generates, or with --check exits with 1 and names what is not current."""
    if arguments == ["--check"]:
        if stale := differences():
            sys.exit("\n".join(["generated code is not current (make proto):", *stale]))
        return
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        for path in generated_files(ROOT).keys() - generated_files(Path(scratch)).keys():
            (ROOT / path).unlink()
        shutil.copytree(Path(scratch) / "protos", ROOT / "protos", dirs_exist_ok=True)


if __name__ == "__main__":
    main(sys.argv[1:])
