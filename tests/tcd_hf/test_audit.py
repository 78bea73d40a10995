"""What is said of packages and their advisories."""

import subprocess

import pytest

from scripts import audit

FINE = {"name": "a", "version": "1.0", "vulns": []}
BAD = {
    "name": "b",
    "version": "2.0",
    "vulns": [{"id": "CVE-1", "fix_versions": ["2.1"]}, {"id": "X", "fix_versions": []}],
}
UNKNOWN = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "status", "line"),
    [
        ([FINE, FINE], 0, "2 of 2 packages audited, 0 of them vulnerable"),
        ([FINE, UNKNOWN], 0, "1 of 2 packages audited, 0 of them vulnerable"),
        (
            [FINE, BAD, UNKNOWN],
            1,
            "2 of 3 packages audited, 1 of them vulnerable\nb 2.0: CVE-1 (fixed in 2.1), X (fixed in none)",
        ),
        ([UNKNOWN, UNKNOWN], 0, "not audited: no advisories for any of 2 packages could be had"),
    ],
)
def test_a_report_is_a_pass_only_where_something_was_audited(packages, status, line):
    assert audit.judge({"dependencies": packages}) == (status, line)


def test_a_service_that_does_not_answer_is_no_pass(monkeypatch, capsys):
    failed = subprocess.CompletedProcess([], 1, "", "Traceback\nConnectionError: no route\n")
    monkeypatch.setattr(subprocess, "run", lambda *command, **options: failed)
    assert audit.main() == 0
    assert capsys.readouterr().out == "not audited: ConnectionError: no route\n"

    def take_long(command, timeout, **options):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", take_long)
    assert audit.main() == 0
    assert capsys.readouterr().out.startswith("not audited: the advisory service took more than")
