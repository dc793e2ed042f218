"""The messages of a daemon become the lines of a log."""

from gregory.launch.docker.logs import joined

STAMP = b"2026-01-02T03:04:05.6Z "


def test_parts_of_a_long_line_have_one_time_stamp():
    messages = [STAMP + b"long ", STAMP + b"line ", STAMP + b"end\n", STAMP + b"next\n", STAMP + b"unfinished"]

    assert b"".join(joined(messages)) == STAMP + b"long line end\n" + STAMP + b"next\n" + STAMP + b"unfinished"
