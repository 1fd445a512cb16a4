-- Encoded pictures and other bytes, by the BLAKE3 hash of the bytes. The bytes come last, so that reading the other
-- columns does not read them.
CREATE TABLE blobs (
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL CHECK (size = length(bytes)),
    bytes BLOB NOT NULL
);

-- The history: a tree of steps. Step 1 is its root. `next` is the child to which redo leads.
CREATE TABLE steps (
    id INTEGER PRIMARY KEY,
    parent INTEGER REFERENCES steps (id) CHECK (parent < id),
    next INTEGER REFERENCES steps (id) CHECK (next > id),
    name TEXT NOT NULL,
    time INTEGER NOT NULL,
    edits TEXT NOT NULL,
    inverse TEXT NOT NULL
);
CREATE INDEX steps_by_parent ON steps (parent);

-- The blobs that a step's edits or their inverses name.
CREATE TABLE step_blobs (
    step INTEGER NOT NULL REFERENCES steps (id),
    hash BLOB NOT NULL REFERENCES blobs (hash),
    PRIMARY KEY (step, hash)
) WITHOUT ROWID;
CREATE INDEX step_blobs_by_hash ON step_blobs (hash);

-- One row: where in the history the tables below stand, and the canvas.
CREATE TABLE project (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    head INTEGER NOT NULL REFERENCES steps (id),
    next_id INTEGER NOT NULL CHECK (next_id > 0),
    created INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    background INTEGER
);

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE layers (
    id INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    visible INTEGER NOT NULL CHECK (visible IN (0, 1)),
    locked INTEGER NOT NULL CHECK (locked IN (0, 1)),
    opacity REAL NOT NULL,
    blend TEXT NOT NULL,
    depth REAL NOT NULL
);

CREATE TABLE generations (
    id INTEGER PRIMARY KEY,
    x INTEGER NOT NULL,
    y INTEGER NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    provenance TEXT NOT NULL,
    chosen INTEGER NOT NULL REFERENCES takes (id) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX generations_by_chosen ON generations (chosen);

CREATE TABLE takes (
    id INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL REFERENCES generations (id),
    position INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    image BLOB NOT NULL REFERENCES blobs (hash),
    mask BLOB REFERENCES blobs (hash),
    seconds REAL NOT NULL
);
CREATE INDEX takes_by_generation ON takes (generation, position);

-- A patch shows either a picture of its own (image, mask, origin) or the chosen take of a generation.
CREATE TABLE patches (
    id INTEGER PRIMARY KEY,
    layer INTEGER NOT NULL REFERENCES layers (id),
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    x INTEGER NOT NULL,
    y INTEGER NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    image BLOB REFERENCES blobs (hash),
    mask BLOB REFERENCES blobs (hash),
    origin TEXT,
    generation INTEGER REFERENCES generations (id),
    CHECK ((image IS NULL) = (origin IS NULL)),
    CHECK ((image IS NULL) <> (generation IS NULL)),
    CHECK (mask IS NULL OR image IS NOT NULL)
);
CREATE INDEX patches_by_layer ON patches (layer, position);
CREATE INDEX patches_by_generation ON patches (generation);

CREATE TABLE frames (
    id INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    x INTEGER NOT NULL,
    y INTEGER NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL
);
