-- A casino's own wallet, before any jackpot.

CREATE TABLE wallets (
    wallet_id     text PRIMARY KEY,
    balance_minor bigint NOT NULL CHECK (balance_minor >= 0),
    -- A closed wallet takes no money.
    is_closed     boolean NOT NULL DEFAULT false
);

CREATE TABLE bets (
    spin_id      uuid PRIMARY KEY,
    wallet_id    text NOT NULL REFERENCES wallets,
    user_id      text NOT NULL,
    game_id      text NOT NULL,
    provider     text NOT NULL,
    round        text NOT NULL,
    wager_minor  bigint NOT NULL CHECK (wager_minor >= 0),
    payout_minor bigint NOT NULL CHECK (payout_minor >= 0),
    is_voided    boolean NOT NULL DEFAULT false,
    bet_time     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE entries (
    entry_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    wallet_id    text NOT NULL REFERENCES wallets,
    amount_minor bigint NOT NULL,
    -- What is behind it: "stake {spin}", "payout {spin}", "void {spin}", or a jackpot win's name. Once each.
    reference    text NOT NULL UNIQUE,
    entry_time   timestamptz NOT NULL DEFAULT now()
);
