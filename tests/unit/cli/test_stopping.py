"""The first signal asks, the second ends."""

import signal
import subprocess
import sys

import pytest

SCRIPT = """
import sys, time
from neonblue_lab.cli.stopping import stopped_by_signals

def say(word):
    sys.stdout.write(word + "\\n")
    sys.stdout.flush()

with stopped_by_signals(lambda: say("asked")) as stop:
    say("ready")
    stop.wait()
    if sys.argv[1] == "orderly":
        say("finished")
    else:
        time.sleep(60)
"""


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def ending(request: pytest.FixtureRequest) -> signal.Signals:
    number: signal.Signals = request.param
    return number


def started(how: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, how], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_the_first_signal_lets_the_work_be_finished(ending: signal.Signals) -> None:
    with started("orderly") as process:
        process.send_signal(ending)
        out, _ = process.communicate(timeout=30)
    assert sorted(out.split()) == ["asked", "finished"]
    assert process.returncode == 0


def test_the_second_ends_the_process_wherever_it_is(ending: signal.Signals) -> None:
    with started("stuck") as process:
        process.send_signal(ending)
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
        process.send_signal(ending)
        assert process.wait(timeout=30) == -ending


def test_without_a_signal_nothing_is_told() -> None:
    script = SCRIPT.replace("stop.wait()", "pass").replace("time.sleep(60)", "pass")
    done = subprocess.run(
        [sys.executable, "-c", script, "orderly"], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.split() == ["ready", "finished"]
