"""A second implementation of the chain, from its description alone and with no regard for speed.

It shares no code with the product, so that a mistake in one shows against the other.
"""

import hashlib

import numpy as np

MASK = 0xFFFFFFFF


def _mix(x: int, first: int, a: int, second: int, b: int) -> int:
    x ^= x >> first
    x = x * a & MASK
    x ^= x >> second
    x = x * b & MASK
    return x ^ (x >> 16)


def _mix_a(x: int) -> int:
    return _mix(x & MASK, 16, 0x85EBCA6B, 13, 0xC2B2AE35)


def _mix_b(x: int) -> int:
    return _mix(x & MASK, 16, 0x7FEB352D, 15, 0x846CA68B)


def _derive(seed: bytes, *labels: object) -> tuple[int, int]:
    text = seed + b"|" + "|".join(str(label) for label in labels).encode()
    digest = hashlib.blake2b(text, digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def _word(key: tuple[int, int], c: int) -> int:
    return _mix_b(_mix_a(c * 0x9E3779B1 + key[0]) + key[1])


def _matrix(key: tuple[int, int], rows: int, columns: int) -> np.ndarray:
    stream = b"".join(_word(key, c).to_bytes(4, "little") for c in range(rows * columns // 4))
    return np.frombuffer(stream, np.int8).reshape(rows, columns).astype(np.int64)


def _row(key: tuple[int, int], first: int, count: int, lowest: int) -> np.ndarray:
    return np.array([_word(key, first + c) | lowest for c in range(count)], np.int64)


def _top(words: np.ndarray) -> np.ndarray:
    return ((words & MASK) >> 24).astype(np.uint8).view(np.int8).astype(np.int64)


def _bytes(words: np.ndarray) -> bytes:
    return (words & MASK).astype("<u4").tobytes()


def _sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _root(hashes: list[bytes]) -> bytes:
    while len(hashes) & (len(hashes) - 1):
        hashes.append(bytes(32))
    while len(hashes) > 1:
        pairs = range(0, len(hashes), 2)
        hashes = [_sha(b"\x01" + hashes[at] + hashes[at + 1]) for at in pairs]
    return hashes[0]


def _leaves(data: bytes) -> list[bytes]:
    return [_sha(b"\x00" + data[at : at + 1024]) for at in range(0, len(data), 1024)]


def roots(slot: bytes, sub: bytes, n: int, m: int, ns: int, kappa: bytes) -> tuple[bytes, bytes]:
    """Return root_A and root_B."""
    b = _matrix(_derive(slot, "B", n), n, n).T
    k = _matrix(_derive(slot, "K", n), 8, n).T
    history = [_matrix(_derive(sub, "V0", n), n, n)]
    block_roots = []
    for j in range(1, m + 1):
        folds = history[j - 1] @ k
        block_roots.append(_root(_leaves(_bytes(folds))))
        if j < m:
            mixed = np.stack([_reached(history, folds[r].tolist(), j, r) for r in range(n)])
            mu = _row(_derive(slot, "mu", n), j * n, n, 1)
            nu = _row(_derive(sub, "nu", n), j * n, n, 0)
            history.append(_top((mixed @ b) * mu + nu[:, None]))
    swept = np.concatenate(history) @ _matrix(_derive(kappa, "sweep", n), ns, n).T
    z = _top(swept * _row(_derive(kappa, "mu", n), 0, ns, 1))
    y = z @ _matrix(_derive(kappa, "fold", n), 8, ns).T
    return _root(block_roots), _root(_leaves(_bytes(y[:, :2])))


def _reached(history: list[np.ndarray], fold: list[int], j: int, r: int) -> np.ndarray:
    d0, d1, d2 = (word & MASK for word in fold[:3])
    a = _mix_b(_mix_a(d0 + j * 0x9E3779B1 + r * 0x7FEB352D) ^ d1)
    b = _mix_a((a ^ d2) + r)
    n = len(history[0])
    return history[j - 1][r] ^ history[(a & 0x7FFFFFFF) % j][(b & 0x7FFFFFFF) % n]
