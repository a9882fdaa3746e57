-- The audit trail (PR-21): each batch is one record of one of a few chains, so that replicas do not queue on
-- one row. How a record and its digest are made: docs/evidence.md.

-- Where each chain ends. The first record follows on SHA-256(chain, first batch): batches before that one were
-- written before there was a trail.
CREATE TABLE audit_chains (
    chain          integer PRIMARY KEY,
    first_batch_id bigint NOT NULL,
    sequence       bigint NOT NULL,
    sha256         bytea NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0.01);
INSERT INTO audit_chains (chain, first_batch_id, sequence, sha256)
SELECT chain, first_batch_id, 0, sha256(int4send(chain) || int8send(first_batch_id))
  FROM generate_series(1, 8) AS chain,
       (SELECT coalesce(max(batch_id), 0) + 1 AS first_batch_id FROM batches) AS b;

ALTER TABLE batches
    ADD COLUMN chain       integer,
    ADD COLUMN sequence    bigint,
    -- SHA-256 of the rows that the batch inserted and of the pools' states after it.
    ADD COLUMN digest      bytea,
    -- The record: SHA-256(chain, sequence, record before, batch, time, digest).
    ADD COLUMN sha256      bytea,
    -- The pools that the batch changed, as it left them: one row of numbers each, named by the view pool_states.
    ADD COLUMN pool_states bigint[],
    -- Per table its number, how many rows, and a CRC-32 of each: which row differs, should the digest.
    ADD COLUMN row_marks   bytea,
    ADD CONSTRAINT batches_are_records CHECK
        (num_nulls(chain, sequence, digest, sha256, pool_states, row_marks) IN (0, 6)),
    ADD CONSTRAINT batches_one_record_per_place UNIQUE (chain, sequence),
    ALTER COLUMN row_marks SET STORAGE EXTERNAL;
-- Marks do not compress: a batch's row stays one row.
ALTER TABLE batches SET (toast_tuple_target = 8160);

CREATE VIEW pool_states AS
SELECT b.batch_id, b.batch_time,
       b.pool_states[i][1]::integer AS pool_key,
       b.pool_states[i][2]::smallint AS state,
       b.pool_states[i][3]::integer AS config_version,
       b.pool_states[i][4]::integer AS cycle_config_version,
       b.pool_states[i][5] AS cycle,
       b.pool_states[i][6] AS cycle_start_micros,
       -- Times are microseconds since 1970; -1 stands for none.
       b.pool_states[i][7] AS cycle_start_us,
       b.pool_states[i][8] AS current_micros,
       b.pool_states[i][9] AS reserve_micros,
       b.pool_states[i][10] AS overflow_micros,
       b.pool_states[i][11] AS version,
       b.pool_states[i][12] AS update_us,
       b.pool_states[i][13] AS last_win_minor,
       b.pool_states[i][14] AS last_win_us,
       b.pool_states[i][15] AS cycle_deadline_us
  FROM batches b
 CROSS JOIN LATERAL generate_series(1, coalesce(array_length(b.pool_states, 1), 0)) AS i;

-- What was not part of a batch until now; null: from before the trail.
ALTER TABLE pools ADD COLUMN create_batch_id bigint;
ALTER TABLE pool_configs ADD COLUMN batch_id bigint;
ALTER TABLE seed_commitments ADD COLUMN batch_id bigint;
ALTER TABLE unwon_cycles ADD COLUMN batch_id bigint;

-- An acknowledgement is told by its batch and its place in it, which are known before it is written.
ALTER TABLE acknowledgements ADD COLUMN acknowledgement_number integer;
UPDATE acknowledgements a
   SET acknowledgement_number = n.number
  FROM (SELECT acknowledgement_id,
               row_number() OVER (PARTITION BY batch_id ORDER BY acknowledgement_id) AS number
          FROM acknowledgements) n
 WHERE n.acknowledgement_id = a.acknowledgement_id;
ALTER TABLE acknowledgements DROP COLUMN acknowledgement_id;
ALTER TABLE acknowledgements ADD PRIMARY KEY (batch_id, acknowledgement_number);

GRANT SELECT, UPDATE ON audit_chains TO jackpot_app;
GRANT SELECT ON pool_states TO jackpot_app;
