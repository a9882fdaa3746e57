-- Bets that this wallet took back. Comes after schema.sql; like it, a contract with wallets in any language:
-- a void is a row of kind 2 in jackpot_outbox, inserted in the transaction that gives the stake back, with the
-- names of the spin's wins that the wallet has credited by then.

-- Every spin that was voided, for ever. A win of such a spin is credited only if it is PAYABLE with spin_voided:
-- the wallet's database alone says what came first, the void or the credit.
CREATE TABLE jackpot_voids (
    spin_id     uuid PRIMARY KEY,
    operator_id text NOT NULL,
    void_time   timestamptz NOT NULL DEFAULT now()
);

-- As before, and a void is noted for ever.
CREATE OR REPLACE FUNCTION jackpot_outbox_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO jackpot_cursors (operator_id)
    SELECT DISTINCT operator_id FROM inserted ORDER BY operator_id
    ON CONFLICT DO NOTHING;
    IF EXISTS (SELECT FROM inserted WHERE kind = 2) THEN
        INSERT INTO jackpot_voids (spin_id, operator_id)
        SELECT spin_id, operator_id FROM inserted WHERE kind = 2 ORDER BY spin_id
        ON CONFLICT DO NOTHING;
    END IF;
    IF EXISTS (SELECT FROM inserted WHERE due_time <= now()) THEN
        PERFORM pg_notify('jackpot_outbox', '');
    END IF;
    RETURN NULL;
END
$$;
