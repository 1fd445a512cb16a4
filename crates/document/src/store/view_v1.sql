-- Lets a file of version 1 that may not be changed be read as one of version 2. The tables are empty ones of the connection's
-- own; in its temporary schema they hide nothing of the file but the layers, which get the column they lack.
CREATE TEMP VIEW layers AS SELECT *, NULL AS group_id FROM main.layers;
CREATE TEMP TABLE layer_groups (id, parent, name, visible, locked, opacity, blend);
CREATE TEMP TABLE masks (id, layer, group_id, image, x, y, width, height, outside, enabled);
CREATE TEMP TABLE shots (id, position, name, frame, width, height, rate_numerator, rate_denominator, frames, moves, keyframes, settings);
CREATE TEMP TABLE sequences (id, position, name);
CREATE TEMP TABLE sequence_shots (sequence, position, shot);
CREATE TEMP TABLE notes (id, text, x, y, width, height);
CREATE TEMP TABLE models (hash, name, family);
CREATE TEMP TABLE milestones (name, step, time);
CREATE TEMP TABLE thumbnail (id, time, png);
