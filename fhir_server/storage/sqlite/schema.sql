-- Version 3. Text compares by UTF-8 bytes (BINARY), which is the order of code points.
-- In an encrypted file `body`, `value` and `entry` are sealed (storage/vault.py).

CREATE TABLE parameter (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

-- Every version of every resource; `seq` is the order of commit and the position in the feed.
CREATE TABLE history (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    type TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    method TEXT NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (type, id, version)
);
CREATE INDEX history_by_updated ON history (updated);
CREATE INDEX history_by_type ON history (type, updated);

-- One row for each identity; the body is in history. The three keys are the sort keys that
-- have an index; all others are in `sort`, as `{"code": [lowest, highest]}`, or `[value]` where
-- both are the same. `tuples` is `{"parameter": [[[parameter, value], …], …]}`, by numbers.
CREATE TABLE resource (
    rid INTEGER PRIMARY KEY,
    type TEXT NOT NULL,
    id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    version INTEGER NOT NULL,
    is_deleted INTEGER NOT NULL,
    updated_key TEXT,
    date_low TEXT,
    date_high TEXT,
    sort TEXT NOT NULL,
    tuples TEXT NOT NULL,
    UNIQUE (type, id)
);
CREATE INDEX resource_by_updated ON resource (type, updated_key, id) WHERE is_deleted = 0;
CREATE INDEX resource_by_date_low ON resource (type, date_low, id) WHERE is_deleted = 0;
CREATE INDEX resource_by_date_high ON resource (type, date_high DESC, id) WHERE is_deleted = 0;

CREATE TABLE term (
    param INTEGER NOT NULL,
    value TEXT NOT NULL,
    rid INTEGER NOT NULL,
    PRIMARY KEY (param, value, rid)
) WITHOUT ROWID;
CREATE INDEX term_of_resource ON term (rid, param, value);

CREATE TABLE record (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    value TEXT NOT NULL,
    revision INTEGER NOT NULL,
    expires INTEGER,
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE INDEX record_by_expiry ON record (expires) WHERE expires IS NOT NULL;

CREATE TABLE journal (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    entry BLOB NOT NULL
);
