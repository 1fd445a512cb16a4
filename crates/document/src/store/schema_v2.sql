-- Groups of layers, masks of layers and groups, shots, sequences, notes, models, milestones and the thumbnail.

CREATE TABLE layer_groups (
    id INTEGER PRIMARY KEY,
    parent INTEGER REFERENCES layer_groups (id),
    name TEXT NOT NULL,
    visible INTEGER NOT NULL CHECK (visible IN (0, 1)),
    locked INTEGER NOT NULL CHECK (locked IN (0, 1)),
    opacity REAL NOT NULL,
    blend TEXT NOT NULL
);
CREATE INDEX layer_groups_by_parent ON layer_groups (parent);

ALTER TABLE layers ADD COLUMN group_id INTEGER REFERENCES layer_groups (id);
CREATE INDEX layers_by_group ON layers (group_id);

-- The mask of a layer or of a group: exactly one of the two.
CREATE TABLE masks (
    id INTEGER PRIMARY KEY,
    layer INTEGER UNIQUE REFERENCES layers (id),
    group_id INTEGER UNIQUE REFERENCES layer_groups (id),
    image BLOB NOT NULL REFERENCES blobs (hash),
    x INTEGER NOT NULL,
    y INTEGER NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    outside INTEGER NOT NULL CHECK (outside IN (0, 1)),
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    CHECK ((layer IS NULL) <> (group_id IS NULL))
);

CREATE TABLE shots (
    id INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    frame INTEGER NOT NULL REFERENCES frames (id),
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    rate_numerator INTEGER NOT NULL,
    rate_denominator INTEGER NOT NULL,
    frames INTEGER NOT NULL,
    moves TEXT NOT NULL,
    keyframes TEXT NOT NULL,
    settings TEXT NOT NULL
);
CREATE INDEX shots_by_frame ON shots (frame);

CREATE TABLE sequences (
    id INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    name TEXT NOT NULL
);

CREATE TABLE sequence_shots (
    sequence INTEGER NOT NULL REFERENCES sequences (id),
    position INTEGER NOT NULL,
    shot INTEGER NOT NULL REFERENCES shots (id),
    PRIMARY KEY (sequence, position)
) WITHOUT ROWID;
CREATE INDEX sequence_shots_by_shot ON sequence_shots (shot);

-- The rectangle is the part of the canvas that the note is about: all four or none.
CREATE TABLE notes (
    id INTEGER PRIMARY KEY,
    text TEXT NOT NULL,
    x INTEGER,
    y INTEGER,
    width INTEGER,
    height INTEGER,
    CHECK ((x IS NULL) = (y IS NULL) AND (x IS NULL) = (width IS NULL) AND (x IS NULL) = (height IS NULL))
);

CREATE TABLE models (
    hash BLOB PRIMARY KEY CHECK (length(hash) = 32),
    name TEXT NOT NULL,
    family TEXT NOT NULL
) WITHOUT ROWID;

-- Names that the user has given to steps of the history.
CREATE TABLE milestones (
    name TEXT PRIMARY KEY,
    step INTEGER NOT NULL REFERENCES steps (id),
    time INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX milestones_by_step ON milestones (step);

-- At most one row: a small PNG for file managers.
CREATE TABLE thumbnail (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    time INTEGER NOT NULL,
    png BLOB NOT NULL
);
