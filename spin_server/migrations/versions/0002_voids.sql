-- Spins that were taken back. One that had not arrived when it was voided has a row among the spins all the
-- same, without money: the unique key then orders the two.
CREATE TABLE spin_voids (
    spin_id     uuid PRIMARY KEY,
    operator_id text NOT NULL,
    wallet_id   text NOT NULL,
    reason      text NOT NULL,
    void_time   timestamptz NOT NULL
);

-- 3: voided before it arrived. The rows that are there hold the stricter rule.
ALTER TABLE spins DROP CONSTRAINT spins_method_is_known;
ALTER TABLE spins ADD CONSTRAINT spins_method_is_known CHECK (method BETWEEN 1 AND 3) NOT VALID;

GRANT SELECT, INSERT ON spin_voids, jackpot_voids TO spin_app;
