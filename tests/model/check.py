#!/usr/bin/env python3
"""Run Spin over the protocol's models: each must hold as it stands, and fail once any one of its orderings is taken away.

What there is to run is read from the model's opening comment, so that there is one list:

    case: NAME=VALUE ...: what it is            the model must hold with these macros (none: one case without macros)
    full case: NAME=VALUE ...: what it is       the same, under --full only: minutes, gigabytes
    mutation: WITHOUT_X: what is taken away     one of the cases, tried in order, must fail with -DWITHOUT_X
    mutation: WITHOUT_X NAME=VALUE: …           one of the cases that have these macros, too

All files Spin and the C compiler make stand in --build-dir.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ENTRY = re.compile(r"^ \* (?P<kind>full case|case|mutation): (?P<macros>[A-Z0-9_= ]+): (?P<text>.*)$", re.MULTILINE)
# An "invalid end state" is a deadlock: somebody sleeps and nobody is left to wake it.
FOUND = re.compile(r"^pan:\d+: (assertion violated .*|invalid end state) \(at depth \d+\)$", re.MULTILINE)
STATES = re.compile(r"^ *(\d+) states, stored", re.MULTILINE)
ERRORS = re.compile(r"errors: (\d+)$", re.MULTILINE)
INCOMPLETE = re.compile(r"Search not completed|max search depth too small|out of memory|reached -DMEMLIM")

SEARCH_DEPTH = 2_000_000
COMPILER = os.environ.get("CC", "gcc")
MEMORY_MIB = 2_000
MEMORY_FULL_MIB = 16_000


@dataclasses.dataclass(frozen=True)
class Run:
    kind: str
    macros: tuple[str, ...]
    text: str

    @property
    def name(self) -> str:
        return " ".join(self.macros) or "as it stands"

    @property
    def directory(self) -> str:
        return re.sub(r"\W+", "_", self.name)


@dataclasses.dataclass(frozen=True)
class Verdict:
    states: int
    complete: bool
    found: str | None
    seconds: float


def read_runs(model: pathlib.Path, full: bool) -> tuple[list[Run], list[Run]]:
    """The cases and the mutations."""
    source = model.read_text(encoding="utf-8")
    entries = [Run(m["kind"], tuple(m["macros"].split()), m["text"]) for m in ENTRY.finditer(source)]
    cases = [e for e in entries if e.kind == "case"] or [Run("case", (), "")]
    mutations = [e for e in entries if e.kind == "mutation"]
    # Each ordering that the model can do without must be in the list, and nothing else.
    listed = {m.macros[0] for m in mutations}
    used = set(re.findall(r"\bWITHOUT_[A-Z0-9_]+\b", ENTRY.sub("", source)))
    if not mutations or listed != used:
        raise SystemExit(f"{model.name}: mutations listed and used differ: {sorted(listed ^ used)}")
    return cases + [e for e in entries if full and e.kind == "full case"], mutations


def execute(command: list[str], cwd: pathlib.Path) -> str:
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"failed in {cwd}: {' '.join(command)}\n{done.stdout}")
    return done.stdout


def search(model: pathlib.Path, run: Run, build_dir: pathlib.Path) -> Verdict:
    start = time.monotonic()
    build_dir.mkdir(parents=True, exist_ok=True)
    for stale in build_dir.glob("*.trail"):
        stale.unlink()
    execute(["spin", "-a", *(f"-D{m}" for m in run.macros), str(model)], build_dir)
    # A mutation mostly fails early: there, compiling costs more than searching.
    flags = ["-O0" if run.kind == "mutation" else "-O2", "-w", "-DSAFETY"]
    if run.kind == "full case":
        flags += ["-DCOLLAPSE", f"-DMEMLIM={MEMORY_FULL_MIB}"]
    else:
        flags += [f"-DMEMLIM={MEMORY_MIB}"]
    # No reduction by independent steps where a crash may interrupt any of them.
    if re.search(r"\bunless\b", model.read_text(encoding="utf-8")):
        flags += ["-DNOREDUCE"]
    execute([COMPILER, *flags, "-o", "pan", "pan.c"], build_dir)
    output = execute(["./pan", f"-m{SEARCH_DEPTH}", "-w22"], build_dir)
    (build_dir / "pan.out").write_text(output, encoding="utf-8")
    states, errors, found = STATES.search(output), ERRORS.search(output), FOUND.search(output)
    return Verdict(
        states=int(states[1]) if states else 0,
        complete=bool(errors and errors[1] == "0" and not INCOMPLETE.search(output)),
        found=found[1] if found else None,
        seconds=time.monotonic() - start,
    )


def report(model: pathlib.Path, name: str, verdict: Verdict, said: str) -> None:
    print(f"{model.stem:9} {name:32} {verdict.states:>10} states {verdict.seconds:6.1f} s  {said}", flush=True)


def check_case(model: pathlib.Path, case: Run, build_dir: pathlib.Path) -> bool:
    verdict = search(model, case, build_dir / case.directory)
    if verdict.complete and verdict.found is None:
        report(model, case.name, verdict, "holds")
        return True
    report(model, case.name, verdict, f"FAILS: {verdict.found or 'the search did not complete, see pan.out'}")
    macros = " ".join(f"-D{m}" for m in case.macros)
    where = build_dir / case.directory
    print(f"          to replay: cd {where} && spin -k {model.name}.trail -p -g {macros} {model}", flush=True)
    return False


def check_mutation(model: pathlib.Path, mutation: Run, cases: list[Run], build_dir: pathlib.Path) -> bool:
    without, *needed = mutation.macros
    cases = [case for case in cases if set(needed) <= set(case.macros)]
    if not cases:
        raise SystemExit(f"{model.name}: {mutation.name}: no case has these macros")
    for case in cases:
        run = dataclasses.replace(mutation, macros=(without, *case.macros))
        verdict = search(model, run, build_dir / run.directory)
        if verdict.found is not None:
            report(model, mutation.name, verdict, f"caught: {verdict.found}")
            return True
    report(model, mutation.name, verdict, f"NOT CAUGHT: {mutation.text}")
    return False


def check(model: pathlib.Path, build_dir: pathlib.Path, full: bool) -> bool:
    cases, mutations = read_runs(model, full)
    results = [check_case(model, c, build_dir) for c in cases]
    small = [c for c in cases if c.kind == "case"]
    results += [check_mutation(model, m, small, build_dir) for m in mutations]
    return all(results)


def main() -> int:
    parser = argparse.ArgumentParser(description="Check protocol models with Spin.")
    parser.add_argument("models", nargs="*", type=pathlib.Path, metavar="MODEL.pml")
    parser.add_argument("--all", action="store_true", help="every model beside this script")
    parser.add_argument("--full", action="store_true", help="the large cases as well")
    parser.add_argument("--build-dir", type=pathlib.Path, required=True, help="where generated files go")
    args = parser.parse_args()
    models: list[pathlib.Path] = [m.resolve() for m in args.models]
    if args.all:
        models = sorted(p for p in HERE.glob("*.pml") if p.name != "store_buffer.pml")
    if not models:
        parser.error("name a model, or say --all")
    # A list, not a generator: one failing model does not hide the next.
    return 0 if all([check(m, args.build_dir.resolve() / m.stem, args.full) for m in models]) else 1


if __name__ == "__main__":
    sys.exit(main())
