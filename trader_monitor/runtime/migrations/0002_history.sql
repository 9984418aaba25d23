-- Samples in compressed blocks.

CREATE TABLE block (
  id INTEGER PRIMARY KEY AUTOINCREMENT, -- the order of writing, and never given again: readers hold blocks by it
  tier INTEGER NOT NULL,               -- seconds that a row of it sums up; 0 is raw
  part INTEGER NOT NULL,               -- series id / 256
  day INTEGER NOT NULL,                -- days since 1970; no block crosses midnight UTC
  level INTEGER NOT NULL,              -- how often it was merged
  rolled INTEGER NOT NULL,             -- 1: the day is closed and the coarser tiers hold it
  t0 INTEGER NOT NULL,                 -- of its first sample, Unix milliseconds
  t1 INTEGER NOT NULL,                 -- of its last
  samples INTEGER NOT NULL,
  crc INTEGER NOT NULL,
  body BLOB NOT NULL
);

CREATE INDEX block_place ON block (tier, part, t1);
