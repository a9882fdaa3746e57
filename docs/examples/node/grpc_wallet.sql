-- What a wallet keeps that calls jackpot.v1 by itself, beside its own tables.

-- One row per bet that contributes, written in the bet's transaction: exactly what is sent until it is answered.
CREATE TABLE jackpot_calls (
    spin_id     uuid PRIMARY KEY,
    -- A RecordContributionRequest.
    request     jsonb NOT NULL,
    -- When it is sent (again), and how often that was in vain.
    due_time    timestamptz NOT NULL DEFAULT now(),
    attempts    integer NOT NULL DEFAULT 0,
    -- One of the two ends it: the contribution that was recorded, or why it was refused for good.
    answer      jsonb,
    refusal     text
);
CREATE INDEX jackpot_calls_due ON jackpot_calls (due_time) WHERE answer IS NULL AND refusal IS NULL;

-- What this wallet did with a win, each time; the newest event_sequence is the one that counts.
CREATE TABLE jackpot_acts (
    win            text NOT NULL,
    event_sequence bigint NOT NULL,
    is_credit      boolean NOT NULL,
    -- The AcknowledgeWinRequest, sent until it is answered.
    request        jsonb NOT NULL,
    due_time       timestamptz NOT NULL DEFAULT now(),
    attempts       integer NOT NULL DEFAULT 0,
    is_answered    boolean NOT NULL DEFAULT false,
    refusal        text,
    PRIMARY KEY (win, event_sequence)
);
CREATE INDEX jackpot_acts_due ON jackpot_acts (due_time) WHERE NOT is_answered AND refusal IS NULL;
-- A win is credited once.
CREATE UNIQUE INDEX jackpot_acts_one_credit ON jackpot_acts (win) WHERE is_credit;

-- Up to which of an operator's win events everything was handled.
CREATE TABLE jackpot_cursors (
    operator_id   text PRIMARY KEY,
    last_sequence bigint NOT NULL DEFAULT 0
);
