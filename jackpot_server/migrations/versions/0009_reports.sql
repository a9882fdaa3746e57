-- How many contributions a pool took a share of: a meter (PR-20), counted as they come.
ALTER TABLE pools ADD COLUMN contribution_count bigint NOT NULL DEFAULT 0;
UPDATE pools p
   SET contribution_count = s.contribution_count
  FROM (SELECT pool_key, count(*) AS contribution_count FROM contribution_shares WHERE skip_reason = 0 GROUP BY 1) s
 WHERE s.pool_key = p.pool_key;

CREATE OR REPLACE VIEW pool_states AS
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
       b.pool_states[i][15] AS cycle_deadline_us,
       -- Null of states from before it was counted.
       b.pool_states[i][16] AS contribution_count
  FROM batches b
 CROSS JOIN LATERAL generate_series(1, coalesce(array_length(b.pool_states, 1), 0)) AS i;

-- A pool's ledger, for its meters: read without the table.
CREATE INDEX entries_by_pool ON entries (pool_key, kind, account) INCLUDE (amount_micros, batch_id)
 WHERE pool_key IS NOT NULL;
