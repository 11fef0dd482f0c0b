CREATE TABLE IF NOT EXISTS progress (version INTEGER NOT NULL, position INTEGER NOT NULL);

CREATE TABLE IF NOT EXISTS snapshot (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    position INTEGER NOT NULL,
    body BLOB NOT NULL
);

-- Request ids begin with their time, so new rows go to the end of the tree.
CREATE TABLE IF NOT EXISTS request_event (
    request_id BLOB NOT NULL,
    position INTEGER NOT NULL,
    number INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    code INTEGER NOT NULL,
    charged_nano INTEGER NOT NULL,
    shortfall_nano INTEGER NOT NULL,
    PRIMARY KEY (request_id, position, number)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS account (
    account_id BLOB PRIMARY KEY,
    currency INTEGER NOT NULL,
    credits_nano INTEGER NOT NULL,
    charges_nano INTEGER NOT NULL,
    held_nano INTEGER NOT NULL,
    shortfall_nano INTEGER NOT NULL,
    suspended INTEGER NOT NULL
) WITHOUT ROWID;

-- Every version of every catalogue entry, as the ledger has it.
CREATE TABLE IF NOT EXISTS model_version (
    model_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    number INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (model_id, position, number)
) WITHOUT ROWID;

-- Every price that a settlement may name: its version is a hash of it.
CREATE TABLE IF NOT EXISTS price (version BLOB PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
