-- What models were given and said, as rows of float32; and what is known of their behaviour.

CREATE TABLE prediction_schema (
  id INTEGER PRIMARY KEY,
  model TEXT NOT NULL,
  version TEXT NOT NULL,
  crc INTEGER NOT NULL,
  names BLOB NOT NULL,                 -- MessagePack array of the features' names, sorted; nil: it reports none
  UNIQUE (model, version, names)
);

CREATE TABLE prediction_batch (
  id INTEGER PRIMARY KEY,              -- seq of the batch that it is a part of, plus the number of the part
  schema INTEGER NOT NULL REFERENCES prediction_schema (id),
  rows INTEGER NOT NULL,
  t0 REAL NOT NULL,                    -- the earliest and the latest `at` in it, Unix seconds
  t1 REAL NOT NULL,
  packed INTEGER NOT NULL,             -- 1: what follows the features in body is deflated
  crc INTEGER NOT NULL,
  body BLOB NOT NULL                   -- rows x names of float32, then MessagePack of the other columns
);

CREATE INDEX prediction_place ON prediction_batch (schema, id, rows, t0, t1);

CREATE TABLE prediction_audit (
  seq INTEGER PRIMARY KEY,             -- of the batch, plus the prediction's place in it
  at REAL NOT NULL,
  model TEXT NOT NULL,
  version TEXT NOT NULL,
  crc INTEGER NOT NULL,
  body BLOB NOT NULL                   -- JSON
);

CREATE TRIGGER batch_gone AFTER DELETE ON batch BEGIN
  DELETE FROM prediction_batch WHERE id BETWEEN old.seq AND old.seq + old.facts - 1;
  DELETE FROM prediction_audit WHERE seq BETWEEN old.seq AND old.seq + old.facts - 1;
END;

CREATE TABLE baseline (
  id INTEGER PRIMARY KEY,
  model TEXT NOT NULL,
  version TEXT NOT NULL,
  feature TEXT NOT NULL,
  staged TEXT NOT NULL,                -- empty, or the token of the set that it will be a part of once that is whole
  at REAL NOT NULL,                    -- when it was set
  crc INTEGER NOT NULL,
  body BLOB NOT NULL,
  UNIQUE (model, version, feature, staged)
);

CREATE TABLE detector (
  id INTEGER PRIMARY KEY,
  model TEXT NOT NULL,
  version TEXT NOT NULL,
  part TEXT NOT NULL,                  -- the first of the features that it watches
  staged TEXT NOT NULL,                -- as that of the baselines which it was made with
  at REAL NOT NULL,
  cursor INTEGER NOT NULL,             -- the newest prediction_batch that the state has taken in
  crc INTEGER NOT NULL,
  body BLOB NOT NULL,
  UNIQUE (model, version, part, staged)
);

CREATE TABLE drift_run (
  id INTEGER PRIMARY KEY,
  model TEXT NOT NULL,
  version TEXT NOT NULL,
  at REAL NOT NULL,
  cursor INTEGER NOT NULL,             -- the newest prediction_batch that it has seen
  crc INTEGER NOT NULL,
  body BLOB NOT NULL
);

CREATE INDEX drift_run_place ON drift_run (model, version, at);
