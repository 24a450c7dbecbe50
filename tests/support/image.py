"""The Dockerfile, read and built without an engine."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.programs import ROOT, missing

DOCKERFILE = ROOT / "runtime" / "image" / "Dockerfile"

_CONTINUED = re.compile(r"\\\n\s*")
_ROOTED = re.compile(r"(?<![\w.])/(?=(?:app|build|opt)\b)")


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction of a Dockerfile."""

    word: str
    rest: str


def stages() -> list[list[Step]]:
    """The steps of each stage, FROM included; ARG stands before the first."""
    text = _CONTINUED.sub(" ", re.sub(r"(?m)^#.*\n", "", DOCKERFILE.read_text()))
    found: list[list[Step]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM" or not found:
            found.append([])
        found[-1].append(Step(word, rest.strip()))
    return found


def final(word: str) -> str:
    """The rest of the one step of the last stage that begins with *word*."""
    (rest,) = (step.rest for step in stages()[-1] if step.word == word)
    return rest


def command(text: str) -> list[str]:
    """The arguments of a CMD in the form that no shell reads."""
    arguments: list[str] = json.loads(text[text.index("[") :])
    return arguments


def environment() -> dict[str, str]:
    """What the last stage sets."""
    return dict(pair.split("=", 1) for pair in shlex.split(final("ENV")))


class Image:
    """The image's files below *root*, in place of those below /."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def build(self) -> None:
        """Do what the stage `build` does."""
        where = self.root
        # The name that the image's Python goes by.
        self._base.mkdir()
        (self._base / "python").symlink_to(_python_for_all())
        for step in stages()[1]:
            if step.word == "WORKDIR":
                where = Path(self.rooted(step.rest))
                where.mkdir()
            elif step.word == "COPY":
                *sources, target = step.rest.split()
                self._copy(sources, where / self.rooted(target))
            elif step.word == "RUN":
                self._run(step.rest, where)

    def program(
        self, arguments: list[str], **environ: str
    ) -> tuple[str, tuple[str, ...]]:
        """The program, with its arguments, that runs *arguments* as the image does."""
        path = f"PATH={self.rooted(environment()['PATH']).replace('$PATH', os.defpath)}"
        pairs = {key: value for key, value in environment().items() if key != "PATH"}
        return "/usr/bin/env", (
            "--ignore-environment",
            f"--chdir={self.rooted(final('WORKDIR'))}",
            path,
            *(f"{key}={value}" for key, value in (pairs | environ).items()),
            *_as_user(final("USER")),
            *arguments,
        )

    def rooted(self, text: str) -> str:
        """*text* with the image's paths as they are here."""
        return _ROOTED.sub(f"{self.root}/", text)

    def files(self) -> dict[str, int]:
        """All files, and when each was written."""
        return {
            str(path.relative_to(self.root)): path.lstat().st_mtime_ns
            for path in self.root.rglob("*")
        }

    @property
    def _base(self) -> Path:
        return self.root / "base"

    @staticmethod
    def _copy(sources: list[str], target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        for source in sources:
            if (ROOT / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / source, target, ignore=ignored)
            else:
                shutil.copy(ROOT / source, target)

    def _run(self, line: str, where: Path) -> None:
        path = f"{self._base}{os.pathsep}{os.environ['PATH']}"
        environ = os.environ | {"PATH": path}
        environ.pop("VIRTUAL_ENV", None)
        environ.pop("PYTHONPATH", None)
        done = subprocess.run(
            ["sh", "-c", self.rooted(line)],
            cwd=where,
            env=environ,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def _python_for_all() -> Path:
    """A Python that any user may run, so none below the home of root."""
    for python in (Path(sys.base_prefix) / "bin" / "python3", Path("/usr/bin/python3")):
        real = python.resolve()
        if real.exists() and all(above.stat().st_mode & 1 for above in real.parents):
            return real
    return missing("a Python that any user may run")


def _as_user(user: str) -> tuple[str, ...]:
    """What runs a program as *user*; nothing if we are not root ourselves."""
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv") or missing("setpriv")
    uid, gid = user.split(":")
    return (
        *(setpriv, f"--reuid={uid}", f"--regid={gid}", "--clear-groups"),
        *("--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"),
    )
