-- Wins that are neither paid nor rejected, for alarms (PR-19): few, whatever there was. It follows from the
-- events, and is written with them.
CREATE TABLE open_wins (
    pool_key integer NOT NULL,
    spin_id  uuid NOT NULL,
    -- jackpot.v1.Win.State: 1 payable, 2 held; since when.
    state    smallint NOT NULL,
    since    timestamptz NOT NULL,
    PRIMARY KEY (pool_key, spin_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);
INSERT INTO open_wins (pool_key, spin_id, state, since)
SELECT w.pool_key, w.spin_id, last.state, last.event_time
  FROM wins w
 CROSS JOIN LATERAL (SELECT state, event_time FROM win_events e
                      WHERE e.pool_key = w.pool_key AND e.spin_id = w.spin_id
                      ORDER BY sequence DESC LIMIT 1) last
 WHERE last.state IN (1, 2);
GRANT SELECT, INSERT, UPDATE, DELETE ON open_wins TO jackpot_app;
