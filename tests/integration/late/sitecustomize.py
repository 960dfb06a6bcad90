"""Sets the clock of a Python process back by `LATE_S` seconds, as on a machine without NTP."""

import os
import time

_late_s = float(os.environ.get("LATE_S", "0"))
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() - _late_s
time.time_ns = lambda: _time_ns() - int(_late_s * 1e9)
