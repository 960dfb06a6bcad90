"""Sealing, possession and key handling hold for every input and fail for every tampering."""

import shutil
import subprocess
from base64 import b64decode, b64encode

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from compute.crypto import envelope, possession, sshkeys
from compute.errors import Code, ComputeError

KEY = rsa.generate_private_key(65537, 3072)
OTHER = rsa.generate_private_key(65537, 3072)
BOUND = envelope.context("a" * 32, "miner", "renter")


def pem(key) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


@given(st.binary(max_size=20_000))
@settings(max_examples=30, deadline=None)
def test_what_is_sealed_opens_to_the_same(content):
    """Any content comes back as it was, and never stands in the envelope in clear."""
    sealed = envelope.seal(content, KEY.public_key(), BOUND)
    assert envelope.unseal(sealed, KEY, BOUND) == content
    assert len(content) < 8 or content not in b64decode(sealed)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_changed_envelope_does_not_open(data):
    """Flipping any single bit anywhere is noticed, with one and the same error."""
    raw = bytearray(b64decode(envelope.seal(b"credentials", KEY.public_key(), BOUND)))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ComputeError) as caught:
        envelope.unseal(b64encode(raw).decode(), KEY, BOUND)
    assert caught.value.code is Code.CREDENTIALS


@given(
    st.one_of(st.text(max_size=200), st.binary(max_size=400).map(lambda b: b64encode(b).decode()))
)
@settings(max_examples=100, deadline=None)
def test_garbage_is_no_envelope(text):
    """Whatever a stranger sends instead of an envelope is refused, never a crash."""
    with pytest.raises(ComputeError):
        envelope.unseal(text, KEY, BOUND)


@pytest.mark.parametrize(
    "context",
    [
        envelope.context("b" * 32, "miner", "renter"),
        envelope.context("a" * 32, "thief", "renter"),
        envelope.context("a" * 32, "miner", "thief"),
    ],
)
def test_an_envelope_cannot_be_moved(context):
    """An envelope opens only for the lease and the two hotkeys that it was made for."""
    sealed = envelope.seal(b"credentials", KEY.public_key(), BOUND)
    with pytest.raises(ComputeError):
        envelope.unseal(sealed, KEY, context)


def test_an_envelope_is_for_one_key():
    """Another renter's private key opens nothing."""
    sealed = envelope.seal(b"credentials", KEY.public_key(), BOUND)
    with pytest.raises(ComputeError):
        envelope.unseal(sealed, OTHER, BOUND)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        pem(rsa.generate_private_key(65537, 2048)),
        pem(rsa.generate_private_key(3, 3072)),
        pem(ec.generate_private_key(ec.SECP256R1())),
    ],
)
def test_weak_and_foreign_keys_are_refused(text):
    """Short RSA keys, odd exponents, other kinds and damaged text are `bad_key`."""
    with pytest.raises(ComputeError) as caught:
        envelope.load_public_key(text)
    assert caught.value.code is Code.BAD_KEY


LINES = st.tuples(
    st.sampled_from(["a" * 32, "b" * 32]),
    st.sampled_from(["status", "release", "extend"]),
    st.sampled_from(["0" * 64, "1" * 64]),
    st.integers(1, 3),
)


@given(LINES, LINES)
@settings(max_examples=40, deadline=None)
def test_a_proof_of_possession_is_for_one_statement(one, other):
    """A proof holds for exactly the lease, action, arguments and nonce that were signed."""
    proof = possession.prove(KEY, possession.statement(*one))
    if one == other:
        possession.check(KEY.public_key(), possession.statement(*other), proof)
    else:
        with pytest.raises(ComputeError):
            possession.check(KEY.public_key(), possession.statement(*other), proof)


def test_knowing_the_public_key_is_worth_nothing():
    """A proof by another private key is refused."""
    said = possession.statement("a" * 32, "release", "0" * 64, 1)
    with pytest.raises(ComputeError) as caught:
        possession.check(KEY.public_key(), said, possession.prove(OTHER, said))
    assert caught.value.code is Code.POSSESSION


def test_ssh_keys_are_what_openssh_reads(tmp_path):
    """A generated key and its fingerprint agree with ssh-keygen."""
    program = shutil.which("ssh-keygen")
    assert program, "openssh-client is a requirement of the tests"
    keys = sshkeys.generate()
    path = tmp_path / "id"
    path.touch(0o600)
    path.write_text(keys.private)
    public = subprocess.run(
        [program, "-y", "-f", path], check=True, capture_output=True, text=True
    ).stdout
    assert public.split()[:2] == keys.public.split()
    (tmp_path / "id.pub").write_text(keys.public)
    shown = subprocess.run(
        [program, "-l", "-f", tmp_path / "id.pub"], check=True, capture_output=True, text=True
    ).stdout
    assert sshkeys.fingerprint(keys.public) in shown


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ssh-ed25519",
        "ssh-dss AAAA",
        'command="id" ssh-ed25519 AAAA',
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==",
        "ssh-ed25519 AAAA\nssh-ed25519 BBBB",
    ],
)
def test_a_login_key_is_a_key_and_nothing_else(line):
    """Options, two lines, unknown types and damaged keys are refused."""
    with pytest.raises(ComputeError) as caught:
        sshkeys.check_public_key(line)
    assert caught.value.code is Code.BAD_KEY
