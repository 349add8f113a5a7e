"""Builds the benchmark programs, for this checkout's library or another's."""

import hashlib
import io
import os
import pathlib
import subprocess
import sys
import tarfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILDS = pathlib.Path(os.environ.get("BUILD_DIR", ROOT / "build")) / "bench"
ARCHIVE = "source-"  # a revision's files lie in such a directory of BUILDS


def _run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}")
    return done.stdout


def _git(*words, source=ROOT):
    return _run(["git", "-C", source, *words]).strip()


def revision(source=ROOT):
    """The checkout's revision, marked where what is built differs from it."""
    if source.parent == BUILDS:
        return source.name.removeprefix(ARCHIVE)
    try:
        if pathlib.Path(_git("rev-parse", "--show-toplevel", source=source)) != source:
            return source.name
        name = _git("rev-parse", "--short=10", "HEAD", source=source)
        changed = _git("status", "--porcelain", "--", "src", "include", source=source)
    except SystemExit:
        return source.name
    return name + ("-changed" if changed else "")


def checkout(what):
    """The directory of what is named: a directory, or a revision of this tree."""
    if (pathlib.Path(what) / "include" / "canopy").is_dir():
        return pathlib.Path(what).resolve()
    name = _git("rev-parse", "--short=10", what + "^{commit}")
    source = BUILDS / (ARCHIVE + name)
    if not source.is_dir():
        archive = subprocess.run(["git", "-C", ROOT, "archive", name], stdout=subprocess.PIPE,
                                 check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(source)
    return source


def _directory(source):
    if source == ROOT:
        return BUILDS / "this"
    return BUILDS / hashlib.sha256(str(source).encode()).hexdigest()[:10]


def build(source=ROOT, peers=True, jobs=None):
    """The programs, by name, that were built; the peers that were not are left out."""
    directory = _directory(source)
    _run(["cmake", "-S", ROOT / "bench", "-B", directory, "-G", "Ninja", "-Wno-dev",
          f"-DCANOPY_SOURCE={source}", f"-DCANOPY_BENCH_PEERS={'ON' if peers else 'OFF'}"])
    _run(["cmake", "--build", directory, *(["-j", str(jobs)] if jobs else [])])
    programs = {"canopy": directory / "canopy_bench"}
    if peers:
        for program in sorted((directory / "peers").glob("peer_*")):
            programs[program.name.removeprefix("peer_")] = program
    return programs
