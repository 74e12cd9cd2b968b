from __future__ import annotations

import pytest

from bench import wrk

SAID = """Running 3s test @ http://127.0.0.1:80/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     6.46ms    1.02ms  12.11ms   71.20%
    Req/Sec     5.13k   310.00     5.60k    70.00%
  Latency Distribution
     50%    {p50}
     75%    7.00ms
     90%    8.00ms
     99%    {p99}
  15339 requests in 3.00s, 2.20MB read
{rest}Requests/sec:   5113.42
Transfer/sec:    750.01KB
"""


@pytest.mark.parametrize(
    ("p50", "p99", "expected"),
    [
        ("6.46ms", "108.00ms", (6.46, 108.0)),
        ("790.00us", "1.04s", (0.79, 1040.0)),
        ("2.00s", "1.10m", (2000.0, 66000.0)),
    ],
)
def test_latency_is_in_milliseconds_whatever_the_unit(p50, p99, expected):
    said = wrk.parse(SAID.format(p50=p50, p99=p99, rest=""))
    assert (said.p50, said.p99) == expected
    assert (said.rate, said.failed) == (5113.42, 0)


@pytest.mark.parametrize(
    ("rest", "failed"),
    [
        ("  Socket errors: connect 1, read 2, write 3, timeout 4\n", 10),
        ("  Non-2xx or 3xx responses: 7\n", 7),
        ("  Socket errors: connect 0, read 1, write 0, timeout 0\n  Non-2xx or 3xx responses: 2\n", 3),
    ],
)
def test_every_kind_of_failure_counts(rest, failed):
    assert wrk.parse(SAID.format(p50="1.00ms", p99="2.00ms", rest=rest)).failed == failed


def test_what_is_no_result_is_refused():
    with pytest.raises(ValueError, match="unable to connect"):
        wrk.parse("unable to connect to 127.0.0.1:80 Connection refused\n")
