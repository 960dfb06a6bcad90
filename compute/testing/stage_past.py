"""Months of hourly scores, made by the database itself: millions of rows would take minutes."""

import sqlite3

from compute.domain.history import HOUR_MS

_HOURS = """
CREATE TEMPORARY TABLE hour_ AS
WITH RECURSIVE n(h) AS (SELECT 0 UNION ALL SELECT h + 1 FROM n WHERE h + 1 < :hours)
SELECT h, :first + h * :hour AS at_ms FROM n
"""
# Waves and noise by whole-number arithmetic on miner and hour; an outage now and then.
_PAST_SCORES = """
INSERT INTO score (miner, at_ms, uid, share_ppm, score, capacity,
                   reliability, ramp, probe, rental, penalty, address, zero)
SELECT miner, at_ms, uid,
       CASE WHEN down THEN 0 ELSE share_ppm * wave / 1000 END,
       CASE WHEN down THEN 0 ELSE base * wave / 1000 END,
       base,
       CASE WHEN down THEN 760000 ELSE 1000 * min(wave, 1000) END,
       1000000,
       CASE WHEN down THEN 0 ELSE 1000000 END,
       1000000, 1000000, 1000000,
       CASE WHEN down THEN (SELECT min(id) FROM note) END
FROM (
    SELECT m.miner, m.uid, m.share_ppm, max(m.score, 120000) AS base, h.at_ms,
           870 + (h.h / 30 * 7919 + m.miner * 104729) % 90 + (h.h * 31 + m.miner) % 40 AS wave,
           (h.h / 9 + m.miner * 31) % 173 = 0 AS down
    FROM newest m CROSS JOIN hour_ h
)
"""
_PAST_EPOCHS = """
INSERT INTO epoch (epoch_block, block, at_ms, miners, earning, score, capacity, vector)
SELECT :block + h * 300, :block + h * 300 + 150, h.at_ms, e.miners,
       e.earning * (700 + h * 280 / :hours + (h * 37 % 19)) / 1000,
       e.score * (650 + h * 330 / :hours + (h * 53 % 23)) / 1000,
       e.capacity * (680 + h * 320 / :hours) / 1000, e.vector
FROM hour_ h CROSS JOIN (SELECT * FROM epoch WHERE at_ms = :last) e
"""


def add_past(connection: sqlite3.Connection, *, hours: int, last_ms: int, block: int) -> None:
    """Add so many hours before the one epoch that is there, made like it.

    Args:
        connection: to a history that nobody else has open.
        hours: how many.
        last_ms: moment of the epoch that is there.
        block: of the chain then.
    """
    first_ms, first_block = last_ms - hours * HOUR_MS, block - 300 * hours - 1000
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA journal_mode=OFF")
    connection.execute(_HOURS, {"hours": hours, "first": first_ms, "hour": HOUR_MS})
    connection.execute("CREATE TEMPORARY TABLE newest AS SELECT * FROM score ORDER BY miner")
    connection.execute("DELETE FROM score")  # rows in the order of the key are added fastest
    connection.execute(_PAST_SCORES)
    connection.execute("INSERT INTO score SELECT * FROM newest")
    connection.execute(_PAST_EPOCHS, {"last": last_ms, "block": first_block, "hours": hours})
    connection.commit()
