-- Spins database, first version. The outbox's own tables come from jackpot_outbox/schema.sql.

-- Who may read and write at run time; login roles become members of it.
DO $$
BEGIN
    CREATE ROLE spin_app NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;  -- another database of this cluster made it
END
$$;

-- The hot rows: changed once per batch under their locks.
CREATE TABLE wallets (
    wallet_id     text PRIMARY KEY,
    operator_id   text NOT NULL,
    user_id       text NOT NULL,
    currency_code text NOT NULL,
    balance_minor bigint NOT NULL,
    -- Number of the wallet's newest entry; gapless, bumped under the row lock.
    entry_count   bigint NOT NULL,
    is_test       boolean NOT NULL,
    create_time   timestamptz NOT NULL,
    CONSTRAINT wallets_balance_is_not_negative CHECK (balance_minor >= 0)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);

-- One row per settled spin; its key is the idempotency key, here and at the jackpot server.
CREATE TABLE spins (
    spin_id           uuid PRIMARY KEY,
    -- 1 SettleSpin, 2 PlaySpin
    method            smallint NOT NULL,
    operator_id       text NOT NULL,
    user_id           text NOT NULL,
    wallet_id         text NOT NULL,
    game_id           text NOT NULL,
    -- spin.v1.GameCategory
    game_category     smallint NOT NULL,
    provider_name     text NOT NULL,
    provider_round_id text NOT NULL,
    currency_code     text NOT NULL,
    wager_minor       bigint NOT NULL,
    payout_minor      bigint NOT NULL,
    -- spin.v1.StakeKind
    stake_kind        smallint NOT NULL,
    country_code      text NOT NULL,
    client_seed       text NOT NULL,
    -- Comma-separated; a tier has no comma.
    triggered_tiers   text NOT NULL,
    -- The wallet right after this spin.
    balance_minor     bigint NOT NULL,
    -- Whether an outbox row was written with it.
    has_jackpot       boolean NOT NULL,
    settle_time       timestamptz NOT NULL,
    CONSTRAINT spins_method_is_known CHECK (method IN (1, 2)),
    CONSTRAINT spins_wager_is_not_negative CHECK (wager_minor >= 0),
    CONSTRAINT spins_payout_is_not_negative CHECK (payout_minor >= 0)
);
CREATE INDEX spins_by_operator ON spins (operator_id, settle_time, spin_id);
-- A wallet's spins too: it is one user's, who has few.
CREATE INDEX spins_by_user ON spins (operator_id, user_id, settle_time, spin_id);

-- A wallet's money, entry by entry: each balance is the one before plus the amount.
CREATE TABLE wallet_entries (
    wallet_id     text NOT NULL,
    entry_number  bigint NOT NULL,
    -- spin.v1.WalletEntry.Kind
    kind          smallint NOT NULL,
    amount_minor  bigint NOT NULL,
    balance_minor bigint NOT NULL,
    -- What is behind it: a spin, a win (pools/{pool}/wins/{spin_id}) or a request.
    spin_id       uuid,
    win           text,
    request_id    uuid,
    entry_time    timestamptz NOT NULL,
    PRIMARY KEY (wallet_id, entry_number),
    CONSTRAINT wallet_entries_kind_is_known CHECK (kind BETWEEN 1 AND 7),
    CONSTRAINT wallet_entries_have_one_reference CHECK (num_nonnulls(spin_id, win, request_id) = 1),
    CONSTRAINT wallet_entries_balance_is_not_negative CHECK (balance_minor >= 0)
);
-- A win is credited once, whatever happens.
CREATE UNIQUE INDEX wallet_entries_one_credit_per_win ON wallet_entries (win) WHERE win IS NOT NULL;

-- CreateWallet, Deposit and Withdraw by their request_id, to answer repeats.
CREATE TABLE wallet_requests (
    request_id    uuid PRIMARY KEY,
    -- 1 CreateWallet, 2 Deposit, 3 Withdraw
    method        smallint NOT NULL,
    wallet_id     text NOT NULL,
    operator_id   text NOT NULL,
    user_id       text NOT NULL,
    currency_code text NOT NULL,
    amount_minor  bigint NOT NULL,
    is_test       boolean NOT NULL,
    -- The wallet entry of a deposit or withdrawal; 0 for CreateWallet.
    entry_number  bigint NOT NULL,
    request_time  timestamptz NOT NULL,
    CONSTRAINT wallet_requests_method_is_known CHECK (method BETWEEN 1 AND 3)
);

-- Nobody else's login gets into this database.
DO $$
BEGIN
    EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO spin_app', current_database());
END
$$;

GRANT USAGE ON SCHEMA public TO spin_app;
GRANT SELECT, INSERT ON wallets, spins, wallet_entries, wallet_requests TO spin_app;
GRANT UPDATE ON wallets TO spin_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON jackpot_outbox TO spin_app;
GRANT SELECT, INSERT ON jackpot_results TO spin_app;
GRANT SELECT, INSERT, UPDATE ON jackpot_wins, jackpot_cursors TO spin_app;
