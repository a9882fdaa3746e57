-- Who changed what, and why (PR-08): one row per change that was asked for by the first of two people, and one
-- per change that took effect. Never changed: a request's state is its rows.
CREATE TABLE admin_events (
    event_number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch_id     bigint NOT NULL,
    event_time   timestamptz NOT NULL,
    request_id   uuid NOT NULL,
    -- The method's name, and the name of the pool or win that it changes.
    action       text NOT NULL,
    resource     text NOT NULL,
    -- JSON of every field of the request that a repeat compares.
    fields       text NOT NULL,
    actor        text NOT NULL,
    -- The second person, where one was needed.
    approver     text NOT NULL,
    reason       text NOT NULL,
    -- JSON of what changed; empty while pending.
    before       text NOT NULL,
    after        text NOT NULL,
    -- Waits for a second person, for as long as the resource stands as this says.
    pending      boolean NOT NULL,
    standing     text NOT NULL
);
CREATE UNIQUE INDEX admin_events_take_effect_once ON admin_events (request_id) WHERE NOT pending;
CREATE INDEX admin_events_by_request ON admin_events (request_id, event_number);
CREATE INDEX admin_events_by_resource ON admin_events (resource, event_number);
CREATE INDEX admin_events_by_time ON admin_events (event_time, event_number);

GRANT SELECT, INSERT ON admin_events TO jackpot_app;
