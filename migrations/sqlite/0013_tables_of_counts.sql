-- Tables of counts come in like those of products, listings and rules. SQLite changes a CHECK by making the table anew, and the rows of
-- imports with it, since they refer to it; the names of what they refer to follow the renaming.
CREATE TABLE imports_next (
    id          BLOB PRIMARY KEY,
    kind        TEXT NOT NULL CHECK (kind IN ('products', 'listings', 'rules', 'counts')),
    state       TEXT NOT NULL CHECK (state IN ('receiving', 'accepted', 'applied')),
    next_row    INTEGER NOT NULL DEFAULT 0,
    created     INTEGER NOT NULL DEFAULT 0,
    updated     INTEGER NOT NULL DEFAULT 0,
    unchanged   INTEGER NOT NULL DEFAULT 0,
    skipped     INTEGER NOT NULL DEFAULT 0,
    actor       TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;
CREATE TABLE import_rows_next (
    import_id BLOB NOT NULL REFERENCES imports_next (id) ON DELETE CASCADE,
    n         INTEGER NOT NULL,
    data      TEXT NOT NULL,
    PRIMARY KEY (import_id, n)
) STRICT;
INSERT INTO imports_next (id, kind, state, next_row, created, updated, unchanged, skipped, actor, created_at, finished_at)
    SELECT id, kind, state, next_row, created, updated, unchanged, skipped, actor, created_at, finished_at FROM imports;
INSERT INTO import_rows_next (import_id, n, data) SELECT import_id, n, data FROM import_rows;
DROP TABLE import_rows;
DROP TABLE imports;
ALTER TABLE imports_next RENAME TO imports;
ALTER TABLE import_rows_next RENAME TO import_rows;
CREATE INDEX imports_open ON imports (created_at) WHERE state <> 'applied';
