-- What became of predictions, by model, and how models perform.

CREATE TABLE outcome_batch (
  id INTEGER PRIMARY KEY,              -- seq of the batch that it is a part of, plus the number of the part
  model TEXT NOT NULL,                 -- empty: they name their predictions by id alone
  rows INTEGER NOT NULL,
  t1 REAL NOT NULL,                    -- the latest `at` in it, Unix seconds
  recorded REAL NOT NULL,              -- when the batch was folded
  packed INTEGER NOT NULL,             -- 1: body is deflated
  crc INTEGER NOT NULL,
  body BLOB NOT NULL                   -- MessagePack of columns
);

CREATE INDEX outcome_place ON outcome_batch (model, t1);

CREATE TRIGGER outcomes_gone AFTER DELETE ON batch BEGIN
  DELETE FROM outcome_batch WHERE id BETWEEN old.seq AND old.seq + old.facts - 1;
END;

CREATE TABLE performance_memory (
  id INTEGER PRIMARY KEY,
  model TEXT NOT NULL,
  version TEXT NOT NULL,
  at REAL NOT NULL,
  crc INTEGER NOT NULL,
  body BLOB NOT NULL,                  -- the baseline performance, and the evidence of concept drift
  UNIQUE (model, version)
);

CREATE TABLE performance_run (
  id INTEGER PRIMARY KEY,
  model TEXT NOT NULL,
  version TEXT NOT NULL,
  at REAL NOT NULL,
  crc INTEGER NOT NULL,
  body BLOB NOT NULL
);

CREATE INDEX performance_run_place ON performance_run (model, version, at);
