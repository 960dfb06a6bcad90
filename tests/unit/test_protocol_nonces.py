"""Both stores of nonces keep the same promises."""

from collections.abc import Callable
from pathlib import Path

import pytest

from compute.errors import Code, ComputeError
from compute.protocol.nonces import MemoryNonces, NonceStore, SqliteNonces

SECOND = 1_000_000_000
NOW = 1_800_000_000 * SECOND
Make = Callable[[], NonceStore]


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> NonceStore:
    """An empty store that remembers for a minute."""
    return MemoryNonces(60) if request.param == "memory" else SqliteNonces(tmp_path / "n.db", 60)


def test_a_pair_is_new_once(store: NonceStore) -> None:
    """The same nonce of another hotkey is another pair."""
    assert store.check_and_store("a", NOW, NOW)
    assert not store.check_and_store("a", NOW, NOW)
    assert store.check_and_store("b", NOW, NOW)
    assert store.check_and_store("a", NOW + 1, NOW)


def test_a_clock_that_jumps_back_opens_no_window(store: NonceStore) -> None:
    """What may have been forgotten stays refused even when it looks fresh again."""
    assert store.check_and_store("a", NOW, NOW)
    later = NOW + 120 * SECOND
    for index in range(600):  # past any batch in which a store forgets
        assert store.check_and_store("a", later + index, later + index)
    assert not store.check_and_store("a", NOW, NOW)
    assert not store.check_and_store("b", NOW - 1, NOW)


def test_processes_share_what_was_seen(tmp_path: Path) -> None:
    """A nonce that one process took is refused by another on the same file."""
    first, second = SqliteNonces(tmp_path / "n.db"), SqliteNonces(tmp_path / "n.db")
    assert first.check_and_store("a", NOW, NOW)
    assert not second.check_and_store("a", NOW, NOW)
    assert second.check_and_store("a", NOW + 1, NOW)
    assert not first.check_and_store("a", NOW + 1, NOW)


def test_the_shared_store_does_not_grow_without_end(tmp_path: Path) -> None:
    """What is too old to matter is removed."""
    store = SqliteNonces(tmp_path / "n.db", 60)
    for index in range(3000):
        moment = NOW + index * SECOND
        assert store.check_and_store("a", moment, moment)
    left = store._db.execute("SELECT count(*) FROM nonces").fetchone()[0]
    assert left < 60 + 2 * 512


def test_an_unusable_file_is_a_plain_error(tmp_path: Path) -> None:
    """A folder in the place of the file is reported, not raised as SQLite's own error."""
    with pytest.raises(ComputeError) as caught:
        SqliteNonces(tmp_path)
    assert caught.value.code is Code.STORAGE_FAILED
