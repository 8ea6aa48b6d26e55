"""Interruptions: what a library makes of one, they end what is done."""

import contextlib
import os
import signal
import threading

import pytest

from retain.interruption import interruptible, raise_if_interrupted


def interrupt(number=signal.SIGINT):
    os.kill(os.getpid(), number)


def as_another_error():
    try:
        interrupt()
    except KeyboardInterrupt as interruption:
        raise ValueError("a class could not be built") from interruption


def dropped_and_gone_on():
    with contextlib.suppress(BaseException):
        interrupt()
    raise_if_interrupted()


def uninterrupted():
    raise_if_interrupted()
    raise ValueError("another error")


def after_a_checkpoint():
    try:
        interrupt()
    except KeyboardInterrupt as interruption:
        raise KeyboardInterrupt("a checkpoint was written") from interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_keyboard_interrupt(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), interruptible():
        interrupt(number)
    assert signal.getsignal(number) is before


def test_an_error_that_a_library_made_of_it_is_one_too():
    with pytest.raises(KeyboardInterrupt) as raised, interruptible():
        as_another_error()
    assert isinstance(raised.value.__cause__, ValueError)


def test_one_that_was_dropped_ends_what_comes_next():
    with pytest.raises(KeyboardInterrupt), interruptible():
        dropped_and_gone_on()


def test_other_errors_stay_what_they_are():
    with pytest.raises(KeyboardInterrupt), interruptible():
        interrupt()
    with pytest.raises(ValueError, match="another"), interruptible():
        uninterrupted()


def test_what_is_said_of_it_is_kept():
    with pytest.raises(KeyboardInterrupt, match="a checkpoint was written"), interruptible():
        after_a_checkpoint()


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            interrupt()
    finally:
        signal.signal(signal.SIGINT, before)


def test_beside_the_main_thread_nothing_is_received():
    done = []

    def work():
        with interruptible():
            done.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [signal.getsignal(signal.SIGTERM)]
