"""A wall clock that is set back or forward for one process while it runs, as an administrator or NTP would for all.

A few lines of C, loaded before the C library, answer for `clock_gettime`, `gettimeofday` and `time`; the monotonic clock
and all waiting stay as they are. (libfaketime shifts those too, and its sleeps fail when the clock is set back.)
"""

import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long long *shift;
static int (*real)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
    int file = open(getenv("SHIFTED_CLOCK"), O_RDONLY);
    void *mapped = mmap(0, sizeof *shift, PROT_READ, MAP_SHARED, file, 0);
    if (file < 0 || mapped == MAP_FAILED) abort();
    close(file);
    real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    shift = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (!failed && shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *shift;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    int failed = clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return failed;
}

time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into) *into = now.tv_sec;
    return now.tv_sec;
}
"""


class ClockUnavailable(Exception):
    """No C compiler is on the path."""


class ShiftedClock:
    """Made in `folder`, right at first.

    Attributes:
        environment: what a process needs in its environment to live by this clock.
    """

    def __init__(self, folder: Path) -> None:
        if shutil.which("cc") is None:
            raise ClockUnavailable("a C compiler (`cc`) is needed to give a process a clock of its own")
        library, self._file = folder / "clock.so", folder / "clock"
        self.shift(0)
        command = ["cc", "-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", str(library), "-ldl"]
        subprocess.run(command, input=SOURCE, text=True, check=True)
        self.environment = {"LD_PRELOAD": str(library), "SHIFTED_CLOCK": str(self._file)}

    def shift(self, seconds: int) -> None:
        """Set the clock so many seconds ahead of the right time, or back where negative, for whoever lives by it now."""
        with open(self._file, "r+b" if self._file.exists() else "w+b") as file:
            file.write(struct.pack("=q", seconds))
