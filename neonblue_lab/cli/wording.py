"""Numbers in few characters, as displays show them."""


def brief(count: float) -> str:
    """A count to three digits: 1,234 is `1.23k`."""
    for unit in ("", "k", "M"):
        if count < 999.5:
            return f"{count:.3g}{unit}"
        count /= 1000
    return f"{count:,.3g}G" if count < 999.5 else f"{count:,.0f}G"


def lasting(seconds: float) -> str:
    """A length of time in the unit that suits it: `0.4 s`, `12 s`, `3 min`, `5 h`, `9 d`."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    for unit, size, most in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < most * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:,.0f} d"


def size(count: float) -> str:
    """A number of bytes: `812 bytes`, `34 kB`, `1.2 GB`."""
    if count < 1000:
        return f"{count:,.0f} bytes"
    for unit in ("kB", "MB"):
        count /= 1000
        if count < 999.5:
            return f"{count:.3g} {unit}"
    return f"{count / 1000:,.1f} GB"


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 dead letter`, `12 dead letters`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
