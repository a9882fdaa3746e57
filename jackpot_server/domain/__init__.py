"""The rules of a jackpot: pure. State and commands in, decisions out; no I/O, clock or randomness."""
