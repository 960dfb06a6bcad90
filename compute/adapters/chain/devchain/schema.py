"""The tables of a development chain's file.

Amounts are in rao. `axon_ip` is text because it may take 128 bits.
"""

VERSION = 2

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE accounts (
    address TEXT PRIMARY KEY, free INTEGER NOT NULL DEFAULT 0, nonce INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE owners (hotkey TEXT PRIMARY KEY, coldkey TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE stakes (
    netuid INTEGER, hotkey TEXT, amount INTEGER NOT NULL, PRIMARY KEY (netuid, hotkey)
) WITHOUT ROWID;
CREATE TABLE subnets (
    netuid INTEGER PRIMARY KEY, name TEXT NOT NULL, params TEXT NOT NULL,
    owner_hotkey TEXT NOT NULL, owner_coldkey TEXT NOT NULL, registered_at INTEGER NOT NULL,
    last_epoch INTEGER NOT NULL, epoch_index INTEGER NOT NULL, next_epoch INTEGER NOT NULL
);
CREATE TABLE neurons (
    netuid INTEGER, uid INTEGER, hotkey TEXT NOT NULL, registered_at INTEGER NOT NULL,
    last_update INTEGER NOT NULL, last_try INTEGER NOT NULL, active INTEGER NOT NULL DEFAULT 1,
    permit INTEGER NOT NULL DEFAULT 0, consensus INTEGER NOT NULL DEFAULT 0,
    incentive INTEGER NOT NULL DEFAULT 0, dividends INTEGER NOT NULL DEFAULT 0,
    trust INTEGER NOT NULL DEFAULT 0, validator_trust INTEGER NOT NULL DEFAULT 0,
    emission INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (netuid, uid), UNIQUE (netuid, hotkey)
) WITHOUT ROWID;
CREATE TABLE axons (
    netuid INTEGER, hotkey TEXT, block INTEGER NOT NULL, version INTEGER NOT NULL,
    ip TEXT NOT NULL, port INTEGER NOT NULL, ip_type INTEGER NOT NULL, protocol INTEGER NOT NULL,
    PRIMARY KEY (netuid, hotkey)
) WITHOUT ROWID;
CREATE TABLE certificates (
    netuid INTEGER, hotkey TEXT, algorithm INTEGER NOT NULL, public_key TEXT NOT NULL,
    PRIMARY KEY (netuid, hotkey)
) WITHOUT ROWID;
CREATE TABLE weights (
    netuid INTEGER, uid INTEGER, row TEXT NOT NULL, PRIMARY KEY (netuid, uid)
) WITHOUT ROWID;
CREATE TABLE weight_commits (
    id INTEGER PRIMARY KEY, netuid INTEGER NOT NULL, epoch INTEGER NOT NULL, hotkey TEXT NOT NULL,
    block INTEGER NOT NULL, ciphertext BLOB NOT NULL, reveal_round INTEGER NOT NULL
);
CREATE TABLE pulses (round INTEGER PRIMARY KEY, signature TEXT NOT NULL);
CREATE TABLE commitments (
    netuid INTEGER, hotkey TEXT, block INTEGER NOT NULL, fields TEXT NOT NULL,
    epoch INTEGER NOT NULL, used INTEGER NOT NULL, PRIMARY KEY (netuid, hotkey)
) WITHOUT ROWID;
CREATE TABLE extrinsics (
    block INTEGER, idx INTEGER, hash TEXT NOT NULL, signer TEXT NOT NULL, call TEXT NOT NULL,
    error TEXT, fee INTEGER NOT NULL, events TEXT NOT NULL, PRIMARY KEY (block, idx)
) WITHOUT ROWID;
CREATE INDEX extrinsics_by_hash ON extrinsics (hash);
"""
