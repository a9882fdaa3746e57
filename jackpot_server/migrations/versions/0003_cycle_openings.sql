-- By when the running cycle is to have fallen (must_drop_by); null without such a trigger.
ALTER TABLE pools ADD COLUMN cycle_deadline timestamptz;

-- A hidden moment is drawn from [max(begin of the period, start), deadline] (PR-14). Null: another trigger.
ALTER TABLE wins ADD COLUMN cycle_start_time timestamptz;
ALTER TABLE wins ADD COLUMN cycle_deadline timestamptz;

-- Cycles that ended without a win: a shadow pool became active, a database was restored, a pool was closed.
-- What they opened with, so that their draws can be repeated too (PR-15).
CREATE TABLE unwon_cycles (
    pool_key           integer NOT NULL REFERENCES pools,
    cycle              bigint NOT NULL,
    config_version     integer NOT NULL,
    cycle_start_micros bigint NOT NULL,
    cycle_start_time   timestamptz NOT NULL,
    cycle_deadline     timestamptz,
    end_time           timestamptz NOT NULL,
    PRIMARY KEY (pool_key, cycle)
);
GRANT SELECT, INSERT ON unwon_cycles TO jackpot_app;
