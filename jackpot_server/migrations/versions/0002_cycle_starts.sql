-- A hidden amount is drawn from [max(floor, start), ceiling] (PR-14). The pool's row has the start of its
-- running cycle only; with it here, the draws of closed cycles can be repeated too (PR-15). Null: the win was
-- decided by a draw against odds, or before this column existed.
ALTER TABLE wins ADD COLUMN cycle_start_micros bigint;
