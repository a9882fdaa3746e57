-- Who ended a cycle that nobody had won, and why.
ALTER TABLE unwon_cycles ADD COLUMN actor text NOT NULL DEFAULT '';
ALTER TABLE unwon_cycles ADD COLUMN reason text NOT NULL DEFAULT '';
