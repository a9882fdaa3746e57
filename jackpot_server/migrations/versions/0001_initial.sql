-- Jackpots database, first version. The rules behind each table: docs/rules.md (PR-nn).

-- Who may read and write at run time; login roles become members of it.
DO $$
BEGIN
    CREATE ROLE jackpot_app NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;  -- another database of this cluster made it
END
$$;

-- One row. Bumped in the transaction that changes any pool's configuration, so that a
-- committer notices pools that it does not know yet.
CREATE TABLE catalog (
    only_row boolean PRIMARY KEY DEFAULT true,
    version  bigint NOT NULL,
    CONSTRAINT catalog_has_one_row CHECK (only_row)
);
INSERT INTO catalog (version) VALUES (1);

-- The hot rows: a pool's state, changed once per batch under its lock.
CREATE TABLE pools (
    pool_key             integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pool_id              text NOT NULL,
    currency_code        text NOT NULL,
    -- jackpot.v1.Pool.State
    state                smallint NOT NULL,
    -- The newest configuration, and the one whose rate, odds and reset the running cycle keeps (PR-08).
    config_version       integer NOT NULL,
    cycle_config_version integer NOT NULL,
    cycle                bigint NOT NULL,
    -- What the cycle opened with and when: a hidden amount is drawn from [max(floor, start), ceiling] (PR-14).
    cycle_start_micros   bigint NOT NULL,
    cycle_start_time     timestamptz NOT NULL,
    current_micros       bigint NOT NULL,
    reserve_micros       bigint NOT NULL,
    overflow_micros      bigint NOT NULL,
    -- Counts up with every change of this row; snapshots in the cache are ordered by it.
    version              bigint NOT NULL,
    update_time          timestamptz NOT NULL,
    last_win_minor       bigint,
    last_win_time        timestamptz,
    CONSTRAINT pools_id_is_unique UNIQUE (pool_id),
    CONSTRAINT pools_state_is_known CHECK (state BETWEEN 1 AND 4),
    CONSTRAINT pools_cycle_is_positive CHECK (cycle >= 1),
    CONSTRAINT pools_current_is_not_negative CHECK (current_micros >= 0),
    CONSTRAINT pools_reserve_is_not_negative CHECK (reserve_micros >= 0),
    CONSTRAINT pools_overflow_is_not_negative CHECK (overflow_micros >= 0)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);

-- Every version of every pool's configuration (PR-08). `config` is the canonical JSON whose
-- SHA-256 enters the draws.
CREATE TABLE pool_configs (
    pool_key      integer NOT NULL REFERENCES pools,
    version       integer NOT NULL,
    config        text NOT NULL,
    config_sha256 bytea NOT NULL,
    actor         text NOT NULL,
    reason        text NOT NULL,
    create_time   timestamptz NOT NULL,
    PRIMARY KEY (pool_key, version)
);

-- SHA-256 of the seeds of the next cycles, published before any spin of them is known (PR-13).
CREATE TABLE seed_commitments (
    pool_key    integer NOT NULL REFERENCES pools,
    cycle       bigint NOT NULL,
    key_id      text NOT NULL,
    commitment  bytea NOT NULL,
    commit_time timestamptz NOT NULL,
    PRIMARY KEY (pool_key, cycle)
);

-- One row per committed batch; every row below carries its batch (PR-21).
CREATE SEQUENCE batch_ids;
CREATE TABLE batches (
    batch_id   bigint PRIMARY KEY,
    batch_time timestamptz NOT NULL
);

-- One row per spin, its key the idempotency key. `shares` holds nine numbers per share; the view
-- contribution_shares names them.
CREATE TABLE contributions (
    spin_id           uuid PRIMARY KEY,
    batch_id          bigint NOT NULL,
    operator_id       text NOT NULL,
    user_id           text NOT NULL,
    wallet_id         text NOT NULL,
    currency_code     text NOT NULL,
    wager_minor       bigint NOT NULL,
    -- jackpot.v1.GameCategory
    game_category     smallint NOT NULL,
    game_id           text NOT NULL,
    provider_name     text NOT NULL,
    provider_round_id text NOT NULL,
    -- jackpot.v1.StakeKind
    stake_kind        smallint NOT NULL,
    country_code      text NOT NULL,
    client_seed       text NOT NULL,
    -- Comma-separated; a tier has no comma.
    triggered_tiers   text NOT NULL,
    occur_time        timestamptz,
    record_time       timestamptz NOT NULL,
    shares            bigint[] NOT NULL,
    CONSTRAINT contributions_wager_is_positive CHECK (wager_minor > 0),
    CONSTRAINT contributions_shares_are_whole CHECK (cardinality(shares) % 9 = 0)
);
CREATE INDEX contributions_by_operator ON contributions (operator_id, record_time, spin_id);

CREATE VIEW contribution_shares AS
SELECT c.spin_id, c.batch_id, c.operator_id, c.record_time,
       i AS share_number,
       p.pool_id,
       c.shares[9 * i + 1]::integer AS pool_key,
       c.shares[9 * i + 2] AS cycle,
       c.shares[9 * i + 3]::integer AS config_version,
       c.shares[9 * i + 4] AS amount_micros,
       c.shares[9 * i + 5] AS reserve_micros,
       c.shares[9 * i + 6] AS overflow_micros,
       -- The pool with this share in it, before any win of this spin.
       c.shares[9 * i + 7] AS balance_micros,
       -- jackpot.v1.PoolShare.SkipReason
       c.shares[9 * i + 8]::smallint AS skip_reason,
       c.shares[9 * i + 9] = 1 AS shadow
  FROM contributions c
 CROSS JOIN LATERAL generate_series(0, cardinality(c.shares) / 9 - 1) AS i
  JOIN pools p ON p.pool_key = c.shares[9 * i + 1];

-- The ledger: one entry per batch, account and kind; the sum of a batch is zero per currency (PR-02).
-- account: 1 funding (operator), 2 current, 3 reserve, 4 overflow (pool), 5 house, 6 wins payable,
--          7 wins paid (operator), 8 correction.
-- kind:    1 opening, 2 contribution, 3 win, 4 reset, 5 payment.
CREATE TABLE entries (
    batch_id      bigint NOT NULL,
    entry_number  smallint NOT NULL,
    account       smallint NOT NULL,
    kind          smallint NOT NULL,
    pool_key      integer,
    operator_id   text,
    currency_code text NOT NULL,
    -- A batch may move more than one account can hold: 500 wagers of 10^12 into 16 pools.
    amount_micros numeric(38) NOT NULL,
    PRIMARY KEY (batch_id, entry_number),
    CONSTRAINT entries_account_is_known CHECK (account BETWEEN 1 AND 8),
    CONSTRAINT entries_pool_accounts_name_a_pool CHECK ((account BETWEEN 2 AND 4) = (pool_key IS NOT NULL)),
    CONSTRAINT entries_operator_accounts_name_an_operator
        CHECK ((account IN (1, 6, 7)) = (operator_id IS NOT NULL)),
    CONSTRAINT entries_amount_is_not_zero CHECK (amount_micros <> 0)
);

-- A spin wins a pool at most once, a cycle is won at most once.
CREATE TABLE wins (
    pool_key       integer NOT NULL REFERENCES pools,
    spin_id        uuid NOT NULL,
    batch_id       bigint NOT NULL,
    cycle          bigint NOT NULL,
    config_version integer NOT NULL,
    tier           text NOT NULL,
    operator_id    text NOT NULL,
    user_id        text NOT NULL,
    wallet_id      text NOT NULL,
    game_id        text NOT NULL,
    currency_code  text NOT NULL,
    amount_minor   bigint NOT NULL,
    shadow         boolean NOT NULL,
    -- The draw (odds), or what was reached and what had to be (hidden amounts, moments).
    draw_value     bytea,
    draw_threshold bytea,
    reached        bigint,
    hidden         bigint,
    decide_time    timestamptz NOT NULL,
    PRIMARY KEY (pool_key, spin_id),
    CONSTRAINT wins_one_per_cycle UNIQUE (pool_key, cycle),
    CONSTRAINT wins_amount_is_not_negative CHECK (amount_minor >= 0)
);
CREATE INDEX wins_by_spin ON wins (spin_id);
CREATE INDEX wins_by_operator ON wins (operator_id, decide_time, spin_id);

-- What happened to a win; its state is its last event. Gapless per operator (PR-18).
CREATE TABLE win_events (
    operator_id     text NOT NULL,
    sequence        bigint NOT NULL,
    batch_id        bigint NOT NULL,
    pool_key        integer NOT NULL,
    spin_id         uuid NOT NULL,
    -- jackpot.v1.WinEvent.Kind, Win.State, Win.HoldReason
    kind            smallint NOT NULL,
    state           smallint NOT NULL,
    hold_reason     smallint NOT NULL,
    review_required boolean NOT NULL,
    spin_voided     boolean NOT NULL,
    wallet_entry_id text NOT NULL,
    pay_time        timestamptz,
    event_time      timestamptz NOT NULL,
    PRIMARY KEY (operator_id, sequence),
    FOREIGN KEY (pool_key, spin_id) REFERENCES wins,
    CONSTRAINT win_events_kind_is_known CHECK (kind BETWEEN 1 AND 6),
    CONSTRAINT win_events_state_is_known CHECK (state BETWEEN 1 AND 4)
);
CREATE INDEX win_events_by_win ON win_events (pool_key, spin_id, sequence);

-- What wallets said about wins, the replays' reference. Repeats compare outcome, entry,
-- credited amount and event sequence.
CREATE TABLE acknowledgements (
    acknowledgement_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch_id           bigint NOT NULL,
    pool_key           integer NOT NULL,
    spin_id            uuid NOT NULL,
    -- jackpot.v1.AcknowledgeWinRequest.Outcome
    outcome            smallint NOT NULL,
    wallet_entry_id    text NOT NULL,
    credited_minor     bigint,
    currency_code      text NOT NULL,
    credit_time        timestamptz,
    failure_reason     text NOT NULL,
    event_sequence     bigint NOT NULL,
    -- False where it came too late to count, or contradicted what was known.
    took_effect        boolean NOT NULL,
    acknowledge_time   timestamptz NOT NULL,
    FOREIGN KEY (pool_key, spin_id) REFERENCES wins,
    CONSTRAINT acknowledgements_outcome_is_known CHECK (outcome BETWEEN 1 AND 3)
);
CREATE INDEX acknowledgements_by_win ON acknowledgements (pool_key, spin_id);

-- The win events' counter, bumped under its row lock so that it has no gaps.
CREATE TABLE operators (
    operator_id        text PRIMARY KEY,
    win_event_sequence bigint NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);

-- Nobody else's login gets into this database.
DO $$
BEGIN
    EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO jackpot_app', current_database());
END
$$;

GRANT USAGE ON SCHEMA public TO jackpot_app;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO jackpot_app;
GRANT INSERT ON pools, pool_configs, seed_commitments, batches, contributions, entries, wins,
    win_events, acknowledgements, operators TO jackpot_app;
GRANT UPDATE ON pools, operators, catalog TO jackpot_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO jackpot_app;
