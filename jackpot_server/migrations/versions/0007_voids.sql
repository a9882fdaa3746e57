-- Contributions that were taken back (V1 to V6). One that had not arrived when it was voided has a row among
-- the contributions all the same, without a wager or shares: the unique key then orders the two.
CREATE TABLE voids (
    spin_id        uuid PRIMARY KEY,
    batch_id       bigint NOT NULL,
    operator_id    text NOT NULL,
    -- Ids of the pools whose wins the wallet had credited before it voided the spin; comma-separated, in order.
    credited_pools text NOT NULL,
    reason         text NOT NULL,
    void_time      timestamptz NOT NULL
);
CREATE INDEX voids_by_operator ON voids (operator_id, void_time, spin_id);
GRANT SELECT, INSERT ON voids TO jackpot_app;

-- Not checked again for the rows that are there: they hold the stricter rule.
ALTER TABLE contributions DROP CONSTRAINT contributions_wager_is_positive;
ALTER TABLE contributions ADD CONSTRAINT contributions_wager_is_positive
    CHECK (wager_minor > 0 OR wager_minor = 0 AND cardinality(shares) = 0) NOT VALID;
