"""Checks of single values: check digits, dates, times. Each raises ValueError that says what is wrong."""

from __future__ import annotations

_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def check_digit(digits: str) -> int:
    """The check digit for these digits: modulo 10, weights 3 and 1 from the right.

    GS1 General Specifications, section 7.9, for GTIN, SSCC, GLN, GSRN and the other keys that end in one.
    """
    return -sum(int(digit) * (3 if at % 2 == 0 else 1) for at, digit in enumerate(reversed(digits))) % 10


def check_checked(value: str) -> None:
    """Digits whose last is their check digit."""
    right = check_digit(value[:-1])
    if int(value[-1]) != right:
        raise ValueError(f"the check digit of {value} is {value[-1]}, it should be {right}")


def _check_day(value: str, month: int, day: int, *, leap: bool, day_may_be_zero: bool) -> None:
    if not 1 <= month <= 12:
        raise ValueError(f"the date {value} has the month {month:02}, allowed are 01..12")
    last = 28 if month == 2 and not leap else _DAYS[month - 1]
    first = 0 if day_may_be_zero else 1
    if not first <= day <= last:
        raise ValueError(f"the date {value} has the day {day:02}, allowed are {first:02}..{last}")


def check_date(value: str) -> None:
    """YYMMDD with a day. A two-digit year is a leap year if 4 divides it: 2000 was one (GS1, section 7.12)."""
    month, day = int(value[2:4]), int(value[4:6])
    _check_day(value, month, day, leap=int(value[:2]) % 4 == 0, day_may_be_zero=False)


def check_date_or_month(value: str) -> None:
    """YYMMDD where day 00 stands for the whole month (GS1 General Specifications, section 3.4)."""
    month, day = int(value[2:4]), int(value[4:6])
    _check_day(value, month, day, leap=int(value[:2]) % 4 == 0, day_may_be_zero=True)


def check_long_date(value: str) -> None:
    """YYYYMMDD (ISO 8601 basic format)."""
    year = int(value[:4])
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    _check_day(value, int(value[4:6]), int(value[6:8]), leap=leap, day_may_be_zero=False)


def check_time(value: str) -> None:
    """HHMM, 0000 to 2359."""
    if int(value[:2]) > 23 or int(value[2:4]) > 59:
        raise ValueError(f"the time {value} is none: allowed are 0000..2359")


def check_date_and_hour(value: str) -> None:
    """YYMMDDHH."""
    check_date(value[:6])
    if int(value[6:8]) > 23:
        raise ValueError(f"the time {value} has the hour {value[6:8]}, allowed are 00..23")


def check_piece_of_total(value: str) -> None:
    """Two digits each for a piece and how many there are."""
    piece, total = int(value[:2]), int(value[2:4])
    if not 1 <= piece <= total:
        raise ValueError(f"{value} is piece {piece} of {total}")


def check_yes_or_no(value: str) -> None:
    """0 or 1."""
    if value not in {"0", "1"}:
        raise ValueError(f"{value} is neither 0 nor 1")


def check_zero(value: str) -> None:
    """A digit that is always 0."""
    if value != "0":
        raise ValueError(f"the fill digit is {value}, it should be 0")
