"""Processes that do tasks: what becomes of a task when its process dies, is killed, or gives no sign."""

import logging
import multiprocessing.spawn
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest

from tcd_hf.processing.heartbeat import beat, count_beats, long_work
from tcd_hf.reading import worker, workers
from tcd_hf.reading.workers import Failure, WorkerError, Workers
from tests.tcd_hf.conftest import count_calls


def do_all(work, tasks, num_workers=1, **options) -> list:
    tasks = iter(tasks)
    with Workers(work, num_workers, **options) as workers:
        return list(workers.run(lambda: tasks))


def work_that_dies(task):
    """The number of this process, for task 0; else it dies as it is told."""
    if task:
        os.kill(os.getpid(), task)
    return os.getpid()


def test_tasks_are_done_by_other_processes_at_most_so_many():
    answers = do_all(lambda task: (task * 2, os.getpid()), range(40), num_workers=2)
    assert sorted((task, double) for task, (double, _) in answers) == [(task, 2 * task) for task in range(40)]
    processes = {process for _, (_, process) in answers}
    assert os.getpid() not in processes and 1 <= len(processes) <= 2


def test_no_more_processes_than_tasks(monkeypatch):
    starts = count_calls(monkeypatch, subprocess, "Popen")
    assert do_all(str.upper, ["only"], num_workers=8) == [("only", "ONLY")]
    assert len(starts) == 1
    assert len(do_all(str.upper, "abc", num_workers=8)) == 3
    assert len(starts) <= 1 + 3


def test_tasks_that_follow_from_answers():
    todo = ["a"]

    def take():
        while todo:
            yield todo.pop()

    done = []
    with Workers(str.upper, num_workers=2) as workers:
        for _, answer in workers.run(take):
            done.append(answer)
            if len(done) < 4:
                todo.append(answer.lower() + "b")
    assert done == ["A", "AB", "ABB", "ABBB"]


@pytest.mark.parametrize("how", [signal.SIGABRT, signal.SIGSEGV])
def test_a_task_that_brings_its_process_down_is_given_up_and_no_other(how):
    tasks = [0, 0, int(how), 0, 0, 0]
    answers = do_all(work_that_dies, tasks)
    assert [answer for task, answer in answers if task] == [Failure(how.name)]
    assert len(answers) == len(tasks)
    processes = {answer for task, answer in answers if not task}
    assert 2 <= len(processes) <= 3  # one to start with, and at most one more for each of two tries


def test_another_way_is_tried_after_a_crash():
    answers = do_all(work_that_dies, [int(signal.SIGABRT)], retry=lambda task: 0)
    assert len(answers) == 1 and answers[0][0] == 0 and isinstance(answers[0][1], int)


def test_a_task_that_is_too_long_without_a_sign_is_given_up():
    def work(task):
        for _ in range(task):
            time.sleep(0.6)
            beat()
        if not task:
            time.sleep(600)
        return task

    begin = time.monotonic()
    answers = dict(do_all(work, [1, 0, 10], stall_seconds=4.0))  # 6 s in small steps is no stall
    assert answers == {1: 1, 0: Failure("no sign of it for 4 s", stalled=True), 10: 10}
    assert time.monotonic() - begin < 120


@pytest.mark.parametrize("stopped", [False, True])
def test_a_task_that_waits_however_big_does_not_keep_a_stall_or_a_stop_from_being_seen(stopped):
    def work(task):
        if task == "hangs":
            time.sleep(600)
        return len(task)

    stop, big = threading.Event(), b"x" * 300_000  # more than a pipe holds
    threading.Timer(15.0, stop.set).start() if stopped else None
    answers = []
    tasks = iter(["hangs", big, "ok"])

    def run():
        with Workers(work, 1, 600.0 if stopped else 4.0, stop) as workers:
            answers.extend(workers.run(lambda: tasks))

    running = threading.Thread(target=run, daemon=True)
    running.start()
    running.join(timeout=300)
    assert not running.is_alive()
    stalled = Failure("no sign of it for 4 s", stalled=True)
    assert answers == ([] if stopped else [("hangs", stalled), (big, len(big)), ("ok", 2)])


def test_processes_that_hang_while_they_begin(monkeypatch, tmp_path):
    class Hangs:
        def __reduce__(self):
            return time.sleep, (600,)

    stop = threading.Event()
    threading.Timer(1.0, stop.set).start()
    assert do_all(Hangs(), [1], stop=stop) == []
    monkeypatch.setattr(workers, "BEGIN_SECONDS", 3.0)
    with pytest.raises(WorkerError, match="do not begin within 3 s"):
        Workers(Hangs(), 1, stall_seconds=1.0)


def test_long_work_is_no_stall():
    def work(task):
        with long_work():
            time.sleep(8)
        return task

    assert do_all(work, ["loads"], stall_seconds=4.0) == [("loads", "loads")]


def test_beats_are_counted():
    before = count_beats()
    beat()
    assert count_beats() == before + 1 == count_beats()
    with long_work():
        assert count_beats() < count_beats()


def test_what_work_raises_is_raised_here_and_ends_the_processes():
    class Unlike(Exception):  # of this function: it can be pickled by value only
        def __init__(self, first, second):
            super().__init__(f"{first} and {second}")

    def work(task):
        if task == "value":
            raise ValueError("no such thing")
        raise Unlike("one", "two")

    with pytest.raises(ValueError, match="no such thing"):
        do_all(work, ["value"])
    with pytest.raises(Exception, match="one and two"):
        do_all(work, ["other"])


def test_an_answer_that_cannot_be_understood_is_an_error_and_no_death(tmp_path):
    class Answer:
        def __reduce__(self):
            return int, ("no number",)

    def work(task):
        (tmp_path / str(os.getpid())).touch()
        return Answer()

    with pytest.raises(ValueError, match="no number"):
        do_all(work, [1])
    assert len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_told_as_it_is_costs_no_task(caplog, capfd):
    """A category of a user's script, records whose arguments do not fit, and warnings that are errors here."""

    class Kept(UserWarning):  # of this function: it can be pickled by value only
        pass

    def work(task):
        logging.getLogger("tests").warning("%d of %d", "one")
        warnings.warn(f"{task} is old", Kept, stacklevel=1)
        return task

    with pytest.warns(UserWarning, match="one is old"):
        assert do_all(work, ["one"]) == [("one", "one")]
    assert "one" in capfd.readouterr().err
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert do_all(work, ["two"]) == [("two", "two")]
    assert "two is old" in caplog.text


@pytest.mark.parametrize("unknown", [None, ""])
def test_without_a_python_to_run(monkeypatch, unknown):
    monkeypatch.setattr(multiprocessing.spawn, "get_executable", lambda: unknown)
    with pytest.raises(WorkerError, match=r"does not know its own program"):
        Workers(str.upper, 1)


def test_work_that_cannot_be_had_elsewhere():
    lock = threading.Lock()
    with pytest.raises(WorkerError, match="cannot be brought there"):
        Workers(lambda task: lock.locked(), 1)

    class Missing:
        def __reduce__(self):
            return __import__, ("no_such_module",)

    with pytest.raises(WorkerError, match="no_such_module"):
        Workers(Missing(), 1)


def test_processes_that_are_killed_from_outside_are_no_tasks_fault(tmp_path):
    """Ten kills at random moments, also while a process begins: every task is done, once."""
    chance = random.Random(0)
    living = tmp_path / "living"
    living.mkdir()

    def work(task):
        (living / str(os.getpid())).touch()
        time.sleep(0.1)
        return task * task

    done = threading.Event()

    def kill():
        kills = 0
        while kills < 10 and not done.wait(chance.uniform(0.02, 0.3)):
            for file in living.iterdir():
                file.unlink()
                os.kill(int(file.name), signal.SIGKILL)
                kills += 1

    killer = threading.Thread(target=kill)
    killer.start()
    answers = do_all(work, range(60), num_workers=2)
    done.set()
    killer.join()
    assert sorted(answers) == [(task, task * task) for task in range(60)]


def test_one_bad_task_does_not_slow_the_others():
    """A death costs the task that was at work one more try, and the others nothing."""
    counts = {}

    def work(task):
        if task == 3:
            os.abort()
        return task

    for task, answer in do_all(work, range(200), num_workers=2):
        counts[task] = counts.get(task, 0) + 1
        assert answer == (Failure("SIGABRT") if task == 3 else task)
    assert counts == dict.fromkeys(range(200), 1)


def test_a_stop_ends_it_within_a_moment():
    stop = threading.Event()
    threading.Timer(1.0, stop.set).start()
    begin = time.monotonic()
    assert do_all(lambda task: time.sleep(600), ["long"], stop=stop) == []
    assert time.monotonic() - begin < 60


def test_what_is_printed_is_no_answer(capfd):
    def work(task):
        print("printed", flush=True)
        os.system("echo by another program")
        return sys.stdin.read()

    assert do_all(work, [1]) == [(1, "")]
    captured = capfd.readouterr()
    assert captured.out == "" and "printed" in captured.err and "by another program" in captured.err


SCRIPT = """
import os, sys, time
from tcd_hf.reading.workers import Workers

def work(task):
    print(os.getpid(), file=sys.stderr, flush=True)
    time.sleep(600)

tasks = iter([1])
with Workers(work, 1) as workers:  # without a guard for the main module: none is needed
    list(workers.run(lambda: tasks))
"""


PAUSED = """
import os, sys, time
from tcd_hf.reading.workers import Workers
from tcd_hf.processing.heartbeat import beat

def work(task):
    print("at work", file=sys.stderr, flush=True)
    for _ in range(20):
        time.sleep(0.3)
        beat()
    return task

tasks = iter([1])
with Workers(work, 1, stall_seconds=6.0) as workers:
    print(list(workers.run(lambda: tasks)), flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="stops by signals")
def test_a_pause_of_all_is_no_stall(tmp_path):
    """Ctrl-Z, and fg after a while."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", PAUSED], env=environment, start_new_session=True, **pipes)
    assert process.stderr.readline() == "at work\n"
    os.killpg(process.pid, signal.SIGSTOP)
    time.sleep(10)
    os.killpg(process.pid, signal.SIGCONT)
    output, errors = process.communicate(timeout=120)
    assert output == "[(1, 1)]\n", errors


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks at a process as Linux shows it")
def test_a_process_is_deaf_to_ctrl_c_before_it_is_told_anything():
    process = subprocess.Popen([sys.executable, worker.__file__], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    ignores, deadline = False, time.monotonic() + 30
    while not ignores and time.monotonic() < deadline:
        time.sleep(0.1)
        status = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
        ignores = bool(int(status["SigIgn"], 16) >> (signal.SIGINT - 1) & 1)
    process.kill()
    process.communicate()
    assert ignores


@pytest.mark.skipif(os.name != "posix", reason="kills by signals")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_the_one_that_started_them(tmp_path, how):
    script = tmp_path / "script" / "script.py"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    (tmp_path / "pickle.py").write_text("raise SystemExit('a module of the folder that the user is in')")
    process = subprocess.Popen(
        [sys.executable, script], stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    )
    first = process.stderr.readline()
    assert first.strip().isdigit(), first + process.stderr.read()
    process.send_signal(how)
    process.wait(timeout=60)
    process.stderr.close()
    deadline = time.monotonic() + 30
    while _is_running(int(first)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _is_running(int(first))


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")
