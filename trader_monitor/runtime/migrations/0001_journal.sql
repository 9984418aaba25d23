-- What was recorded, and the states that replay begins from.

CREATE TABLE boot (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE            -- the kernel's boot_id: monotonic times compare within one boot only
);

CREATE TABLE batch (
  seq INTEGER PRIMARY KEY,             -- of its first fact
  facts INTEGER NOT NULL,
  wall REAL NOT NULL,                  -- when it was folded, Unix seconds
  mono REAL NOT NULL,                  -- the same in monotonic seconds of its boot
  boot INTEGER NOT NULL REFERENCES boot (id),
  samples_only INTEGER NOT NULL,       -- 1: needed until the history has them, 0: kept for the retention
  packed INTEGER NOT NULL,             -- 1: body is deflated
  crc INTEGER NOT NULL,                -- CRC-32 of body as stored
  body BLOB NOT NULL                   -- MessagePack array of facts; samples as series ids and float64
);

CREATE INDEX batch_samples ON batch (seq) WHERE samples_only = 1;

CREATE TABLE series (
  id INTEGER PRIMARY KEY,
  labels BLOB NOT NULL UNIQUE          -- MessagePack array of [name, value], sorted by name
);

CREATE TABLE snapshot (
  seq INTEGER PRIMARY KEY,             -- of the last fact in it
  wall REAL NOT NULL,
  mono REAL NOT NULL,
  boot INTEGER NOT NULL REFERENCES boot (id),
  crc INTEGER NOT NULL,
  body BLOB NOT NULL
);

CREATE TABLE ids (
  serial INTEGER PRIMARY KEY,          -- a full segment of accepted ids, written once
  crc INTEGER NOT NULL,
  body BLOB NOT NULL
);

CREATE TABLE probe (
  id INTEGER PRIMARY KEY,
  filler BLOB NOT NULL                 -- rewritten to find out whether a disk that failed takes writes again
);
