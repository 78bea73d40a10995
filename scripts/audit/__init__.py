"""Known vulnerabilities of what is installed, `python -m scripts.audit`.

pip-audit calls it a pass when no advisory service answers; here that is a line that says so, and no pass.
"""

import json
import subprocess
import sys
from typing import Any

__all__ = ["judge", "main"]

COMMAND = [sys.executable, "-m", "pip_audit", "--local", "--skip-editable", "--progress-spinner=off", "--timeout=5"]
SECONDS = 60  # that all answers may take


def judge(report: dict[str, Any]) -> tuple[int, str]:
    """The exit status and the line for a report of pip-audit: 1 where something is vulnerable."""
    packages = report["dependencies"]
    unknown = [package for package in packages if "skip_reason" in package]
    bad = [package for package in packages if package.get("vulns")]
    if len(unknown) == len(packages):
        return 0, f"not audited: no advisories for any of {len(packages)} packages could be had"
    lines = [f"{len(packages) - len(unknown)} of {len(packages)} packages audited, {len(bad)} of them vulnerable"]
    for package in bad:
        found = ", ".join(
            f"{each['id']} (fixed in {' '.join(each['fix_versions']) or 'none'})" for each in package["vulns"]
        )
        lines.append(f"{package['name']} {package['version']}: {found}")
    return int(bool(bad)), "\n".join(lines)


def main() -> int:
    """Prints what was found; returns the exit status."""
    try:
        done = subprocess.run([*COMMAND, "--format=json"], capture_output=True, text=True, timeout=SECONDS)
        status, line = judge(json.loads(done.stdout))
    except subprocess.TimeoutExpired:
        status, line = 0, f"not audited: the advisory service took more than {SECONDS} s"
    except ValueError:  # no report: the last line says why
        status, line = 0, f"not audited: {(done.stderr.strip() or 'no report').splitlines()[-1]}"
    print(line)
    return status
