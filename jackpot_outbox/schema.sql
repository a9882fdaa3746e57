-- The outbox: what a wallet's database holds so that no jackpot call is ever lost. This file is the
-- contract with wallets in any language: INSERT into jackpot_outbox inside your own transaction, take
-- uncredited rows of jackpot_wins, and let `python -m jackpot_outbox serve` (or the spin server) do the rest.

-- One row per request that the jackpot server has not answered yet. Born in the wallet's own
-- transaction with every field of the request; the first answer deletes it.
CREATE TABLE jackpot_outbox (
    -- 1 contribution, 2 void, 3 acknowledgement
    kind              smallint NOT NULL,
    spin_id           uuid NOT NULL,
    -- pools/{pool}/wins/{spin_id} of an acknowledgement; '' otherwise
    win               text NOT NULL DEFAULT '',
    -- of the win that an acknowledgement acted on; 0 otherwise
    event_sequence    bigint NOT NULL DEFAULT 0,
    operator_id       text NOT NULL,

    -- contribution: the fields of jackpot.v1.RecordContributionRequest
    user_id           text NOT NULL DEFAULT '',
    wallet_id         text NOT NULL DEFAULT '',
    currency_code     text NOT NULL DEFAULT '',
    wager_minor       bigint NOT NULL DEFAULT 0,
    game_category     smallint NOT NULL DEFAULT 0,
    game_id           text NOT NULL DEFAULT '',
    provider_name     text NOT NULL DEFAULT '',
    provider_round_id text NOT NULL DEFAULT '',
    stake_kind        smallint NOT NULL DEFAULT 0,
    country_code      text NOT NULL DEFAULT '',
    client_seed       text NOT NULL DEFAULT '',
    -- comma-separated; a tier has no comma
    triggered_tiers   text NOT NULL DEFAULT '',
    occur_time        timestamptz,

    -- acknowledgement: the fields of jackpot.v1.AcknowledgeWinRequest (its amount: currency_code and credited_minor)
    outcome           smallint NOT NULL DEFAULT 0,
    wallet_entry_id   text NOT NULL DEFAULT '',
    credited_minor    bigint NOT NULL DEFAULT 0,
    credit_time       timestamptz,
    failure_reason    text NOT NULL DEFAULT '',

    -- void: the fields of jackpot.v1.VoidContributionRequest (credited_wins comma-separated)
    reason            text NOT NULL DEFAULT '',
    credited_wins     text NOT NULL DEFAULT '',

    -- When the relay may send it. Whoever dispatches its own rows at once sets it a little ahead;
    -- taking a row for sending moves it by the lease, a failure by the back-off.
    due_time          timestamptz NOT NULL DEFAULT now(),
    create_time       timestamptz NOT NULL DEFAULT now(),
    attempts          integer NOT NULL DEFAULT 0,
    last_error        text NOT NULL DEFAULT '',
    -- Refused for good: waits for a person (`python -m jackpot_outbox list | release`).
    parked_time       timestamptz,

    PRIMARY KEY (kind, spin_id, win, event_sequence),
    CONSTRAINT jackpot_outbox_kind_is_known CHECK (kind BETWEEN 1 AND 3),
    CONSTRAINT jackpot_outbox_acknowledgement_names_its_win CHECK ((kind = 3) = (win <> '')),
    -- What google.protobuf.Timestamp can say.
    CONSTRAINT jackpot_outbox_occur_time_is_in_range
        CHECK (occur_time >= '0001-01-01 00:00+00' AND occur_time < '9999-12-31 00:00+00'),
    CONSTRAINT jackpot_outbox_credit_time_is_in_range
        CHECK (credit_time >= '0001-01-01 00:00+00' AND credit_time < '9999-12-31 00:00+00')
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);
CREATE INDEX jackpot_outbox_due ON jackpot_outbox (due_time) WHERE parked_time IS NULL;

-- The jackpot server's answer to a contribution, kept as long as the spin. Its audit head makes this
-- database a witness of the other one.
CREATE TABLE jackpot_results (
    spin_id        uuid PRIMARY KEY,
    operator_id    text NOT NULL,
    -- jackpot.v1.Contribution.State
    state          smallint NOT NULL,
    -- [{"pool": "pools/minor", "tier": "MINOR", "amount_micros": 150000}, …]; skipped pools are left out
    shares         jsonb NOT NULL,
    record_time    timestamptz,
    audit_chain    integer,
    audit_sequence bigint,
    audit_sha256   bytea,
    answer_time    timestamptz NOT NULL DEFAULT now()
);

-- Wins of this wallet's spins. A wallet credits a row once: it locks the row, credits, sets
-- wallet_entry_id and acted_sequence and inserts the acknowledgement, all in one transaction.
CREATE TABLE jackpot_wins (
    -- pools/{pool}/wins/{spin_id}
    win             text PRIMARY KEY,
    spin_id         uuid NOT NULL,
    operator_id     text NOT NULL,
    user_id         text NOT NULL,
    wallet_id       text NOT NULL,
    pool            text NOT NULL,
    tier            text NOT NULL,
    currency_code   text NOT NULL,
    amount_minor    bigint NOT NULL,
    -- jackpot.v1.Win.State as of event_sequence; credit only 1 (PAYABLE)
    state           smallint NOT NULL,
    spin_voided     boolean NOT NULL DEFAULT false,
    -- Newest event heard of; never goes back.
    event_sequence  bigint NOT NULL,
    -- Newest event that the wallet acted on (credited, failed, confirmed a hold); older ones are ignored.
    acted_sequence  bigint NOT NULL DEFAULT 0,
    -- The credit in the wallet; NULL while there is none.
    wallet_entry_id text,
    -- Why the wallet could not take it, after a FAILED acknowledgement; '' otherwise.
    failure_reason  text NOT NULL DEFAULT '',
    receive_time    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT jackpot_wins_state_is_known CHECK (state BETWEEN 1 AND 4)
);
CREATE INDEX jackpot_wins_by_spin ON jackpot_wins (spin_id);
CREATE INDEX jackpot_wins_uncredited ON jackpot_wins (receive_time) WHERE wallet_entry_id IS NULL;

-- How far an operator's win events were read, and who reads them now.
CREATE TABLE jackpot_cursors (
    operator_id   text PRIMARY KEY,
    last_sequence bigint NOT NULL DEFAULT 0,
    lease_holder  text NOT NULL DEFAULT '',
    lease_until   timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);

-- After each INSERT: an operator's first row makes its cursor, from which its wins are followed; a row that
-- is due at once (a foreign writer's; nobody else will send it) wakes a relay.
CREATE FUNCTION jackpot_outbox_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO jackpot_cursors (operator_id)
    SELECT DISTINCT operator_id FROM inserted ORDER BY operator_id
    ON CONFLICT DO NOTHING;
    IF EXISTS (SELECT FROM inserted WHERE due_time <= now()) THEN
        PERFORM pg_notify('jackpot_outbox', '');
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER jackpot_outbox_inserted AFTER INSERT ON jackpot_outbox
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION jackpot_outbox_inserted();
